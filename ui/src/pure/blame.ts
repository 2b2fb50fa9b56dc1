// Port or cable: the periods of a verdict as bars on one time axis, with the moments at which errors were counted.
import type { PortVerdict } from '../api/types'
import { epoch } from './format'

export type Period = PortVerdict['periods'][number]
export interface Tick { x: number; count: number; port: string; time: number }
export interface Row {
  period: Period
  /** Where the bar begins and ends, shares of the axis. */
  from: number; until: number
  ticks: Tick[]
  errors: number
  /** The guilty part was in it. */
  guilty: boolean
}

/** What the picture shows of the window: from shortly before something first happened in it. */
export function axis(verdict: PortVerdict): { from: number; until: number } {
  const [since, until] = [epoch(verdict.since), epoch(verdict.until)]
  const plugs = verdict.periods.flatMap((p) => [p.began, ...(p.until ? [p.until] : [])])
  const first = [...plugs, ...verdict.errors.map((e) => e.time)].map(epoch).filter((t) => t > since && t < until)
  if (!first.length) return { from: since, until }
  const least = Math.min(...first)
  return { from: Math.max(since, least - Math.max(10, (until - least) * 0.08)), until }
}

/** A letter for each cable, in the order in which they come: A, B … so that the same one is seen to be the same. */
export function letters(verdict: PortVerdict): Map<string, string> {
  const cables = [...new Set(verdict.periods.map((p) => p.cable).filter(Boolean))]
  return new Map(cables.map((cable, i) => [cable, i < 26 ? String.fromCharCode(65 + i) : String(i + 1)]))
}

export const parts = (p: Period): string[] => [p.cable, p.a, p.b]

/** One row for each connection that reaches into the window, in order of time; errors lie in the one that counted them. */
export function rows(verdict: PortVerdict): Row[] {
  const { from, until } = axis(verdict)
  const share = (t: number) => Math.max(0, Math.min(1, (t - from) / Math.max(1, until - from)))
  return verdict.periods.map((period) => {
    const [began, ended] = [epoch(period.began), period.until ? epoch(period.until) : Infinity]
    const ticks = verdict.errors
      .map((e) => ({ x: share(epoch(e.time)), count: e.count, port: e.port, time: epoch(e.time) }))
      .filter((e) => (e.port === period.a || e.port === period.b) && e.time >= began && e.time <= ended)
    return {
      period, from: share(began), until: share(Math.min(ended, until)), ticks,
      errors: Object.values(period.errors).reduce((sum, n) => sum + n, 0), guilty: verdict.part !== '' && parts(period).includes(verdict.part),
    }
  })
}

/** At most `most` rows: those of the port itself and those with errors first, then the newest; in order of time again. */
export function telling(all: Row[], port: string, most: number): Row[] {
  if (all.length <= most) return all
  const rank = (r: Row) => Number(r.period.bad) * 2 + Number(r.period.a === port || r.period.b === port)
  const kept = new Set([...all].sort((p, q) => rank(q) - rank(p) || q.from - p.from).slice(0, most))
  return all.filter((r) => kept.has(r))
}

/** When errors were counted at some ports, the latest first: what one may ask candidates for. */
export function moments(verdict: PortVerdict | null, ports: string[], most = 8): { time: string; count: number; port: string }[] {
  return (verdict?.errors ?? []).filter((e) => ports.includes(e.port)).sort((p, q) => epoch(q.time) - epoch(p.time)).slice(0, most)
}

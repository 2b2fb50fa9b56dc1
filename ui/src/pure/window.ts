// The time window: how it is written in the address, and what it means at a given moment.
// Each end is relative to now (`-1h`, `now`) or absolute (ISO 8601); relative ends stay relative in the address.

export interface Window { from: string; until: string }
/** Epoch seconds. */
export interface Span { from: number; until: number }

export const DEFAULT: Window = { from: '-1h', until: 'now' }
export const RELATIVE = ['-15m', '-1h', '-6h', '-24h', '-7d', '-30d'] as const

const UNITS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 }
const SHAPE = /^-(\d{1,6})([smhd])$/

/** Epoch seconds of one end, or null when it is neither relative nor a time. */
export function instant(end: string, now: number): number | null {
  if (end === 'now') return now
  const relative = SHAPE.exec(end)
  if (relative) return now - Number(relative[1]) * (UNITS[relative[2] ?? 's'] ?? 1)
  const absolute = Date.parse(end)
  return Number.isFinite(absolute) && /^\d{4}-/.test(end) ? absolute / 1000 : null
}

export const isRelative = (end: string): boolean => end === 'now' || SHAPE.test(end)
export const isLive = (window: Window): boolean => window.until === 'now'

/** The window an address asks for; null when it names none or names nonsense. */
export function parseWindow(params: URLSearchParams, now: number): Window | null {
  const from = params.get('from')
  const until = params.get('until') ?? 'now'
  if (!from) return null
  const a = instant(from, now)
  const b = instant(until, now)
  return a === null || b === null || a >= b ? null : { from, until }
}

export function span(window: Window, now: number): Span {
  const from = instant(window.from, now) ?? now - 3600
  const until = instant(window.until, now) ?? now
  return { from, until: Math.max(until, from + 1) }
}

const second = (t: number): string => new Date(Math.round(t) * 1000).toISOString().replace('.000Z', 'Z')

/** An absolute window between two instants, to the second. */
export const absolute = (from: number, until: number): Window => ({ from: second(from), until: second(Math.max(until, from + 1)) })

/** Twice as wide around the middle, half as wide, or moved by half a width; never past `now`. */
export function zoomed(s: Span, factor: number, now: number): Window {
  const middle = (s.from + s.until) / 2
  const half = Math.max(5, ((s.until - s.from) / 2) * factor)
  const until = Math.min(now, middle + half)
  return absolute(until - 2 * half, until)
}
export function panned(s: Span, share: number, now: number): Window {
  const width = s.until - s.from
  const until = Math.min(now, s.until + width * share)
  return absolute(until - width, until)
}

/** `last hour`, or `14:02 – 14:40`, for the eye; `text` gives a clock time. */
export function windowName(window: Window, now: number, text: (t: number) => string): string {
  const words: Record<string, string> = { '-15m': '15 minutes', '-1h': 'hour', '-6h': '6 hours', '-24h': '24 hours', '-7d': '7 days', '-30d': '30 days' }
  if (window.until === 'now' && words[window.from]) return `last ${words[window.from]}`
  const s = span(window, now)
  return `${text(s.from)} – ${window.until === 'now' ? 'now' : text(s.until)}`
}

/** Round instants for a time axis: at most `most` of them inside the span, in the reader's zone. */
export function timeTicks(s: Span, most: number): number[] {
  const steps = [1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800]
  const width = s.until - s.from
  const step = steps.find((n) => width / n <= most) ?? 604_800
  const zone = new Date(s.from * 1000).getTimezoneOffset() * 60
  const ticks: number[] = []
  for (let t = Math.ceil((s.from - zone) / step) * step + zone; t <= s.until; t += step) ticks.push(t)
  return ticks
}

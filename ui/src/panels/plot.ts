// Turns one answer of numbers into what uPlot draws: lines with envelopes for a few series, a band with
// its median and the outliers by name for many. The only file that knows uPlot's options.
import uPlot from 'uplot'
import type { EventRow, Series, SeriesAnswer } from '../api/types'
import { clock, day, epoch, tick, unitOf } from '../pure/format'
import { severityStatus } from '../pure/words'
import { token } from '../state/theme.svelte'
import type { Span } from '../pure/window'

export type Column = (number | null)[]
/** One line that people can tell apart: its place in the plot's data, its colour, its values. */
export interface Line { name: string; colour: string; dash?: number[]; column: number; values: Column; low: Column; high: Column }
/** `sparse`: seconds between two numbers up to which a hole is only the pace of reading. */
export interface Picture { lines: Line[]; data: uPlot.AlignedData; bands: uPlot.Band[]; shape: string; many: number; sparse: number }

const BAND = 'grey'
const ENVELOPES = 4

/** How far a series is from the median, on average and relative to it. */
function oddness(values: Column, median: Column): number {
  let sum = 0
  let size = 0
  let n = 0
  values.forEach((v, i) => {
    const m = median[i]
    if (v == null || m == null) return
    sum += Math.abs(v - m)
    size += Math.abs(m)
    n++
  })
  return n && size ? sum / size : 0
}

/** Least, middle and greatest of some series in each bucket. */
function bandOf(t: number[], series: Series[]): NonNullable<SeriesAnswer['band']> {
  const band: NonNullable<SeriesAnswer['band']> = { min: [], median: [], max: [] }
  t.forEach((_, i) => {
    const values = series.map((s) => s.mean[i]).filter((v): v is number => v != null).sort((a, b) => a - b)
    band.min.push(values[0] ?? null)
    band.median.push(values[values.length >> 1] ?? null)
    band.max.push(values.at(-1) ?? null)
  })
  return band
}

/** Two and a half times the usual distance between two numbers: what is longer is a real hole. */
export function sparse(t: number[], columns: Column[]): number {
  const steps: number[] = []
  for (const column of columns) {
    let last: number | null = null
    column.forEach((v, i) => {
      const at = t[i]
      if (v == null || at === undefined) return
      if (last !== null) steps.push(at - last)
      last = at
    })
  }
  steps.sort((a, b) => a - b)
  return 2.5 * Math.max(steps[Math.floor(steps.length * 0.75)] ?? 0, (t[1] ?? 0) - (t[0] ?? 0))
}

/** `rx_bytes` of `network.rx_bytes`, as people say it. */
const PARTS: Record<string, string> = { rx_bytes: 'in', tx_bytes: 'out', xmit_data: 'sent', rcv_data: 'received', xmit_wait: 'waiting' }
const part = (s: Series): string => { const last = (s.tags.metric ?? '').split('.').at(-1) ?? ''; return PARTS[last] ?? last.replaceAll('_', ' ') }
/** Whose numbers these are: the server's name of the series without the metric it may end with. */
const owner = (s: Series): string => { const last = (s.tags.metric ?? '').split('.').at(-1) ?? ''; return last && s.name.endsWith(` ${last}`) ? s.name.slice(0, -last.length - 1) : s.name }
const DASHES = [undefined, [5, 3], [2, 3]]

/**
 * What to draw. Up to `fold` series of a metric are lines; more are a band with its median, and where the
 * server sent the band, the two oddest by name. Of several metrics, hosts keep their colour and metrics
 * their dashes; of a single host each metric has a colour.
 */
export function picture(answer: SeriesAnswer, fold = 8): Picture {
  const colours = [1, 2, 3, 4, 5, 6].map((n) => token(`--series-${n}`))
  const colour = (i: number): string => colours[i % 6] ?? BAND
  const lines: Line[] = []
  const data: (number[] | Column)[] = [answer.t]
  const bands: uPlot.Band[] = []
  const metrics = [...new Set(answer.series.map(part))]
  const hosts = [...new Set(answer.series.map(owner))]
  const several = metrics.length > 1
  const folded = answer.band !== null || hosts.length > fold
  const shade = (upper: number, lower: number, of: string, percent: number) => bands.push({ series: [upper, lower], fill: `color-mix(in srgb, ${of} ${percent}%, transparent)` })
  if (folded) {
    metrics.forEach((metric, i) => {
      const own = answer.series.filter((s) => part(s) === metric)
      const band = answer.band ?? bandOf(answer.t, own)
      const ink = several ? colour(i) : colour(0)
      data.push(band.max, band.min, band.median)
      shade(data.length - 3, data.length - 2, ink, 20)
      lines.push({ name: several ? `${metric}, median` : 'median', colour: ink, column: data.length - 1, values: band.median, low: band.min, high: band.max })
    })
    const middle = answer.band?.median
    const odd = middle ? answer.series.map((s) => ({ s, far: oddness(s.mean, middle) })).filter((o) => o.far > 0.15).sort((a, b) => b.far - a.far).slice(0, 2) : []
    odd.forEach(({ s }, i) => {
      data.push(s.mean)
      lines.push({ name: s.name, colour: colour(i + 1), column: data.length - 1, values: s.mean, low: s.min, high: s.max })
    })
  } else {
    for (const s of answer.series) {
      const host = hosts.indexOf(owner(s))
      const which = metrics.indexOf(part(s))
      const alone = several && hosts.length === 1
      const ink = colour(alone ? which : host)
      const dash = alone ? undefined : several ? DASHES[which % 3] : host >= 6 ? DASHES[1] : undefined
      data.push(s.mean)
      lines.push({ name: several ? (alone ? part(s) : `${hosts[host]} ${part(s)}`) : s.name, colour: ink, column: data.length - 1, values: s.mean, low: s.min, high: s.max, ...(dash && { dash }) })
      if (answer.series.length > ENVELOPES) continue
      data.push(s.max, s.min)
      shade(data.length - 2, data.length - 1, ink, 15)
    }
  }
  return { lines, data: data as uPlot.AlignedData, bands, sparse: sparse(answer.t, lines.map((l) => l.values)), shape: `${data.length}|${lines.map((l) => l.name + l.colour).join()}`, many: folded ? answer.total ?? hosts.length : 0 }
}

export interface Drawing {
  span: () => Span
  limit: () => number | null
  events: () => EventRow[]
  lit: () => string | null
  moved: (t: number | null) => void
  marked: (from: number, until: number) => void
}

function axisTime(_: uPlot, splits: number[], __: number, ___: number, step: number): string[] {
  return splits.map((t, i) => {
    const midnight = new Date(t * 1000).getHours() === 0 && new Date(t * 1000).getMinutes() === 0
    return step >= 86_400 || (midnight && i > 0) ? day(t) : clock(t, step < 60)
  })
}

/** Lines of the events' moments and of the limit, under the curves. */
function under(u: uPlot, d: Drawing): void {
  const { ctx, bbox } = u
  const ratio = devicePixelRatio
  ctx.save()
  ctx.beginPath()
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height)
  ctx.clip()
  ctx.lineWidth = ratio
  for (const event of d.events()) {
    const x = Math.round(u.valToPos(epoch(event.time), 'x', true))
    if (x < bbox.left || x > bbox.left + bbox.width) continue
    const status = severityStatus(event.severity)
    ctx.strokeStyle = token(status === 'fine' || status === 'unknown' ? '--line-strong' : `--${status}`)
    ctx.globalAlpha = status === 'fine' ? 0.8 : 0.75
    ctx.setLineDash(status === 'fine' ? [2 * ratio, 3 * ratio] : [])
    ctx.beginPath()
    ctx.moveTo(x + 0.5, bbox.top)
    ctx.lineTo(x + 0.5, bbox.top + bbox.height)
    ctx.stroke()
  }
  const limit = d.limit()
  if (limit !== null) {
    const y = Math.round(u.valToPos(limit, 'y', true))
    ctx.globalAlpha = 1
    ctx.setLineDash([6 * ratio, 4 * ratio])
    ctx.strokeStyle = token('--ink-3')
    ctx.beginPath()
    ctx.moveTo(bbox.left, y + 0.5)
    ctx.lineTo(bbox.left + bbox.width, y + 0.5)
    ctx.stroke()
    ctx.setLineDash([])
    ctx.fillStyle = token('--ink-3')
    ctx.font = `${10 * ratio}px ${token('--font')}`
    ctx.textAlign = 'right'
    ctx.fillText('limit', bbox.left + bbox.width - 4 * ratio, y + 12 * ratio)
  }
  ctx.restore()
}

export function plot(root: HTMLElement, p: Picture, unit: string, size: { width: number; height: number }, d: Drawing): uPlot {
  const style = getComputedStyle(document.documentElement)
  const px = (name: string) => Number.parseFloat(style.getPropertyValue(name))
  const font = `11px ${token('--font')}`
  const axis = { stroke: token('--axis'), font, ticks: { show: false }, grid: { stroke: token('--grid'), width: 1 } }
  const bytes = unitOf(unit).kind === 'bytes'
  const series: uPlot.Series[] = [{}]
  const gaps: uPlot.Series.GapsRefiner = (u, _, __, ___, found) => {
    const { min, max } = u.scales.x ?? {}
    const second = u.bbox.width / ((max ?? 1) - (min ?? 0))
    return found.filter(([from, to]) => to - from > p.sparse * second)
  }
  for (let column = 1; column < p.data.length; column++) {
    const line = p.lines.find((l) => l.column === column)
    series.push(line
      ? { label: line.name, width: 1.5, points: { show: false }, spanGaps: false, gaps, stroke: () => (d.lit() && d.lit() !== line.name ? `color-mix(in srgb, ${line.colour} 22%, transparent)` : line.colour), ...(line.dash && { dash: line.dash }) }
      : { width: 0, stroke: 'transparent', points: { show: false }, gaps })
  }
  const options: uPlot.Options = {
    ...size,
    padding: [8, px('--right'), 0, 0],
    legend: { show: false },
    focus: { alpha: 1 },
    cursor: { x: false, y: false, points: { size: 6 }, drag: { x: true, y: false, setScale: false } },
    series,
    bands: p.bands,
    scales: {
      x: { time: true, range: () => { const s = d.span(); return [s.from, s.until] } },
      y: { range: (_, low, high) => {
        const limit = d.limit()
        const top = Math.max(high ?? 0, limit !== null && limit < 4 * (high ?? 0) ? limit : 0)
        return [Math.min(0, low ?? 0), top > 0 ? top * 1.08 : 1]
      } },
    },
    axes: [
      { ...axis, size: 24, space: 56, values: axisTime },
      { ...axis, size: px('--gutter'), space: 26, gap: 6, values: (_, splits) => splits.map((v) => tick(v, unit)), ...(bytes && { incrs: Array.from({ length: 44 }, (_, i) => 2 ** i) }) },
    ],
    hooks: {
      drawAxes: [(u) => under(u, d)],
      setCursor: [(u) => {
        const left = u.cursor.left ?? -1
        d.moved(left < 0 ? null : u.posToVal(left, 'x'))
      }],
      setSelect: [(u) => {
        const { left, width } = u.select
        if (width > 8) d.marked(u.posToVal(left, 'x'), u.posToVal(left + width, 'x'))
        u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false)
      }],
    },
  }
  return new uPlot(options, p.data, root)
}

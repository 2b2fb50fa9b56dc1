// Turns one answer of numbers into what uPlot draws: lines with envelopes for a few series, a band with
// its median and the outliers by name for many. The only file that knows uPlot's options.
import uPlot from 'uplot'
import type { EventRow, SeriesAnswer } from '../api/types'
import { clock, day, epoch, tick, unitOf } from '../pure/format'
import { severityStatus } from '../pure/words'
import { token } from '../state/theme.svelte'
import type { Span } from '../pure/window'

export type Column = (number | null)[]
/** One line that people can tell apart: its place in the plot's data, its colour, its values. */
export interface Line { name: string; colour: string; dash?: number[]; column: number; values: Column; low: Column; high: Column }
export interface Picture { lines: Line[]; data: uPlot.AlignedData; bands: uPlot.Band[]; shape: string; many: number }

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

/** Least, middle and greatest of all series in each bucket. */
function bandOf(answer: SeriesAnswer): NonNullable<SeriesAnswer['band']> {
  const band: NonNullable<SeriesAnswer['band']> = { min: [], median: [], max: [] }
  answer.t.forEach((_, i) => {
    const values = answer.series.map((s) => s.mean[i]).filter((v): v is number => v != null).sort((a, b) => a - b)
    band.min.push(values[0] ?? null)
    band.median.push(values[values.length >> 1] ?? null)
    band.max.push(values.at(-1) ?? null)
  })
  return band
}

/** @param fold more series than this become a band, even when the server sent none */
export function picture(answer: SeriesAnswer, fold = 8): Picture {
  const colours = [1, 2, 3, 4, 5, 6].map((n) => token(`--series-${n}`))
  const lines: Line[] = []
  const data: (number[] | Column)[] = [answer.t]
  const bands: uPlot.Band[] = []
  const band = answer.band ?? (answer.series.length > fold ? bandOf(answer) : null)
  if (band) {
    const { min, median, max } = band
    data.push(max, min, median)
    bands.push({ series: [1, 2], fill: `color-mix(in srgb, ${token('--unknown')} 26%, transparent)` })
    lines.push({ name: 'median', colour: token('--ink-2'), column: 3, values: median, low: min, high: max })
    const odd = answer.series.map((s) => ({ s, far: oddness(s.mean, median) })).filter((o) => o.far > 0.15).sort((a, b) => b.far - a.far).slice(0, 2)
    odd.forEach(({ s }, i) => {
      data.push(s.mean)
      lines.push({ name: s.name, colour: colours[i + 1] ?? BAND, column: data.length - 1, values: s.mean, low: s.min, high: s.max })
    })
  } else {
    const envelopes = answer.series.length <= ENVELOPES
    answer.series.forEach((s, i) => {
      const colour = colours[i % 6] ?? BAND
      data.push(s.mean)
      lines.push({ name: s.name, colour, column: data.length - 1, values: s.mean, low: s.min, high: s.max, ...(i >= 6 && { dash: [5, 3] }) })
      if (!envelopes) return
      data.push(s.max, s.min)
      bands.push({ series: [data.length - 2, data.length - 1], fill: `color-mix(in srgb, ${colour} 15%, transparent)` })
    })
  }
  return { lines, data: data as uPlot.AlignedData, bands, shape: `${data.length}|${lines.map((l) => l.name + l.colour).join()}`, many: band ? answer.series.length : 0 }
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
  for (let column = 1; column < p.data.length; column++) {
    const line = p.lines.find((l) => l.column === column)
    series.push(line
      ? { label: line.name, width: 1.5, points: { show: false }, spanGaps: false, stroke: () => (d.lit() && d.lit() !== line.name ? `color-mix(in srgb, ${line.colour} 22%, transparent)` : line.colour), ...(line.dash && { dash: line.dash }) }
      : { width: 0, stroke: 'transparent', points: { show: false } })
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
      { ...axis, size: 24, space: 64, values: axisTime },
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

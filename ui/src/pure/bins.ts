// Events that fall on the same few pixels become one mark, so that a lane stays readable and quick.
import type { EventRow } from '../api/types'
import type { Span } from './window'
import { SEVERITIES } from './words'

export interface Mark { x: number; t: number; events: EventRow[]; worst: EventRow }

/** Marks of one lane from left to right; `size` is the least distance between two marks in pixels. */
export function marks(events: EventRow[], span: Span, width: number, size = 9): Mark[] {
  const found: Mark[] = []
  const scale = width / (span.until - span.from)
  const timed = events.map((event) => ({ event, t: Date.parse(event.time) / 1000 })).filter(({ t }) => t >= span.from && t <= span.until)
  timed.sort((a, b) => a.t - b.t)
  for (const { event, t } of timed) {
    const x = (t - span.from) * scale
    const last = found.at(-1)
    if (last && x - last.x < size) {
      last.events.push(event)
      if (SEVERITIES.indexOf(event.severity) < SEVERITIES.indexOf(last.worst.severity)) last.worst = event
    } else found.push({ x, t, events: [event], worst: event })
  }
  return found
}

/** Least, greatest and last number of a series with holes; null when it is empty. */
export function extent(values: (number | null)[]): { min: number; max: number; last: number } | null {
  let min = Infinity
  let max = -Infinity
  let last: number | null = null
  for (const v of values) {
    if (v == null) continue
    if (v < min) min = v
    if (v > max) max = v
    last = v
  }
  return last == null ? null : { min, max, last }
}

/** Index of the bucket nearest to `t` in ascending `times`; -1 when empty. */
export function nearest(times: number[], t: number): number {
  let low = 0
  let high = times.length - 1
  if (high < 0) return -1
  while (low < high) {
    const middle = (low + high) >> 1
    if ((times[middle] ?? 0) < t) low = middle + 1
    else high = middle
  }
  return low > 0 && t - (times[low - 1] ?? 0) < (times[low] ?? 0) - t ? low - 1 : low
}

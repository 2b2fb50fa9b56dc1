import { describe, expect, test } from 'vitest'
import { absolute, instant, panned, parseWindow, RELATIVE, span, timeTicks, windowName, zoomed } from '../src/pure/window'

const NOW = Date.parse('2026-11-20T14:00:00Z') / 1000

describe('the window in the address', () => {
  test('relative ends stay relative', () => {
    for (const from of RELATIVE) {
      const read = parseWindow(new URLSearchParams({ from }), NOW)
      expect(read).toEqual({ from, until: 'now' })
    }
  })
  test('absolute windows come back as they were written', () => {
    for (let i = 0; i < 300; i++) {
      const from = Math.floor((NOW * (i + 1) * 0.6180339887) % NOW)
      const written = absolute(from, from + 1 + i * 977)
      const read = parseWindow(new URLSearchParams({ ...written }), NOW)
      expect(read).toEqual(written)
      expect(span(written, NOW)).toEqual({ from, until: from + 1 + i * 977 })
    }
  })
  test.each([['from=nonsense'], ['from=-1x'], ['from=now'], ['until=now'], ['from=12'], ['from=-1h&until=-2h'], ['from=']])('%s is no window', (query) => {
    expect(parseWindow(new URLSearchParams(query), NOW)).toBeNull()
  })
  test('instants', () => {
    expect(instant('-90s', NOW)).toBe(NOW - 90)
    expect(instant('-7d', NOW)).toBe(NOW - 604_800)
    expect(instant('2026-11-20T13:00:00Z', NOW)).toBe(NOW - 3600)
  })
})

describe('moving through time', () => {
  const hour = { from: NOW - 3600, until: NOW }
  test('never past now', () => {
    expect(span(zoomed(hour, 2, NOW), NOW)).toEqual({ from: NOW - 7200, until: NOW })
    expect(span(panned(hour, 0.5, NOW), NOW)).toEqual(hour)
  })
  test('a step back is half a width', () => expect(span(panned(hour, -0.5, NOW), NOW)).toEqual({ from: NOW - 5400, until: NOW - 1800 }))
  test('ticks are few and inside', () => {
    for (const width of [60, 900, 3600, 86_400, 604_800]) {
      const ticks = timeTicks({ from: NOW - width, until: NOW }, 8)
      expect(ticks.length).toBeGreaterThan(1)
      expect(ticks.length).toBeLessThanOrEqual(9)
      expect(ticks.every((t) => t >= NOW - width && t <= NOW)).toBe(true)
    }
  })
  test('names', () => {
    expect(windowName({ from: '-6h', until: 'now' }, NOW, String)).toBe('last 6 hours')
    expect(windowName({ from: '-90s', until: 'now' }, NOW, () => 'x')).toBe('x – now')
  })
})

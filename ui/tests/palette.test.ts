// The palette, held to its promises: enough contrast to the surface, and colours that stay apart for
// people with protan, deutan and tritan vision (simulated with the Machado matrices, severity 1).
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'

const css = readFileSync(new URL('../src/style/tokens.css', import.meta.url), 'utf8')
type Rgb = [number, number, number]

function tokens(theme: 'light' | 'dark'): Record<string, string> {
  const block = new RegExp(`:root\\[data-theme='${theme}'\\] \\{\\n  color-scheme([^}]+)\\}`).exec(css)?.[1] ?? ''
  return Object.fromEntries([...block.matchAll(/--([\w-]+):\s*([^;]+);/g)].map((m) => [m[1], m[2]]))
}

const linear = (hex: string): Rgb => [1, 3, 5].map((i) => { const c = parseInt(hex.slice(i, i + 2), 16) / 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4 }) as Rgb
const luminance = (hex: string): number => { const [r, g, b] = linear(hex); return 0.2126 * r + 0.7152 * g + 0.0722 * b }
function contrast(a: string, b: string): number {
  const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p) as [number, number]
  return (x + 0.05) / (y + 0.05)
}

const VISION: Record<string, number[]> = {
  normal: [1, 0, 0, 0, 1, 0, 0, 0, 1],
  protan: [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
  deutan: [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881],
  tritan: [1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.3039],
}
const seen = (c: Rgb, m: number[]): Rgb => [0, 1, 2].map((i) => Math.min(1, Math.max(0, (m[3 * i] ?? 0) * c[0] + (m[3 * i + 1] ?? 0) * c[1] + (m[3 * i + 2] ?? 0) * c[2]))) as Rgb

function oklab([r, g, b]: Rgb): Rgb {
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b)
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b)
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b)
  return [0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s, 1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s, 0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s]
}

/** Least distance of any two colours under any vision, OKLab times 100. */
function closest(colours: string[]): number {
  let least = Infinity
  for (const matrix of Object.values(VISION)) {
    const points = colours.map((c) => oklab(seen(linear(c), matrix)))
    points.forEach((p, i) => points.slice(i + 1).forEach((q) => { least = Math.min(least, 100 * Math.hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2])) }))
  }
  return least
}

describe.each(['light', 'dark'] as const)('%s', (theme) => {
  const t = tokens(theme)
  const series = [1, 2, 3, 4, 5, 6].map((n) => t[`series-${n}`] ?? '')
  const status = ['fine', 'warn', 'critical', 'unknown'].map((n) => t[n] ?? '')
  const surface = t.surface ?? ''

  test('every series line stands out from the surface', () => {
    for (const colour of series) expect(contrast(colour, surface), colour).toBeGreaterThanOrEqual(3)
  })
  test('every status stands out from the surface', () => {
    for (const colour of status) expect(contrast(colour, surface), colour).toBeGreaterThanOrEqual(3)
  })
  test('series stay apart under every vision', () => expect(closest(series)).toBeGreaterThanOrEqual(10.7))
  test('status colours stay apart under every vision', () => expect(closest(status)).toBeGreaterThanOrEqual(10))
  test('text is readable on every ground it stands on', () => {
    for (const ground of ['surface', 'page', 'raised', 'hover']) for (const ink of ['ink', 'ink-2', 'ink-3', 'link']) expect(contrast(t[ink] ?? '', t[ground] ?? ''), `${ink} on ${ground}`).toBeGreaterThanOrEqual(4.5)
    for (const ground of ['fine-wash', 'warn-wash', 'critical-wash', 'unknown-wash', 'accent-wash']) for (const ink of ['ink', 'ink-2', 'link']) expect(contrast(t[ink] ?? '', t[ground] ?? ''), `${ink} on ${ground}`).toBeGreaterThanOrEqual(4.5)
  })
})

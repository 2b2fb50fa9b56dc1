// Numbers and times as people read them. No locale surprises: one decimal point, thin units, 24 hours.

const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
const DECIMAL = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']

/** Three significant digits, without trailing zeros: 0.0451, 4.51, 45.1, 451, 4510. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return '–'
  const size = Math.abs(value)
  if (size === 0) return '0'
  const places = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.1 ? 2 : 3
  const text = value.toFixed(places)
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text
}

function scaled(value: number, base: number, names: string[]): [number, string] {
  let step = 0
  let size = Math.abs(value)
  while (size >= base && step < names.length - 1) {
    size /= base
    step++
  }
  return [value / base ** step, names[step] ?? '']
}

/** What a server's unit means to the reader: `octets/s` and `bytes/s` are the same thing. */
export function unitOf(unit: string): { kind: 'bytes' | 'rate' | 'percent' | 'plain'; label: string } {
  const plain = unit.trim().toLowerCase()
  if (['b', 'byte', 'bytes', 'octets'].includes(plain)) return { kind: 'bytes', label: 'bytes' }
  if (['b/s', 'bytes/s', 'octets/s', 'byte/s', 'bytes per second', 'octets per second'].includes(plain)) return { kind: 'rate', label: 'bytes per second' }
  if (plain === '%' || plain.startsWith('percent')) return { kind: 'percent', label: plain === '%' || plain === 'percent' ? 'percent' : unit }
  return { kind: 'plain', label: unit }
}

/** A unit that is or goes on in words, as `% used`, `B/s on the busiest port` or `jobs out of memory`: its head and the words. */
export function unitWords(unit: string): [string, string] {
  const long = /^(%|B\/s|B|bytes\/s|bytes)\s+(.+)$/.exec(unit)
  if (long) return [long[1] ?? unit, long[2] ?? '']
  return unitOf(unit).kind === 'plain' && !unit.includes('/') ? ['', unit] : [unit, '']
}

/** A value with its unit: `187 %`, `1.25 GiB`, `118 MB/s`, `1.9 it/s`. */
export function quantity(value: number | null | undefined, unit: string): string {
  if (value == null || !Number.isFinite(value)) return '–'
  const { kind, label } = unitOf(unit)
  if (kind === 'bytes' || kind === 'rate') {
    const [n, name] = kind === 'bytes' ? scaled(value, 1024, BINARY) : scaled(value, 1000, DECIMAL)
    return `${digits(n)} ${name}${kind === 'rate' ? '/s' : ''}`
  }
  if (kind === 'percent') return `${digits(value)} %`
  if (Math.abs(value) >= 10_000) {
    const [n, name] = scaled(value, 1000, ['', 'k', 'M', 'G', 'T'])
    return `${digits(n)} ${name}${name && label ? ' ' : ''}${label}`.trim()
  }
  return label ? `${digits(value)} ${label}` : digits(value)
}

const SHORT = 7 // characters of a unit for which an axis has room

/** The same for an axis tick: `1.5 GiB`, `40 MB/s`, `80%`, `12k it/s`; a longer unit stands in the chart's head alone. */
export function tick(value: number, unit: string): string {
  const { kind, label } = unitOf(unit)
  if (value === 0) return kind === 'percent' ? '0%' : '0'
  if (kind === 'percent') return `${digits(value)}%`
  if (kind !== 'plain') return quantity(value, unit)
  const [n, name] = scaled(value, 1000, ['', 'k', 'M', 'G', 'T', 'P'])
  return `${digits(n)}${name}${label && label.length <= SHORT ? ` ${label}` : ''}`
}

/** `41 s`, `12:40`, `3:02:10`, `2 d 4 h`. */
export function duration(seconds: number | null | undefined): string {
  if (seconds == null || !Number.isFinite(seconds)) return '–'
  const s = Math.max(0, Math.round(seconds))
  if (s < 60) return `${s} s`
  const two = (n: number) => String(n).padStart(2, '0')
  const h = Math.floor(s / 3600)
  if (h >= 48) return `${Math.floor(h / 24)} d ${h % 24} h`
  return h ? `${h}:${two(Math.floor((s % 3600) / 60))}:${two(s % 60)}` : `${Math.floor(s / 60)}:${two(s % 60)}`
}

/** How long ago, in one unit: `now`, `4 s`, `12 min`, `3 h`, `2 d`, `9 y`. */
export function age(seconds: number): string {
  const s = Math.round(seconds)
  if (s < 1) return 'now'
  if (s < 100) return `${s} s`
  if (s < 5400) return `${Math.round(s / 60)} min`
  if (s < 172_800) return `${Math.round(s / 3600)} h`
  const d = Math.round(s / 86_400)
  return d < 730 ? `${d} d` : `${Math.round(d / 365.25)} y`
}

export const ago = (seconds: number): string => (seconds < 1 ? 'just now' : `${age(seconds)} ago`)

export const epoch = (text: string): number => Date.parse(text) / 1000
export const iso = (seconds: number): string => new Date(seconds * 1000).toISOString()

const two = (n: number): string => String(n).padStart(2, '0')
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/** Clock time in the reader's zone: `14:03`, with seconds `14:03:09`. */
export function clock(seconds: number, withSeconds = false): string {
  const d = new Date(seconds * 1000)
  return `${two(d.getHours())}:${two(d.getMinutes())}${withSeconds ? `:${two(d.getSeconds())}` : ''}`
}

export function day(seconds: number): string {
  const d = new Date(seconds * 1000)
  return `${d.getDate()} ${MONTHS[d.getMonth()]}`
}

/** Clock time, with the day when it is not that of `now`, and with the year when that is another. */
export function moment(seconds: number, now: number, withSeconds = false): string {
  const [then, today] = [new Date(seconds * 1000), new Date(now * 1000)]
  if (then.toDateString() === today.toDateString()) return clock(seconds, withSeconds)
  const year = then.getFullYear() === today.getFullYear() ? '' : ` ${then.getFullYear()}`
  return `${day(seconds)}${year} ${clock(seconds, withSeconds)}`
}

export const plural = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`

/** "a, b and c" */
export function listed(words: string[]): string {
  return words.length < 2 ? (words[0] ?? '') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`
}

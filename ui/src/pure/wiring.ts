// Where the fabric's picture puts things: pixels from the server's 0..1, and cables spread over a
// switch's edge in the order of what they lead to, so that parallel ones stay apart.
import type { Fabric, FabricNode, MapLink } from '../api/types'
import { unfold } from './entity'

export interface Box { node: FabricNode; x: number; y: number; w: number; h: number; text: string; small: boolean }
export interface Wire { link: MapLink; path: string; middle: { x: number; y: number }; width: number }
/** What a level's boxes have in common and do not repeat: `leaf` for `leaf[0-17]`, shown as `0-17`. */
export interface Caption { y: number; text: string }
/** `thin`: how opaque a line without anything to tell is, so that very many do not become a surface. */
export interface Layout { boxes: Box[]; wires: Wire[]; captions: Caption[]; thin: number }

const LETTER = 6.3
const SMALL = 5.4
const MOST = 100_000

/** Line thickness in pixels for octets per second, thin when idle and 1.3 px more per factor of ten; of a bundle a little more. */
export function thickness(rate: number | null, count = 1): number {
  const idle = Math.min(3, 1.25 + 0.25 * Math.log2(count))
  return rate === null || rate < 1e5 ? idle : Math.min(8, Math.max(idle, 1.25 + 1.3 * Math.log10(rate / 1e5)))
}

/** The part that all names begin with, up to their numbers: compute0, compute1 → compute. */
export function commonPrefix(names: string[]): string {
  let prefix = names[0] ?? ''
  for (const name of names) while (!name.startsWith(prefix)) prefix = prefix.slice(0, -1)
  return names.length > 1 ? prefix.replace(/[\d[]+$/, '') : ''
}

/** A name without what all have in common, and without a bracket around it: leaf[0-17] → 0-17. */
export function shortened(name: string, prefix: string): string {
  const rest = name.slice(prefix.length)
  return /^\[[^[\]]*\]$/.test(rest) ? rest.slice(1, -1) : rest
}

/** Which box each device is in, by the device's name. */
export function boxes(nodes: FabricNode[]): Map<string, string> {
  return new Map(nodes.flatMap((n) => (n.count === 1 ? [n.first] : unfold(n.members, MOST)).map((name): [string, string] => [name, n.id])))
}

/** The line of the map that a link (`SW1/3--compute2/1`, from either end) is in, or null when it is not drawn. */
export function lineOf(link: string, lines: Pick<MapLink, 'id' | 'upper' | 'lower'>[], at: Map<string, string>): string | null {
  const ends = link.split('--')
  const names = [link, [...ends].reverse().join('--')]
  const alone = lines.find((l) => names.includes(l.id))
  if (alone) return alone.id
  const [a, b] = ends.map((end) => at.get(end.slice(0, end.lastIndexOf('/'))))
  return lines.find((l) => (l.upper === a && l.lower === b) || (l.upper === b && l.lower === a))?.id ?? null
}

/** How many of these hosts are in a box. */
export const among = (node: Pick<FabricNode, 'hosts'>, hosts: Set<string>): number => (node.hosts ? unfold(node.hosts, MOST).filter((h) => hosts.has(h)).length : 0)

export function layout(fabric: Pick<Fabric, 'nodes' | 'links'>, width: number, height: number): Layout {
  const top = 20
  const bottom = height - 34
  const captions: Caption[] = []
  const placed: Box[] = []
  for (const level of [...new Set(fabric.nodes.map((n) => n.level))]) {
    const row = fabric.nodes.filter((n) => n.level === level).sort((p, q) => p.x - q.x)
    const y = top + (row[0]?.y ?? 0) * (bottom - top)
    // Room from neighbour to neighbour: a closed group beside open hosts has less than they have.
    const rooms = row.map((n, i) => Math.min(i ? n.x - (row[i - 1]?.x ?? 0) : 1, i < row.length - 1 ? (row[i + 1]?.x ?? 1) - n.x : 1) * width)
    const least = Math.min(width, ...rooms)
    const wanted = (n: FabricNode, text: string) => Math.max(n.kind === 'SW' && n.count === 1 ? 58 : 0, text.length * LETTER + 14)
    const boxed = (n: FabricNode) => n.kind === 'SW' || n.count > 1
    const tight = row.some((n) => (boxed(n) ? wanted(n, n.label) > least - 4 : n.label.length * LETTER + 12 > least))
    const prefix = tight ? commonPrefix(row.map((n) => n.label)) : ''
    const own = row.map((node, i): Box => {
      const gap = rooms[i] ?? width
      const room = Math.max(2, gap - Math.min(4, gap * 0.25))
      const small = tight && boxed(node) && node.count > 1
      const space = boxed(node) ? (room - (small ? 2 : 4)) / (small ? SMALL : LETTER) : room / LETTER
      const short = shortened(node.label, prefix)
      const number = /^\d+/.exec(short)?.[0] ?? ''
      const text = [short, number && `${number}…`, number].find((t) => t !== '' && t.length <= space) ?? ''
      const w = boxed(node) ? Math.min(room, Math.max(12, wanted(node, text))) : Math.max(Math.min(5, room), Math.min(20, room * 0.62))
      const h = node.kind === 'SW' ? 24 : node.count > 1 ? 20 : Math.max(5, Math.min(16, room * 0.62))
      return { node, x: node.x * width, y, w, h, text, small }
    })
    apart(own, width)
    placed.push(...own)
    if (prefix) captions.push({ y: y + (level ? -18 : 20), text: prefix })
  }
  const at = new Map(placed.map((b) => [b.node.id, b]))

  // For each box and side, its cables from left to right by what is at their other end.
  const sides = new Map<string, { id: string; far: number }[]>()
  const ends = fabric.links.flatMap((link) => {
    const a = at.get(link.upper)
    const b = at.get(link.lower)
    if (!a || !b) return []
    const [up, low] = a.y <= b.y ? [a, b] : [b, a]
    for (const [box, other, side] of [[up, low, 'below'], [low, up, 'above']] as const) {
      const key = `${box.node.id}|${side}`
      const list = sides.get(key) ?? []
      list.push({ id: link.id, far: other.x })
      sides.set(key, list)
    }
    return [{ link, up, low }]
  })
  const offsets = new Map<string, number>()
  for (const [key, list] of sides) {
    list.sort((p, q) => p.far - q.far || p.id.localeCompare(q.id))
    const box = at.get(key.slice(0, key.lastIndexOf('|')))
    const room = box && (box.node.kind === 'SW' || box.node.count > 1) ? Math.min(box.w - 8, (list.length - 1) * 14) : 0
    list.forEach((end, i) => offsets.set(`${key}|${end.id}`, list.length < 2 ? 0 : -room / 2 + (room * i) / (list.length - 1)))
  }
  const r = (n: number) => n.toFixed(1)
  const wires = ends.map(({ link, up, low }): Wire => {
    const across = thickness(link.xmit_rate, link.count)
    if (Math.abs(up.y - low.y) < up.h) {
      // Neighbours on one level: an arc from side to side, over whatever stands between them.
      const [left, right] = up.x <= low.x ? [up, low] : [low, up]
      const rise = Math.min(60, 14 + (right.x - left.x) * 0.12)
      const [from, to] = [left.x + left.w / 4, right.x - right.w / 4]
      const lip = left.y - left.h / 2
      return { link, path: `M${r(from)} ${r(lip)}C${r(from)} ${r(lip - rise)} ${r(to)} ${r(lip - rise)} ${r(to)} ${r(lip)}`, middle: { x: (from + to) / 2, y: lip - rise * 0.75 }, width: across }
    }
    const x1 = up.x + (offsets.get(`${up.node.id}|below|${link.id}`) ?? 0)
    const x2 = low.x + (offsets.get(`${low.node.id}|above|${link.id}`) ?? 0)
    const y1 = up.y + up.h / 2
    const y2 = low.y - low.h / 2
    const bend = (y2 - y1) * 0.42
    return { link, path: `M${r(x1)} ${r(y1)}C${r(x1)} ${r(y1 + bend)} ${r(x2)} ${r(y2 - bend)} ${r(x2)} ${r(y2)}`, middle: { x: (x1 + x2) / 2, y: (y1 + y2) / 2 }, width: across }
  })
  return { boxes: placed, wires, captions, thin: Math.max(0.1, Math.min(0.85, 90 / Math.max(1, wires.length))) }
}

/** Move the boxes of a row so that none reaches over an edge or another one. */
function apart(row: Box[], width: number): void {
  let left = 0
  for (const b of row) {
    b.x = Math.max(b.x, left + b.w / 2)
    left = b.x + b.w / 2 + 1
  }
  let right = width
  for (const b of [...row].reverse()) {
    b.x = Math.min(b.x, right - b.w / 2)
    right = b.x - b.w / 2 - 1
  }
}

/** The box one step away from another: left and right on its level, up and down to the nearest on the next. */
export function neighbour(layout: Pick<Layout, 'boxes'>, id: string, step: 'left' | 'right' | 'up' | 'down'): string {
  const here = layout.boxes.find((b) => b.node.id === id) ?? layout.boxes[0]
  if (!here) return id
  const near = (list: Box[], of: (b: Box) => number) => list.reduce<Box | null>((best, b) => (best === null || of(b) < of(best) ? b : best), null)
  if (step === 'left' || step === 'right') {
    const sign = step === 'left' ? -1 : 1
    return near(layout.boxes.filter((b) => b.node.level === here.node.level && (b.x - here.x) * sign > 0), (b) => Math.abs(b.x - here.x))?.node.id ?? here.node.id
  }
  const levels = [...new Set(layout.boxes.map((b) => b.node.level))].sort((p, q) => p - q)
  const next = levels[levels.indexOf(here.node.level) + (step === 'up' ? 1 : -1)]
  return near(layout.boxes.filter((b) => b.node.level === next), (b) => Math.abs(b.x - here.x))?.node.id ?? here.node.id
}

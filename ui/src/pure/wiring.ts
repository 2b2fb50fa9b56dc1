// Where the fabric's picture puts things: pixels from the server's 0..1, and cables spread over a
// switch's edge in the order of what they lead to, so that parallel ones stay apart.
import type { Fabric, FabricLink, FabricNode } from '../api/types'

export interface Box { node: FabricNode; x: number; y: number; w: number; h: number }
export interface Wire { link: FabricLink; path: string; middle: { x: number; y: number }; width: number }
export interface Layout { boxes: Box[]; wires: Wire[]; close: boolean; prefix: string }

/** Line thickness in pixels for octets per second: thin when idle, 1.3 px more per factor of ten. */
export function thickness(rate: number | null): number {
  if (rate === null || rate < 1e5) return 1.25
  return Math.min(8, 1.25 + 1.3 * Math.log10(rate / 1e5))
}

/** The part that all names begin with, up to their numbers: compute0, compute1 → compute. */
export function commonPrefix(names: string[]): string {
  let prefix = names[0] ?? ''
  for (const name of names) while (!name.startsWith(prefix)) prefix = prefix.slice(0, -1)
  return names.length > 1 ? prefix.replace(/\d+$/, '') : ''
}

export function layout(fabric: Pick<Fabric, 'nodes' | 'links'>, width: number, height: number): Layout {
  const hosts = fabric.nodes.filter((n) => n.kind === 'HCA')
  const gap = width / Math.max(1, hosts.length)
  const longest = Math.max(0, ...hosts.map((h) => h.label.length))
  const close = gap < longest * 6.4 + 12
  const top = 20
  const bottom = height - 34
  const boxes = fabric.nodes.map((node): Box => {
    const y = top + node.y * (bottom - top)
    return node.kind === 'SW'
      ? { node, x: Math.max(32, Math.min(width - 32, node.x * width)), y, w: 58, h: 24 }
      : { node, x: Math.max(8, Math.min(width - 8, node.x * width)), y, w: Math.max(5, Math.min(20, gap * 0.62)), h: Math.max(5, Math.min(16, gap * 0.62)) }
  })
  const at = new Map(boxes.map((b) => [b.node.id, b]))

  // For each box and side, its cables from left to right by what is at their other end.
  const sides = new Map<string, { id: string; far: number }[]>()
  const ends = fabric.links.flatMap((link) => {
    const a = at.get(link.a)
    const b = at.get(link.b)
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
  for (const list of sides.values()) list.sort((p, q) => p.far - q.far || p.id.localeCompare(q.id))
  const offset = (box: Box, side: string, id: string): number => {
    const list = sides.get(`${box.node.id}|${side}`) ?? []
    const room = box.node.kind === 'SW' ? Math.min(box.w - 12, (list.length - 1) * 14) : 0
    const i = list.findIndex((e) => e.id === id)
    return list.length < 2 ? 0 : -room / 2 + (room * i) / (list.length - 1)
  }
  const wires = ends.map(({ link, up, low }): Wire => {
    const x1 = up.x + offset(up, 'below', link.id)
    const x2 = low.x + offset(low, 'above', link.id)
    const y1 = up.y + up.h / 2
    const y2 = low.y - low.h / 2
    const bend = (y2 - y1) * 0.42
    const r = (n: number) => n.toFixed(1)
    if (Math.abs(up.y - low.y) < up.h) {
      // Neighbours on one level: an arc from side to side, over whatever stands between them.
      const [left, right] = up.x <= low.x ? [up, low] : [low, up]
      const rise = Math.min(60, 14 + (right.x - left.x) * 0.12)
      const [from, to] = [left.x + left.w / 4, right.x - right.w / 4]
      const lip = left.y - left.h / 2
      return { link, path: `M${r(from)} ${r(lip)}C${r(from)} ${r(lip - rise)} ${r(to)} ${r(lip - rise)} ${r(to)} ${r(lip)}`, middle: { x: (from + to) / 2, y: lip - rise * 0.75 }, width: thickness(link.xmit_rate) }
    }
    return { link, path: `M${r(x1)} ${r(y1)}C${r(x1)} ${r(y1 + bend)} ${r(x2)} ${r(y2 - bend)} ${r(x2)} ${r(y2)}`, middle: { x: (x1 + x2) / 2, y: (y1 + y2) / 2 }, width: thickness(link.xmit_rate) }
  })
  return { boxes, wires, close, prefix: commonPrefix(hosts.map((h) => h.label)) }
}

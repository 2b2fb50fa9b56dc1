import { describe, expect, test } from 'vitest'
import type { Blast, Degraded, Fabric, FabricNode, MapLink, Planned, PortVerdict, Routes, SharingJob } from '../src/api/types'
import { moments, rows, telling } from '../src/pure/blame'
import { quoted } from '../src/pure/command'
import { blastOverlay, checksOverlay, planSentence, routeOverlay } from '../src/pure/overlay'
import { devices, onLink } from '../src/pure/ways'
import { among, boxes, commonPrefix, layout, lineOf, neighbour, shortened, thickness } from '../src/pure/wiring'

const node = (id: string, kind: 'SW' | 'HCA', level: number, x: number, more: Partial<FabricNode> = {}): FabricNode =>
  ({ id, kind, label: id, first: id, members: more.label ?? id, host: null, level, x, y: 1 - level / 2, status: 'fine', jobs: [], count: 1, bad: 0, hosts: kind === 'HCA' ? id : '', busy: 0, mine: 0, ...more })
const link = (id: string, upper: string, lower: string, more: Partial<MapLink> = {}): MapLink =>
  ({ id, a: upper, a_port: 1, b: lower, b_port: 1, cable: '', width: '', speed: '', state: 'up', since: '', until: null, status: 'fine', xmit_rate: null, errors: null, xmit_wait: null, on_route: false, upper, lower, count: 1, down: 0, ...more })
const fabric = (nodes: FabricNode[], links: MapLink[]): Fabric =>
  ({ at: '', newest: null, folded: true, counts: { switches: 0, hosts: 0, links: 0, down: 0, on_route: 0 }, opened: [], nodes, links, changes: [] })
/** Two spines over a group of leaves and a leaf of its own, with their hosts. */
const folded = fabric(
  [
    node('spine1', 'SW', 2, 0.3), node('spine2', 'SW', 2, 0.7), node('leaf[0-3]', 'SW', 1, 0.3, { count: 4 }), node('leaf4', 'SW', 1, 0.8),
    node('leaf[0-3]/hosts', 'HCA', 0, 0.3, { count: 8, label: 'n[0-7]', first: 'n0', hosts: 'n[0-7]' }), node('n8', 'HCA', 0, 0.75), node('n9', 'HCA', 0, 0.85),
  ],
  [
    link('spine1--leaf[0-3]', 'spine1', 'leaf[0-3]', { count: 4 }), link('spine2--leaf[0-3]', 'spine2', 'leaf[0-3]', { count: 4 }), link('spine1/5--leaf4/9', 'spine1', 'leaf4'),
    link('leaf[0-3]--leaf[0-3]/hosts', 'leaf[0-3]', 'leaf[0-3]/hosts', { count: 8 }), link('leaf4/1--n8/1', 'leaf4', 'n8'), link('leaf4/2--n9/1', 'leaf4', 'n9'),
  ],
)

describe('the fabric’s picture', () => {
  test('parallel cables leave a switch side by side, unknown ends are left out', () => {
    const { wires, boxes } = layout({ nodes: [node('SW1', 'SW', 1, 0.5), node('n0', 'HCA', 0, 0.2), node('n1', 'HCA', 0, 0.8)], links: [link('x', 'SW1', 'n0'), link('y', 'SW1', 'n1'), link('z', 'SW1', 'gone')] }, 400, 300)
    expect(boxes.length).toBe(3)
    expect(wires.length).toBe(2)
    expect(wires[0]?.path.split(' ')[0]).not.toBe(wires[1]?.path.split(' ')[0])
  })
  test('boxes of a level never overlap, however many there are', () => {
    for (const many of [2, 7, 31, 90]) for (const width of [340, 1000]) {
      const { boxes } = layout({ nodes: Array.from({ length: many }, (_, i) => node(`leaf[${i * 18}-${i * 18 + 17}]`, 'SW', 1, (i + 0.5) / many, { count: 18 })), links: [] }, width, 400)
      const edges = boxes.map((b) => [b.x - b.w / 2, b.x + b.w / 2] as const).sort((p, q) => p[0] - q[0])
      edges.slice(1).forEach((e, i) => expect(e[0], `${many} at ${width}`).toBeGreaterThanOrEqual((edges[i]?.[1] ?? 0) - 0.01))
      expect(edges.at(-1)?.[1]).toBeLessThanOrEqual(width)
    }
  })
  test('names that do not fit leave out what all have in common, and the level says it once', () => {
    const crowd = layout({ nodes: Array.from({ length: 12 }, (_, i) => node(`leaf[${i * 18}-${i * 18 + 17}]`, 'SW', 1, (i + 0.5) / 12, { count: 18 })), links: [] }, 900, 400)
    expect(crowd.boxes[1]?.text).toBe('18-35')
    expect(crowd.captions.map((c) => c.text)).toEqual(['leaf'])
    expect(layout(folded, 900, 400).captions).toEqual([])
    expect(shortened('leaf3', 'leaf')).toBe('3')
  })
  test('thickness grows with traffic and a little with the number of links', () => {
    expect(thickness(null)).toBe(1.25)
    expect(thickness(1e9)).toBeGreaterThan(thickness(1e7))
    expect(thickness(1e30)).toBe(8)
    expect(thickness(null, 324)).toBeGreaterThan(thickness(null))
    expect(thickness(null, 1e9)).toBe(3)
  })
  test('prefix', () => { expect(commonPrefix(['compute10', 'compute11'])).toBe('compute'); expect(commonPrefix(['leaf[0-17]', 'leaf[18-35]'])).toBe('leaf'); expect(commonPrefix(['a'])).toBe('') })
  test('the arrow keys go to the nearest box', () => {
    const map = layout(folded, 900, 400)
    expect(neighbour(map, 'leaf4', 'left')).toBe('leaf[0-3]')
    expect(neighbour(map, 'leaf4', 'right')).toBe('leaf4')
    expect(neighbour(map, 'leaf4', 'up')).toBe('spine2')
    expect(neighbour(map, 'leaf4', 'down')).toBe('n8')
    expect(neighbour(map, 'spine1', 'up')).toBe('spine1')
  })
})

describe('what is laid over the map', () => {
  test('a link is found in the line it is drawn in', () => {
    const at = boxes(folded.nodes)
    expect(at.get('leaf2')).toBe('leaf[0-3]')
    expect(lineOf('leaf2/9--spine2/3', folded.links, at)).toBe('spine2--leaf[0-3]')
    expect(lineOf('n8/1--leaf4/1', folded.links, at)).toBe('leaf4/1--n8/1')
    expect(lineOf('leaf2/1--nobody/1', folded.links, at)).toBeNull()
    expect(among(node('x', 'HCA', 0, 0, { hosts: 'n[0-7]' }), new Set(['n3', 'n7', 'n9']))).toBe(2)
  })
  test('a route is numbered, and the rest fades', () => {
    const hop = (port: string, peer: string, line: string) => ({ port, peer, link: line, cable: '', by: 'table' as const })
    const way: Routes = { routes: [{ a: 'n0', b: 'n8', source: 'n0/1', target: 'n8/1', lid: 9, by: 'tables', complete: true, problem: '', tables_since: null, hops: [hop('n0/1', 'leaf0/1', 'leaf0/1--n0/1'), hop('leaf0/9', 'spine1/1', 'leaf0/9--spine1/1'), hop('spine1/5', 'leaf4/9', 'leaf4/9--spine1/5'), hop('leaf4/1', 'n8/1', 'leaf4/1--n8/1')] }], jobs: [] }
    const over = routeOverlay(folded, way)
    expect(Object.values(over.links).map((m) => m.sign)).toEqual(['1', '2', '3', '4'])
    expect(over.links['spine1/5--leaf4/9']?.sign).toBe('3')
    expect(over.lit?.has('n9')).toBe(false)
    expect(over.lit?.has('leaf[0-3]/hosts')).toBe(true)
    expect(devices(way)).toEqual(['n0', 'leaf0', 'spine1', 'leaf4', 'n8'])
    expect(onLink([{ job: 'x', links: ['a', 'b'] }, { job: 'y', links: ['b'] }] as SharingJob[], 'a').map((j) => j.job)).toEqual(['x'])
  })
  test('a failure strikes out the switch and what it cuts off', () => {
    const over = blastOverlay(folded, { entity: 'SW:leaf4', links: ['leaf4/1--n8/1', 'leaf4/2--n9/1', 'spine1/5--leaf4/9'], lost: ['n8', 'n9'], nodes: 'n[8-9]', users: [], jobs: [], rerouted: [] } satisfies Blast)
    expect(Object.keys(over.nodes).sort()).toEqual(['leaf4', 'n8', 'n9'])
    expect(over.nodes.leaf4?.kind).toBe('failed')
    expect(Object.values(over.links).map((m) => m.kind)).toEqual(['gone', 'gone', 'gone'])
    expect(blastOverlay(folded, { entity: 'SW:leaf1', links: [], lost: ['n2', 'n3'], nodes: '', users: [], jobs: [], rerouted: [] }).nodes['leaf[0-3]/hosts']?.text).toBe('2 of 8 would be cut off')
  })
  test('checks mark links, and planned ones that are missing', () => {
    const plan: Planned = { as_planned: false, links: 9, right: 6, missing: [['leaf4/5', 'spine2/5'], ['leaf4/6', 'nowhere/1']], extra: [['leaf4/2', 'n9/1']], swapped: [], moved: [], absent: [], unplanned: [] }
    const below = { links: [{ link: 'leaf4/1--n8/1', width: '1x', speed: 'EDR' }] } as Degraded
    const over = checksOverlay(folded, below, plan)
    expect(over.links['leaf4/1--n8/1']).toMatchObject({ kind: 'below', sign: '↓' })
    expect(over.links['leaf4/2--n9/1']?.kind).toBe('extra')
    expect(over.missing).toEqual([{ from: 'leaf4', to: 'spine2', text: 'planned and not there: leaf4/5 – spine2/5' }])
    expect(planSentence(plan)).toBe('6 of 9 links are as planned; 2 missing, 1 extra.')
    expect(planSentence({ ...plan, as_planned: true, missing: [], extra: [], right: 9 })).toBe('All 9 links of the plan are there, and no other.')
  })
})

describe('port or cable', () => {
  const T = (m: number) => new Date(Date.UTC(2024, 2, 1, 8, m)).toISOString()
  const period = (a: string, b: string, cable: string, began: number, until: number | null, errors: number) => ({ connection: `${a}--${b}@${began}`, cable, maybe: '', a, b, began: T(began), until: until === null ? null : T(until), errors: { [a]: errors }, watched: 60, full: false, bad: errors > 4 })
  const verdict: PortVerdict = {
    port: 'leaf1/4', guilty: 'cable', part: 'c17', confidence: 0.9, sentence: '', advice: '', evidence: [], suspects: [], since: T(0), until: T(20),
    periods: [period('leaf1/4', 'n05/1', 'c17', 1, 5, 60), period('leaf1/7', 'n05/1', 'c17', 9, null, 70), period('leaf1/4', 'n06/1', 'c18', 10, null, 0)],
    errors: [{ port: 'leaf1/4', time: T(2), count: 20 }, { port: 'leaf1/4', time: T(4), count: 40 }, { port: 'leaf1/7', time: T(12), count: 70 }],
  }
  test('errors lie in the connection that counted them, and the guilty part is in its own', () => {
    const all = rows(verdict)
    expect(all.map((r) => [r.ticks.length, r.guilty, r.errors])).toEqual([[2, true, 60], [1, true, 70], [0, false, 0]])
    expect(all[0]).toMatchObject({ from: 0.05, until: 0.25 })
    expect(all[1]?.until).toBe(1)
    expect(all[0]?.ticks[0]?.x).toBeCloseTo(0.1)
  })
  test('of many the telling ones are kept, in order of time', () => {
    const all = rows({ ...verdict, periods: [period('x/1', 'y/1', 'q', 0, 1, 0), ...verdict.periods, period('x/2', 'y/2', 'r', 19, null, 0)] })
    expect(telling(all, 'leaf1/4', 3).map((r) => r.period.cable)).toEqual(['c17', 'c17', 'c18'])
    expect(telling(all, 'leaf1/4', 9)).toBe(all)
  })
  test('the moments to ask candidates for, the latest first', () => {
    expect(moments(verdict, ['leaf1/4', 'n05/1']).map((m) => m.count)).toEqual([40, 20])
    expect(moments(null, ['leaf1/4'])).toEqual([])
  })
})

test('commands are quoted for a shell', () => {
  expect(quoted(['qnib', 'fabric', 'show', 'SW1/3', null, '', false])).toBe('qnib fabric show SW1/3')
  expect(quoted(['qnib', 'fabric', 'show', 'cable a/1--b/1@5', "it's"])).toBe(`qnib fabric show 'cable a/1--b/1@5' 'it'\\''s'`)
})

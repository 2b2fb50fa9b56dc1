// What is laid over the fabric's map: a route, a failure, findings. Things that are not drawn alone mark the group they are in.
import type { Blast, Degraded, Fabric, Planned, Routes } from '../api/types'
import { plural } from './format'
import { among, boxes, lineOf } from './wiring'

export interface Mark { kind: 'route' | 'gone' | 'failed' | 'lost' | 'below' | 'extra' | 'moved'; text: string; sign?: string }
export interface Overlay {
  /** Boxes and lines that stay while the rest fades; null: nothing fades. */
  lit: Set<string> | null
  nodes: Record<string, Mark>
  links: Record<string, Mark>
  /** Links that should be there, between two boxes. */
  missing: { from: string; to: string; text: string }[]
}

const device = (port: string): string => port.slice(0, port.lastIndexOf('/'))

/** The route's links, numbered as they follow one another; several routes between two hosts lie over each other. */
export function routeOverlay(fabric: Fabric, routes: Routes): Overlay {
  const at = boxes(fabric.nodes)
  const over: Overlay = { lit: new Set(), nodes: {}, links: {}, missing: [] }
  for (const route of routes.routes) {
    route.hops.forEach((hop, i) => {
      const line = lineOf(hop.link, fabric.links, at)
      if (line) {
        over.lit?.add(line)
        over.links[line] ??= { kind: 'route', text: `step ${i + 1} of the route`, sign: String(i + 1) }
      }
      for (const end of [hop.port, hop.peer]) {
        const box = at.get(device(end))
        if (!box) continue
        over.lit?.add(box)
        over.nodes[box] = { kind: 'route', text: 'on the route' }
      }
    })
  }
  return over
}

/** What fails with a part: struck out, what is cut off with it, and the links that are gone. */
export function blastOverlay(fabric: Fabric, blast: Blast): Overlay {
  const at = boxes(fabric.nodes)
  const over: Overlay = { lit: null, nodes: {}, links: {}, missing: [] }
  for (const link of blast.links) {
    const line = lineOf(link, fabric.links, at)
    if (line) over.links[line] = { kind: 'gone', text: 'would be gone' }
  }
  const lost = new Set(blast.lost)
  for (const node of fabric.nodes) {
    const cut = among(node, lost)
    if (cut) over.nodes[node.id] = { kind: 'lost', text: node.count > 1 ? `${cut} of ${node.count} would be cut off` : 'would be cut off', ...(cut === node.count && { sign: '×' }) }
  }
  const [kind, key = ''] = blast.entity.split(/:(.*)/s)
  const own = kind === 'SW' || kind === 'HCA' ? at.get(key) : undefined
  if (own) over.nodes[own] = { kind: 'failed', text: 'would have failed', sign: '×' }
  return over
}

/** Links below what they could do, and differences from a plan. */
export function checksOverlay(fabric: Fabric, degraded: Degraded | null, plan: Planned | null): Overlay {
  const at = boxes(fabric.nodes)
  const over: Overlay = { lit: null, nodes: {}, links: {}, missing: [] }
  for (const row of degraded?.links ?? []) {
    const line = lineOf(row.link, fabric.links, at)
    if (line) over.links[line] = { kind: 'below', text: `runs at ${row.width} ${row.speed}`, sign: '↓' }
  }
  const find = ([a, b]: [string, string]) => lineOf(`${a}--${b}`, fabric.links, at)
  for (const pair of plan?.extra ?? []) {
    const line = find(pair)
    if (line) over.links[line] = { kind: 'extra', text: 'not planned', sign: '+' }
  }
  for (const one of [...(plan?.swapped ?? []).flatMap((s) => s.found), ...(plan?.moved ?? []).map((m) => m.found)]) {
    const line = find(one)
    if (line) over.links[line] = { kind: 'moved', text: 'not where it was planned', sign: '⇄' }
  }
  for (const [a, b] of plan?.missing ?? []) {
    const [from, to] = [at.get(device(a)), at.get(device(b))]
    if (from && to && from !== to) over.missing.push({ from, to, text: `planned and not there: ${a} – ${b}` })
  }
  return over
}

/** How a plan and the wiring differ, in a sentence. */
export function planSentence(plan: Planned): string {
  if (plan.as_planned) return `All ${plural(plan.links, 'link')} of the plan are there, and no other.`
  const told = [[plan.missing.length, 'missing'], [plan.extra.length, 'extra'], [plan.swapped.length, 'swapped'], [plan.moved.length, 'moved']] as const
  return `${plan.right} of ${plural(plan.links, 'link')} are as planned; ${told.filter(([n]) => n).map(([n, what]) => `${n} ${what}`).join(', ')}.`
}

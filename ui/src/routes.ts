// Which screen an address shows. Screens with charts load the chart code when they are first opened.
import type { Component } from 'svelte'

export interface Screen {
  /** Another key is another screen, set up afresh. */
  key: string
  props: Record<string, string>
  load: () => Promise<{ default: Component<any> }>
}

const ROUTES: [RegExp, string, Screen['load']][] = [
  [/^\/$/, 'now', () => import('./screens/Now.svelte')],
  [/^\/jobs\/?$/, 'jobs', () => import('./screens/Jobs.svelte')],
  [/^\/job\/([^/]+)$/, 'job', () => import('./screens/Job.svelte')],
  [/^\/nodes\/?$/, 'nodes', () => import('./screens/Nodes.svelte')],
  [/^\/node\/([^/]+)$/, 'node', () => import('./screens/Node.svelte')],
  [/^\/fabric\/?$/, 'fabric', () => import('./screens/Fabric.svelte')],
  [/^\/events\/?$/, 'events', () => import('./screens/Events.svelte')],
  [/^\/sources\/?$/, 'sources', () => import('./screens/Sources.svelte')],
  [/^\/series\/?$/, 'series', () => import('./screens/Series.svelte')],
  [/^\/graph\/?$/, 'graph', () => import('./screens/Graph.svelte')],
  [/^\/changes\/?$/, 'changes', () => import('./screens/Changes.svelte')],
  [/^\/style\/?$/, 'style', () => import('./screens/Style.svelte')],
]

/** The network may change under a download (see api/client.ts): one more try before saying so. */
function patient(load: Screen['load']): Screen['load'] {
  return () => load().catch(() => new Promise((go) => setTimeout(go, 600)).then(load))
}

export function screenFor(path: string): Screen {
  for (const [shape, name, load] of ROUTES) {
    const match = shape.exec(path)
    if (!match) continue
    const id = match[1] === undefined ? null : decodeURIComponent(match[1])
    return { key: `${name}/${id ?? ''}`, props: id === null ? {} : { id }, load: patient(load) }
  }
  return { key: path, props: { path }, load: () => import('./screens/Nowhere.svelte') }
}

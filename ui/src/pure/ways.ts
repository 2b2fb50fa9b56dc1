// Routes link by link, and the jobs on each link of them.
import type { Hop, Routes, SharingJob } from '../api/types'

/** The jobs whose routes cross one link. */
export const onLink = (jobs: SharingJob[], link: string): SharingJob[] => jobs.filter((j) => j.links.includes(link))

/** Devices that routes lead through, in order, each once: hosts' adapters at both ends. */
export function devices(routes: Routes | null): string[] {
  const name = (port: string) => port.slice(0, port.lastIndexOf('/'))
  return [...new Set((routes?.routes ?? []).flatMap((r) => r.hops.flatMap((h) => [name(h.port), name(h.peer)])))]
}

export const WHY: Record<Hop['by'], string> = { adapter: 'its only link', table: 'by the switch’s table', shortest: 'a shortest way, no table is known' }

/** How a route is known, in words. */
export function known(by: string): string {
  if (by === 'tables') return 'as the switches’ own tables lead; with adaptive routing it is one of several'
  return by === 'shortest' ? 'a shortest way: no forwarding table is known, so it is only possible' : 'by tables where they are known, else a shortest way'
}

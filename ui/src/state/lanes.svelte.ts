// Lanes of events over the charts that somebody asked for by a query: kept in the address, one line each.
import type { ApiError } from '../api/types'
import { address } from './address.svelte'

export const MOST_LANES = 4

/** The queries, each once. */
export const chosenLanes = (): string[] => [...new Set((address.get('lanes') ?? '').split('\n').map((q) => q.trim()).filter(Boolean))].slice(0, MOST_LANES)

const keep = (lanes: string[]) => address.set({ lanes: lanes.join('\n') || null })
export const withLane = (q: string) => keep([...chosenLanes(), q.replaceAll('\n', ' ').trim()])
export const withoutLane = (q: string) => keep(chosenLanes().filter((one) => one !== q))

/** What is wrong with a lane's query, by query. */
export const laneErrors = $state<{ of: Record<string, ApiError | null> }>({ of: {} })

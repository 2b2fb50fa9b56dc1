// Asks the API. Whatever goes wrong comes back as one shape: what, where, what to try next.
import { BASE, session } from '../state/session.svelte'
import type { ApiError, Table } from './types'

export class Failure extends Error implements ApiError {
  constructor(readonly what: string, readonly where: string, readonly try_next: string, readonly status = 0) {
    super(what)
  }
}

/** The full URL of an API path; parameters given here win over those in the path. */
export function apiUrl(path: string, params: Record<string, string | number | null | undefined> = {}): URL {
  const url = new URL(path.replace(/^\//, ''), BASE)
  for (const [name, value] of Object.entries(params)) if (value != null && value !== '') url.searchParams.set(name, String(value))
  return url
}

// A browser drops all its requests whenever the machine's network changes, and each container that starts
// or ends is such a change: ask again shortly before saying that nobody answers. Everything asked here is a read.
const PATIENCE = [250, 700, 1500]

async function persistent(url: URL, options: RequestInit, signal?: AbortSignal): Promise<Response> {
  for (const wait of [...PATIENCE, null]) {
    try {
      return await fetch(url, options)
    } catch (error) {
      if (signal?.aborted) throw error
      if (wait !== null) await new Promise((go) => setTimeout(go, wait))
    }
  }
  throw new Failure('The server does not answer.', url.host, 'See whether it runs: qnib status. This page tries again by itself.')
}

export async function request(url: URL, signal?: AbortSignal, accept = 'application/json', body?: unknown): Promise<Response> {
  const headers: Record<string, string> = { accept, ...(body !== undefined && { 'content-type': 'application/json' }) }
  if (session.token) headers.authorization = `Bearer ${session.token}`
  const options: RequestInit = { headers, signal: signal ?? null, cache: 'no-store', ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }) }
  const response = await persistent(url, options, signal)
  if (response.ok) return response
  if (response.status === 401) session.refuse()
  const told = (await response.json().catch(() => null)) as Partial<ApiError> | null
  throw new Failure(told?.what ?? `The server answered ${response.status}.`, told?.where ?? url.pathname, told?.try_next ?? 'Try again; if it stays, look into the log of qnib serve.', response.status)
}

export async function get<T>(path: string, params: Record<string, string | number | null | undefined> = {}, signal?: AbortSignal): Promise<T> {
  const response = await request(apiUrl(path, params), signal)
  return (await response.json()) as T
}

/** Ask the graph: one read-only Cypher query, its values as parameters; `at`: what held then. */
export async function cypher(query: string, params: Record<string, unknown>, cluster: string, signal?: AbortSignal, at: string | null = null): Promise<Table> {
  const response = await request(apiUrl('/api/graph/cypher'), signal, 'application/json', { query, params, cluster, at })
  return (await response.json()) as Table
}

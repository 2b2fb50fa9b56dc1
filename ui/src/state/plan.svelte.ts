// The plan that the wiring is compared with: given as a file or as text, kept in this tab, compared anew at another time.
import { apiUrl, Failure, request } from '../api/client'
import type { ApiError, Planned } from '../api/types'

const KEY = 'qnib.plan'

class Plan {
  name = $state('')
  answer = $state.raw<Planned | null>(null)
  error = $state.raw<ApiError | null>(null)
  busy = $state(false)
  /** It survives a reload of the page: a very large one does not. */
  kept = $state(false)
  text = $state.raw('')

  constructor() {
    const stored = sessionStorage.getItem(KEY)
    if (stored === null) return
    const told = JSON.parse(stored) as { name: string; text: string }
    this.name = told.name
    this.text = told.text
    this.kept = true
  }

  give(text: string, name: string): void {
    this.text = text
    this.name = name
    this.answer = null
    try {
      sessionStorage.setItem(KEY, JSON.stringify({ name, text }))
      this.kept = true
    } catch {
      sessionStorage.removeItem(KEY) // too large for the browser: it is there until the page is left
      this.kept = false
    }
  }

  forget(): void {
    sessionStorage.removeItem(KEY)
    this.text = this.name = ''
    this.answer = null
    this.error = null
    this.kept = false
  }

  /** Compare the wiring of a cluster at a time. Returns what stops it. */
  compare(cluster: string, at: string | null): () => void {
    const stop = new AbortController()
    this.busy = true
    request(apiUrl('/api/fabric/planned'), stop.signal, 'application/json', { plan: this.text, cluster, at: at ?? '' })
      .then(async (response) => { this.answer = (await response.json()) as Planned; this.error = null })
      .catch((error: unknown) => { if (!stop.signal.aborted) { this.error = error instanceof Failure ? error : new Failure('The plan could not be compared.', this.name, 'Load the page again.'); this.answer = null } })
      .finally(() => { if (!stop.signal.aborted) this.busy = false })
    return () => stop.abort()
  }
}

export const plan = new Plan()

// One thing on the screen that comes from the API: loads it, keeps it fresh, keeps the old while the
// new is on its way, and holds what went wrong. Made while a component is being set up.
import { untrack } from 'svelte'
import { iso } from '../pure/format'
import { isLive, span, type Window } from '../pure/window'
import { cluster } from '../state/cluster.svelte'
import { live, type Topic } from '../state/live.svelte'
import { time } from '../state/time.svelte'
import { Failure, get } from './client'
import type { ApiError } from './types'

type Params = Record<string, string | number | null | undefined>

interface Options {
  /** Changes of these topics ask again. */
  topics?: Topic[]
  /** Sent as from and until, worked out when asking. */
  window?: () => Window | null
  /** Further parameters; a change asks again but keeps what is shown. */
  params?: () => Params
  /** False for what lies in the past and will not change. */
  moving?: () => boolean
  /** Least seconds between two askings. */
  least?: () => number
}

export class Resource<T> {
  data = $state.raw<T | null>(null)
  error = $state.raw<ApiError | null>(null)
  loading = $state(false)
  private path: string | null = null
  private asked = ''
  private params: Params = {}
  private window: Window | null = null
  private last = 0
  private took = 0
  private stop: AbortController | null = null
  private timer = 0
  private readonly least: () => number

  /** @param path the API path, or null for "nothing to ask yet"; another path drops what was shown */
  constructor(path: () => string | null, options: Options = {}) {
    this.least = options.least ?? (() => 2)
    $effect(() => {
      const to = path()
      this.params = { cluster: cluster.name, ...options.params?.() }
      this.window = options.window?.() ?? null
      const asked = JSON.stringify([to, this.params, this.window])
      untrack(() => {
        if (asked === this.asked) return // the same question in new objects
        this.asked = asked
        if (to !== this.path) this.data = null
        this.path = to
        void this.load()
      })
    })
    let first = true
    $effect(() => {
      for (const topic of options.topics ?? []) void live.changes[topic]
      if (!first && (!this.window || isLive(this.window)) && (options.moving?.() ?? true)) untrack(() => this.later())
      first = false
    })
    $effect(() => () => {
      this.stop?.abort()
      window.clearTimeout(this.timer)
    })
  }

  /** Ask again as soon as the least pause allows. */
  private later(least = this.least()): void {
    if (this.timer) return
    // An answer still on its way is looked for again a little later, never in a tight loop.
    // A server that needs long is asked less often.
    const wait = Math.max(this.loading ? 250 : 0, this.last + Math.max(least * 1000, 4 * this.took) - Date.now())
    this.timer = window.setTimeout(() => {
      this.timer = 0
      if (this.loading) this.later()
      else void this.load()
    }, wait)
  }

  async load(): Promise<void> {
    this.stop?.abort()
    if (this.path === null) return
    const stop = new AbortController()
    this.stop = stop
    this.loading = true
    this.last = Date.now()
    const interval = this.window ? span(this.window, time.now) : null
    try {
      const data = await get<T>(this.path, { ...this.params, ...(interval && { from: iso(interval.from), until: iso(interval.until) }) }, stop.signal)
      if (stop.signal.aborted) return
      this.data = data
      this.took = Date.now() - this.last
      this.error = null
    } catch (error) {
      if (stop.signal.aborted) return
      this.error = error instanceof Failure ? error : new Failure('The answer could not be read.', this.path, 'Reload the page; if it stays, the server and this page are of different versions.')
      // A server that is away, or a network that just changed: try again by itself.
      if (error instanceof Failure && (error.status === 0 || error.status >= 500)) this.later(Math.max(3, this.least()))
    } finally {
      if (this.stop === stop) this.loading = false
    }
  }
}

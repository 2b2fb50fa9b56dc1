// The one stream of a browser tab: which topics changed, and how fresh the data is. When the stream
// dies, everything is asked again every few seconds, and the header says so.
import { apiUrl, get, request } from '../api/client'
import type { Health, LiveChange } from '../api/types'
import { epoch } from '../pure/format'
import { time } from './time.svelte'

export type Topic = LiveChange['topic'] | 'events'
const POLL = 5_000
const HEALTH = 15_000
const RETRY = [1_000, 2_000, 5_000, 10_000]

class Live {
  state = $state<'connecting' | 'live' | 'polling' | 'paused'>('connecting')
  /** Counts up when a topic changed. */
  changes = $state<Record<Topic, number>>({ jobs: 0, nodes: 0, fabric: 0, points: 0, events: 0 })
  health = $state.raw<Health | null>(null)
  /** The server could not be reached at all. */
  lost = $state(false)
  /** Epoch seconds of the newest thing received, as far as told. */
  newest = $state<number | null>(null)

  private stop: AbortController | null = null
  private cluster = ''
  private failures = 0
  private timers: number[] = []
  private again = 0

  /** Follow one cluster from now on. Returns what ends it. */
  follow(cluster: string): () => void {
    this.cluster = cluster
    this.newest = null
    const seen = () => (document.hidden ? this.pause() : this.resume())
    document.addEventListener('visibilitychange', seen)
    this.timers = [window.setInterval(() => this.state === 'polling' && this.bumpAll(), POLL), window.setInterval(() => void this.ask(), HEALTH)]
    void this.ask()
    void this.run()
    return () => {
      document.removeEventListener('visibilitychange', seen)
      this.timers.forEach((timer) => window.clearInterval(timer))
      this.stop?.abort()
    }
  }

  /** Ask for the server's health: its clock, its clusters, how old their newest data are. */
  async ask(): Promise<void> {
    try {
      const health = await get<Health>('/api/health')
      this.health = health
      this.lost = false
      time.tell(epoch(health.time))
      const mine = health.clusters?.find((c) => c.name === this.cluster) ?? (this.cluster ? null : health.clusters?.[0])
      if (mine?.newest) this.hear(mine.newest)
    } catch {
      this.lost = true // said in the header; asked again soon
      window.clearTimeout(this.again)
      this.again = window.setTimeout(() => void this.ask(), RETRY[1])
    }
  }

  private hear(newest: string): void {
    const t = epoch(newest)
    if (Number.isFinite(t) && (this.newest === null || t > this.newest)) this.newest = t
  }

  private pause(): void {
    this.state = 'paused'
    this.stop?.abort()
  }

  private resume(): void {
    this.bumpAll()
    void this.ask()
    void this.run()
  }

  private bumpAll(): void {
    for (const topic of Object.keys(this.changes) as Topic[]) this.changes[topic]++
  }

  private async run(): Promise<void> {
    this.stop?.abort()
    const stop = new AbortController()
    this.stop = stop
    try {
      const response = await request(apiUrl('/api/live', { cluster: this.cluster, topics: 'jobs,nodes,fabric,events,points' }), stop.signal, 'text/event-stream')
      if (!response.body) throw new Error('no stream')
      this.state = 'live'
      this.failures = 0
      await this.listen(response.body)
    } catch {
      // A stream that ended or never began: poll meanwhile and try again below.
    }
    if (stop.signal.aborted) return
    this.state = 'polling'
    const wait = RETRY[Math.min(this.failures++, RETRY.length - 1)] ?? 10_000
    window.setTimeout(() => !stop.signal.aborted && void this.run(), wait)
  }

  private async listen(body: ReadableStream<Uint8Array>): Promise<void> {
    const reader = body.pipeThrough(new TextDecoderStream() as unknown as TransformStream<Uint8Array, string>).getReader()
    let held = ''
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      held += value.replaceAll('\r\n', '\n')
      const messages = held.split('\n\n')
      held = messages.pop() ?? ''
      for (const message of messages) this.message(message)
    }
  }

  private message(text: string): void {
    let name = 'message'
    const data: string[] = []
    for (const line of text.split('\n')) {
      if (line.startsWith('event:')) name = line.slice(6).trim()
      else if (line.startsWith('data:')) data.push(line.slice(5).trimStart())
    }
    if (!data.length) return
    if (name === 'events') {
      this.changes.events++
    } else if (name === 'change') {
      const change = JSON.parse(data.join('\n')) as LiveChange
      if (change.newest) this.hear(change.newest)
      if (change.topic in this.changes) this.changes[change.topic]++
    }
  }
}

export const live = new Live()

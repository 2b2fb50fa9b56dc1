// The stand-in's world: a made-up cluster of eight nodes as a pure function of time.
// Everything is computed from a seed and the hour the world began, so that two runs at the same
// frozen time give the same answers. It stands in for the server while the UI is worked on; it is
// never part of what is shipped.

const MINUTE = 60
export const CLUSTER = 'demo'
export const NODES = Array.from({ length: 8 }, (_, i) => `compute${i}`)
const USERS = {
  alice: ['physics', 'fluids'], bob: ['chemistry', 'md'], carol: ['physics', 'lattice'], dave: ['chemistry', 'md'],
}

/** A number in 0..1 that is the same for the same arguments. */
export function noise(...parts) {
  let h = 2166136261
  for (const c of parts.join('/')) h = Math.imul(h ^ c.charCodeAt(0), 16777619)
  h ^= h >>> 13; h = Math.imul(h, 0x5bd1e995); h ^= h >>> 15
  return (h >>> 0) / 4294967296
}

/** Noise that moves smoothly with time; period in seconds. */
export function drift(seed, t, period) {
  const k = Math.floor(t / period), f = t / period - k, s = f * f * (3 - 2 * f)
  return noise(seed, k) * (1 - s) + noise(seed, k + 1) * s
}

export const iso = (t) => (t == null ? null : new Date(t * 1000).toISOString().replace(/\.\d+Z$/, 'Z'))

export function fold(names) {
  const n = names.map((x) => +x.replace(/\D+/g, '')).sort((a, b) => a - b)
  if (n.length === 0) return ''
  const runs = []
  for (const x of n) {
    const last = runs.at(-1)
    if (last && last[1] === x - 1) last[1] = x
    else runs.push([x, x])
  }
  const text = runs.map(([a, b]) => (a === b ? `${a}` : `${a}-${b}`)).join(',')
  return n.length === 1 ? `compute${n[0]}` : `compute[${text}]`
}

// minutes before the beginning: start, end (null: still running), and what became of it
const RUNS = [
  [61, 'gemm', 'alice', [0, 1, 2, 3], -21, null, 'RUNNING', 60, 'gemm'],
  [62, 'ping-pong', 'bob', [4, 5], -6, null, 'RUNNING', 15, 'pingpong'],
  [58, 'lattice-sweep', 'carol', [6], -52, null, 'RUNNING', 60, 'gemm'],
  [60, 'gemm', 'alice', [4, 5], -31, -13, 'COMPLETED', 60, 'gemm'],
  [59, 'restart-check', 'dave', [0, 1], -34, -33, 'FAILED', 10, 'idle'],
  [57, 'ping-pong', 'bob', [2, 3], -47, -38, 'COMPLETED', 15, 'pingpong'],
  [56, 'md-water', 'dave', [4, 5], -66, -44, 'OUT_OF_MEMORY', 60, 'leak'],
  [55, 'gemm', 'alice', [0, 1, 2, 3], -84, -50, 'COMPLETED', 60, 'gemm'],
  [54, 'restart-check', 'dave', [6], -92, -91, 'FAILED', 10, 'idle'],
  [53, 'lattice-sweep', 'carol', [6], -160, -100, 'TIMEOUT', 60, 'gemm'],
  [52, 'ping-pong', 'bob', [1, 4], -118, -104, 'COMPLETED', 15, 'pingpong'],
  [51, 'gemm', 'alice', [0, 2, 3, 5], -150, -108, 'COMPLETED', 60, 'gemm'],
  [50, 'md-water', 'dave', [4, 7], -204, -150, 'COMPLETED', 60, 'leak'],
  [49, 'gemm', 'alice', [0, 1, 2, 3], -215, -178, 'COMPLETED', 60, 'gemm'],
  [48, 'interactive', 'carol', [5], -240, -205, 'CANCELLED', 120, 'idle'],
  [47, 'gemm', 'alice', [0, 1, 2, 3, 4, 5, 6, 7], -290, -246, 'COMPLETED', 60, 'gemm'],
  [46, 'restart-check', 'dave', [2], -300, -299, 'FAILED', 10, 'idle'],
  [45, 'ping-pong', 'bob', [6, 7], -312, -301, 'COMPLETED', 15, 'pingpong'],
]
const WAITING = [
  [63, 'gemm-wide', 'alice', 8, -9, 'Resources', 60],
  [64, 'md-water', 'dave', 2, -3, 'Priority', 60],
]
const SIGNALS = { OUT_OF_MEMORY: 9, TIMEOUT: 15, CANCELLED: 15 }

export class World {
  /** @param began epoch seconds the world counts from; the present moves on from there */
  constructor(began) {
    this.began = began
    this.jobs = [...RUNS.map((r) => this.run(r)), ...WAITING.map((w) => this.wait(w))].sort((a, b) => b.id - a.id)
    this.outages = [
      { link: 'SW1/6--SW4/1', from: began - 8.4 * MINUTE, until: null },
      { link: 'SW1/3--compute2/1', from: began - 128 * MINUTE, until: began - 124 * MINUTE },
    ]
  }

  run([id, name, user, nodes, from, to, state, limit, shape]) {
    const start = this.began + from * MINUTE + noise(id) * 20
    const end = to == null ? null : this.began + to * MINUTE + noise(id, 'e') * 20
    return { id, name, user, hosts: nodes.map((n) => `compute${n}`), submit: start - 4 - noise(id, 's') * 90, start, end, state, limit: limit * MINUTE, shape, reason: '' }
  }

  wait([id, name, user, count, from, reason, limit]) {
    return { id, name, user, hosts: [], want: count, submit: this.began + from * MINUTE, start: null, end: null, state: 'PENDING', limit: limit * MINUTE, shape: 'gemm', reason }
  }

  job(key) {
    const id = parseInt(key, 10)
    return this.jobs.find((j) => j.id === id)
  }

  key(j) { return `${j.id}@${Math.floor(j.submit)}` }

  on(host, t) { return this.jobs.find((j) => j.start != null && j.hosts.includes(host) && j.start <= t && (j.end ?? Infinity) > t) }

  progress(j, now) {
    if (j.start == null || !['gemm', 'leak'].includes(j.shape)) return null
    const slow = 1 - 0.18 * (this.down('SW1/6--SW4/1', now) && j.hosts.length > 2 ? 1 : 0)
    const total = j.hosts.length > 2 ? 200 : 100
    const rate = (total / (j.limit * 0.72)) * slow
    const t = Math.min(now, j.end ?? now)
    const done = Math.min(total, Math.floor((t - j.start) * (total / (j.limit * 0.72))))
    const spark = Array.from({ length: 24 }, (_, i) => {
      const at = t - (23 - i) * 45
      return at < j.start ? 0 : rate * (0.92 + 0.16 * drift(`r${j.id}`, at, 60)) * (this.down('SW1/6--SW4/1', at) ? 1 : 1.15)
    })
    const ends = j.end == null ? t + (total - done) / rate : null
    return { done, total, fraction: done / total, rate: j.end == null ? rate : null, ends: iso(ends), unit: 'iterations', spark }
  }

  full(j, now) {
    const [group, account] = USERS[j.user]
    const status = { RUNNING: 'fine', PENDING: 'unknown', COMPLETED: 'fine', FAILED: 'critical', OUT_OF_MEMORY: 'critical', TIMEOUT: 'warn', CANCELLED: 'unknown' }[j.state]
    const count = j.hosts.length || j.want
    return {
      key: this.key(j), id: j.id, name: j.name, user: j.user, account, group, partition: 'all', state: j.state,
      status: j.id === 58 ? 'warn' : status, reason: j.reason, nodes: fold(j.hosts), node_count: count, cpus: count * 2,
      submit: iso(j.submit), start: iso(j.start), end: iso(j.end),
      elapsed: j.start == null ? 0 : (j.end ?? now) - j.start, limit: j.limit,
      exit_code: j.end == null ? null : j.state === 'FAILED' ? 1 : 0, signal: SIGNALS[j.state] ?? null, attempt: 1,
      progress: this.progress(j, now),
    }
  }

  down(link, t) { return this.outages.some((o) => o.link === link && o.from <= t && (o.until ?? Infinity) > t) }

  /** One counter of one switch port, as a rate. */
  portValue(metric, port, t) {
    if (metric === 'ib.symbol_error') return port === 'SW2/2' ? Math.floor(drift(port, t, 120) * 3) : 0
    const dead = this.outages.some((o) => o.link.startsWith(`${port}--`) && o.from <= t && (o.until ?? Infinity) > t)
    const busy = this.on('compute0', t) || this.on('compute4', t)
    return dead ? 0 : 40e3 + (busy ? 44e6 + 26e6 * drift(port + metric, t, 50) : 0)
  }

  /** One metric of one host at one instant. */
  value(metric, host, t) {
    if (host.includes('/')) return this.portValue(metric, host, t)
    const j = this.on(host, t), seed = `${metric}/${host}`
    if (host === 'compute7' && t > this.began - 140 * MINUTE) return metric.startsWith('memory') ? 62e6 : metric === 'cpu.used' ? 1.2 + drift(seed, t, 20) : 300
    const since = j ? t - j.start : 0
    const busy = j ? Math.min(1, since / 12) : 0
    const beat = 0.5 + 0.5 * Math.sin((since / 47) * 2 * Math.PI)
    const shape = j?.shape ?? 'none'
    const hurt = this.down('SW1/6--SW4/1', t) && j?.id === 61 ? 0.82 : 1
    switch (metric) {
      case 'cpu.used': return 2 + drift(seed, t, 15) * 3 + busy * ({ gemm: 168 + 22 * beat * hurt, pingpong: 88 + 8 * beat, leak: 140, idle: 4 }[shape] ?? 0) * (host === 'compute2' && j?.id === 61 ? 0.74 : 1)
      case 'cpu.system': return 0.6 + drift(seed, t, 15) + busy * ({ pingpong: 31, gemm: 9 }[shape] ?? 1)
      case 'memory.used': return 64e6 + busy * ({ gemm: 148e6 + 20e6 * drift(seed, t, 90), pingpong: 41e6, leak: Math.min(430e6, since * 0.36e6), idle: 8e6 }[shape] ?? 0)
      case 'network.tx_bytes': case 'network.rx_bytes': return 900 + 600 * drift(seed, t, 20) + busy * hurt * ({ gemm: 52e6 * beat + 6e6, pingpong: 118e6 + 9e6 * drift(seed, t, 30), leak: 4e6 }[shape] ?? 0)
      default: return 40e6 * drift(seed, t, 60)
    }
  }
}

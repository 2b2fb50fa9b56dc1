// The API as the UI sees it. Times are ISO 8601 in UTC; durations are seconds; every read takes ?cluster=NAME.

export type Status = 'fine' | 'warn' | 'critical' | 'unknown'

/** Every error has this shape, whatever the HTTP status. */
export interface ApiError { what: string; where: string; try_next: string }

/** GET /api/health (the only read without a token; with one it tells more) */
export interface Health {
  status: 'ok' | 'degraded'
  version: string
  time: string
  clusters?: { name: string; newest: string | null; age: number | null }[]
  spool?: { files: number; bytes: number; oldest_age: number }
  rejects?: number
}

/** GET /api/now?cluster= : the cluster at a glance */
export interface Now {
  cluster: string
  time: string
  newest: string | null // newest datapoint or event received
  nodes: { total: number; by_state: Record<string, number> }
  cpus: { total: number; allocated: number }
  jobs: { running: number; pending: number; finished_last_hour: Record<string, number> } // by state
  users: { name: string; running: number; pending: number; cpus: number }[]
  fabric: { hcas: number; switches: number; links: number; links_down: number; symbol_errors: number }
  partitions: { name: string; nodes: string; state: string; total: number }[] // nodes folded
  use: UseRow[] // the USE board
  findings: Finding[]
  changes: EventRow[] // the newest that matter
  running: Job[]
}
export interface UseRow {
  resource: string // "CPU", "Memory", "Network", "Fabric links", "SLURM daemons"
  errors: UseCell; saturation: UseCell; utilisation: UseCell
}
export interface UseCell { value: number | null; unit: string; status: Status; worst: string; note: string; link: string }

export interface Finding { name: string; severity: Status; sentence: string; advice: string; evidence: string[]; about: string | null }

/** GET /api/jobs?cluster=&state=running|pending|finished|all&user=&limit=&from=&until= -> { jobs: Job[] , newest: string|null } */
export interface Job {
  key: string // "42@1763632800" : job id and submit time
  id: number
  name: string
  user: string
  account: string
  group: string
  partition: string
  state: string // SLURM's word: RUNNING, PENDING, COMPLETED, FAILED, OUT_OF_MEMORY …
  status: Status
  reason: string
  nodes: string // folded: compute[0-3]
  node_count: number
  cpus: number
  submit: string
  start: string | null
  end: string | null
  elapsed: number
  limit: number | null
  exit_code: number | null
  signal: number | null
  attempt: number
  progress: Progress | null
}
export interface Progress { done: number; total: number; fraction: number; rate: number | null; ends: string | null; unit: string; spark: number[] }

/** GET /api/jobs/{key or id}?cluster= */
export interface JobPage extends Job {
  work_dir: string
  verdict: string // one sentence
  findings: Finding[]
  placement: Placement
  panels: PanelSpec[]
  window: { from: string; until: string } // the job's own interval, a little widened
  command: string // `qnib job show 42`
}
export interface Placement {
  sentence: string
  switches: { name: string; nodes: string; count: number }[]
  hops: { from: string; to: string; hops: number }[] // at most 64 nodes
}

/** GET /api/nodes?cluster= -> { nodes: Node[] } */
export interface Node {
  name: string; state: string; status: Status; reason: string
  cpus: number; cpus_allocated: number; memory_mb: number; partitions: string[]
  jobs: string[] // keys of running jobs
  switch: string | null
  cpu_percent: number | null; memory_percent: number | null; newest: string | null
}
/** GET /api/nodes/{name}?cluster= */
export interface NodePage extends Node {
  aliases: { name: string; kind: string; since: string }[]
  port: { hca: string; switch: string; switch_port: number; cable: string; rate: string; state: string } | null
  history: { job: Job; since: string; until: string | null }[]
  findings: Finding[]
  panels: PanelSpec[]
}

/** A panel as the server asks the UI to draw it: one of seven kinds, with the query that fills it. */
export interface PanelSpec {
  id: string
  title: string
  kind: 'series' | 'heatmap' | 'topology' | 'log' | 'table' | 'stat' | 'timeline'
  unit: string
  source: string // "cgroup of the node", "perfquery" …
  description: string
  url: string // API path + query; the UI adds from, until, points
  limit: number | null // a line to draw, e.g. the memory limit
  domain: string
}

/** GET /api/series?cluster=&metric=NAME&host=compute[0-3]|&job=KEY|&port=SW1/3 &from=&until=&points=600
 *  Buckets reduced in the engine; t in epoch seconds; null where nothing was received. */
export interface SeriesAnswer {
  metric: string; unit: string; source: string; description: string
  from: string; until: string; step: number
  newest: string | null
  series: Series[]
  band: { min: (number | null)[]; median: (number | null)[]; max: (number | null)[] } | null // for more than 8 series
  t: number[]
}
export interface Series { name: string; tags: Record<string, string>; mean: (number | null)[]; min: (number | null)[]; max: (number | null)[] }

/** GET /api/events?cluster=&from=&until=&host=&job=&entity=&severity=&kind=&app=&q=&limit=&histogram=60
 *  -> { events: EventRow[], total: number, histogram?: {t: number[], count: number[]} } newest first */
export interface EventRow {
  id: string; time: string; received: string; host: string; app: string
  severity: 'emerg' | 'alert' | 'crit' | 'err' | 'warning' | 'notice' | 'info' | 'debug'
  kind: string // "job.start", "link.down", "" where no rule matched
  message: string
  hint: string
  entities: string[] // "Job:42@…", "Port:SW1/3"
  fields: Record<string, string>
  lane: 'scheduler' | 'fabric' | 'kernel' | 'application' | 'container' | 'other'
}

/** GET /api/fabric?cluster=&at=&job= ; positions computed on the server, x and y in 0..1 */
export interface Fabric {
  at: string
  newest: string | null
  nodes: FabricNode[]
  links: FabricLink[]
  changes: { time: string; sentence: string; link: string; what: 'up' | 'down' }[]
}
export interface FabricNode { id: string; kind: 'SW' | 'HCA'; label: string; host: string | null; level: number; x: number; y: number; status: Status; jobs: string[] }
export interface FabricLink {
  id: string // "SW1/3--compute2/1"
  a: string; a_port: number; b: string; b_port: number
  cable: string; width: string; speed: string
  state: 'up' | 'down'
  since: string; until: string | null
  status: Status
  xmit_rate: number | null // octets per second, both directions summed
  errors: number | null // symbol errors seen in the last hour
  xmit_wait: number | null
  on_route: boolean // of the job asked about
}

/** GET /api/jump?cluster=&q= -> { hits: Hit[] } */
export interface Hit { kind: string; key: string; label: string; detail: string; url: string }

/** POST /api/graph/cypher {query, params, at, cluster} -> Table ; GET /api/graph/questions -> { questions: Question[] } */
export interface Table { columns: string[]; rows: unknown[][]; at: string; truncated: boolean; elapsed_ms: number }
export interface Question { name: string; ask: string; cypher: string; columns: string[]; domain: string }

/** GET /api/live?cluster=&topics=jobs,nodes,fabric,events : one EventSource per browser.
 *  event: change  data: {topic, time, newest}   (refetch what shows that topic, at most twice a second)
 *  event: events  data: EventRow[]             (new events, newest last)
 *  comment heartbeat every 15 s */
export interface LiveChange { topic: 'jobs' | 'nodes' | 'fabric' | 'points'; time: string; newest: string | null }

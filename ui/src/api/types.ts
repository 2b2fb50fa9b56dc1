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
  spool?: { files: number; bytes: number; oldest_age: number; dropped?: number } // dropped: datagrams, since the start
  rejects?: number
  mirror?: MirrorTarget[]
  rollups?: { settled: string | null; waiting: number; trouble: string } // hours waiting to be rolled up again
  series?: { cluster: string; count: number; most: number; refused: number }[] // refused: points of new ones, since the start
  rules?: { count: number; site: number; since: string; trouble: string } // trouble: a file with a mistake, not in force
}

/** Where events are sent on to: events sent, refused by it and dropped since the start; files waiting, lag in seconds. */
export interface MirrorTarget { what: 'events' | 'metrics'; to: string; sent: number; refused: number; dropped: number; waiting: number; lag: number; not_written: number; trouble: string }

/** GET /api/senders?cluster=&from=&until= : who sends events, and what was refused last */
export interface Senders { senders: SenderRow[]; points: PointSender[]; rejected: Rejected[] }
export interface SenderRow {
  sender: string // address
  host: string // "" where nothing of this sender was taken
  listener: string // "syslog/udp"
  events: number
  last: string | null
  skew: number // seconds its clock is ahead
  wrong_clock: number // events whose time was replaced by their arrival
  sent_by: number // events that named this host and came from the known address of another
  rejects: number // of the sender, whichever row
  dropped: number // the same: datagrams since the server started
}
export interface PointSender { host: string; sender: string; listener: string; points: number; last: string } // in whole five minutes
export interface Rejected { sender: string; listener: string; reason: string; count: number; last: string; example: string }

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

/** GET /api/jobs?cluster=&state=running|pending|finished|all&user=&limit=&from=&until= -> { jobs: Job[], more: boolean, newest: string|null } */
export interface Jobs { jobs: Job[]; more: boolean; newest: string | null }
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
  lengths: Record<string, number> // pairs of nodes by links between them
  mean: number // links between two nodes, on average
  better: { nodes: string; switches: Placement['switches']; mean: number; sentence: string } | null // free when it started, and closer
}

/** GET /api/differs?job=KEY|hosts=compute[0-3]&at= : which hosts are not like the others, and in what */
export interface Differs {
  job: { id: number; key: string; name: string } | null
  at: string
  hosts: string; count: number // folded
  odd: string; odd_count: number // hosts that are among the exceptions
  sentence: string
  compared: { aspect: string; title: string; items: number; differences: number; hosts: string; count: number; unknown: string; unknown_count: number; silent: string; silent_count: number; oldest: string | null }[] // silent: told more than three hours ago
  untold: string[] // titles of what is known of no host
  differences: { aspect: string; title: string; item: string; usual: HostsWith | null; of_cluster: boolean; others: HostsWith[] }[] // at most 500
  difference_count: number
  findings: Finding[]
}
export interface HostsWith { value: string; hosts: string; count: number }

/** Hosts that are no nodes; `containers`: so many stand on it */
export interface OtherHost { name: string; containers: number; newest: string | null }
/** GET /api/nodes?cluster= -> { nodes: Node[], others: OtherHost[] } */
export interface Node {
  name: string; state: string; status: Status; reason: string
  cpus: number; cpus_allocated: number; memory_mb: number; partitions: string[]
  jobs: string[] // keys of running jobs
  switch: string | null
  cpu_percent: number | null; memory_percent: number | null; newest: string | null
}
/** GET /api/nodes/{name}?cluster= */
export interface NodePage extends Node {
  node: boolean // false: a host that SLURM does not know, such as the controller or the machine below the containers
  aliases: { name: string; kind: string; since: string }[]
  machine: Machine
  port: { hca: string; switch: string; switch_port: number; cable: string; rate: string; state: string } | null
  history: { job: Job; since: string; until: string | null }[]
  findings: Finding[]
  panels: PanelSpec[]
}

/** What a node is as a machine; what nobody has told of is null or empty. */
export interface Machine {
  kernel: string | null; os: string | null
  packages: SoftwareOf | null; modules: SoftwareOf | null
  container: { name: string; engine: string; image: string | null; memory: number | null; cpus: number | null; state: string; machine: string | null } | null
  containers: number // of this cluster, that stand on it
  interfaces: { name: string; state: string; speed: number | null; mtu: number; mac: string; addresses: string | null; switch: string | null; port: string | null }[]
}
/** `alike`: how many of the other `hosts` - 1 have the very same */
export interface SoftwareOf { key: string; name: string; size: number; since: string; alike: number; hosts: number }

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
  total?: number // how many there are, where not all of them are lines
  over?: boolean // it is of the past, and nothing is to come: a job that ended
}
export interface Series { name: string; tags: Record<string, string>; mean: (number | null)[]; min: (number | null)[]; max: (number | null)[] }

/** GET /api/metrics/groups?by=host|partition|rack|job|name&q=&limit= : what series can be chosen by */
export interface SeriesGroups { by: string; groups: { name: string; about: string }[]; total: number }
/** GET /api/metrics?host=&partition=&rack=&job=&name=&q=&limit= : chosen series, and the metrics they are of */
export interface SeriesList {
  series: SeriesRow[]; total: number
  names: MetricName[]; names_total: number // at most 200
  hosts: number | null; nodes: string // of the choice, where it is one of hosts: how many, folded
  target: string // what /render draws the same with; empty where no one target does
}
export interface SeriesRow { path: string; name: string; unit: string; mtype: string; tags: Record<string, string>; host: string; source: string; first_seen: string; last_seen: string | null; value: number | null }
export interface MetricName { name: string; unit: string; mtype: string; series: number; description: string; source: string; last_seen: string }

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
  tags?: string[] // of the rules that know it: "memory"
  lane: 'scheduler' | 'fabric' | 'kernel' | 'application' | 'container' | 'other'
}

/** GET /api/events/patterns?cluster=&from=&until=&host=&app=&known=&limit= : lines no rule knows by their template, the most frequent
 *  first; with known also lines that rules know, by their first rule. */
export interface Patterns { patterns: Pattern[]; lines: number; unknown: number; kinds: number; new: number; new_since: string }
export interface Pattern {
  pattern: string // a number; "0" where a rule knows the lines
  rule: string // "" where none knows them
  kind: string
  template: string // "link <*> went down"; of known lines the rule's name
  app: string; count: number; share: number; hosts: number
  first: string; last: string
  seen_since: string // heard for the first time ever
  new: boolean // within the last day
  counts: number[] // over the window
  example: string; host: string
}

/** GET /api/fabric?cluster=&at=&job=&fold=24&open=&out= ; positions computed on the server, x and y in 0..1.
 *  Where there are many, hosts of one switch and switches that are alike are one node each, and the links between two of them one link. */
export interface Fabric {
  at: string
  newest: string | null
  folded: boolean // something is
  counts: { switches: number; hosts: number; links: number; down: number; on_route: number }
  opened: { name: string; label: string }[] // groups that `open` opened: the word that did it, what they were called
  nodes: FabricNode[]
  links: MapLink[]
  changes: { time: string; sentence: string; link: string; what: 'up' | 'down' }[]
}
export interface FabricNode {
  id: string; kind: 'SW' | 'HCA'
  label: string // of a group a node set: leaf[0-17]; hosts where each has one adapter
  first: string; members: string // a device of it, which opens it; all of them, folded
  host: string | null; level: number; x: number; y: number; status: Status
  jobs: string[] // of a single host
  count: number // devices it stands for
  bad: number // of them with a link that is down
  hosts: string // folded; of adapters
  busy: number; mine: number // hosts that run a job, hosts of the job asked about
}
export interface FabricLink {
  id: string // "SW1/3--compute2/1"
  a: string; a_port: number; b: string; b_port: number
  cable: string; width: string; speed: string
  state: 'up' | 'down'
  since: string; until: string | null
  status: Status
  xmit_rate: number | null // octets per second, both directions summed
  errors: number | null // symbol errors seen in the hour before
  xmit_wait: number | null
  on_route: boolean // of the job asked about
}
/** A line of the map: one link, or all those between two nodes. */
export interface MapLink extends FabricLink { upper: string; lower: string; count: number; down: number }

/** GET /api/fabric/links?cluster=&at=&job=&of=DEVICE&within=LINE&q=&limit=200 : one by one, those in trouble first */
export interface FabricLinks { links: FabricLink[]; total: number; bad: number }

/** GET /api/fabric/part?cluster=&name=&at= : SW1, SW1/3, SW1/3--compute2/1, a cable's name, a host, or a reference to one */
export interface FabricPart {
  kind: 'switch' | 'adapter' | 'port' | 'link' | 'cable'
  name: string
  ref: string
  at: string
  ports: string[] // whose counters tell of it, its own first; none of a switch
  about: Record<string, string>
  hosts: string // of a switch, folded
  host: string | null // of an adapter
  links: FabricLink[] // those in trouble first; none when nothing is plugged
  history: { connection: string; a: string; b: string; cable: string; began: string; until: string | null }[] // the newest first
  jobs: SharingJob[] // running then, whose routes cross it
  panels: PanelSpec[]
  events: string // whose events belong to it
}
/** GET /api/fabric/findings?cluster=&at= -> { findings: Finding[] } */

/** GET /api/jump?cluster=&q= -> { hits: Hit[] } */
export interface Hit { kind: string; key: string; label: string; detail: string; url: string }

/** POST /api/graph/cypher {query or question, params, at, cluster} -> Table ; GET /api/graph/questions -> { questions: Question[] } */
export interface Table { columns: string[]; rows: unknown[][]; at: string; truncated: boolean; elapsed_ms: number }
export interface Parameter { name: string; about: string; kind: string; type: 'string' | 'int' }
export interface Question { name: string; ask: string; why: string; cypher: string; domain: string; params: Parameter[] }
/** An entity or a relation in a cell: label is its kind; "@id", "@from" and "@to" tie them within one answer. */
export interface Thing { label: string; key?: string; '@id'?: string; '@from'?: string; '@to'?: string; since?: string; until?: string }
/** GET /api/graph/schema */
export interface GraphSchema {
  entities: { name: string; about: string; key: string; domain: string; properties: string[] }[]
  relations: { name: string; about: string; source: string; target: string; domain: string; properties: string[] }[]
  of_all: string[]; filled: string[]
}
/** GET /api/graph/neighbours?cluster=&entity=Host:compute0&at= */
export interface Neighbours { entity: string; neighbours: { relation: string; direction: 'in' | 'out'; ref: string; since: string; until: string | null }[] }
/** GET /api/graph/changes?cluster=&since=&until=&kind=A,B ; learnt: recorded in that time about the time before */
export interface ChangeRow {
  time: string; what: 'began' | 'changed' | 'ended' | 'learnt'; kind: string; key: string; entity: string | null; source: string; target: string
  since: string; until: string | null; properties: Record<string, unknown>; before: Record<string, unknown>; told_by: string; recorded: string
}
export interface Difference { since: string; until: string; counts: Record<string, Partial<Record<ChangeRow['what'], number>>>; rows: ChangeRow[] }
/** GET /api/graph/blast?cluster=&entity=SW:SW1&at= */
export interface BlastJob { key: string; id: number; name: string; user: string; nodes: string }
export interface Blast { entity: string; links: string[]; lost: string[]; nodes: string; users: string[]; jobs: BlastJob[]; rerouted: BlastJob[] }

/** GET /api/live?cluster=&topics=jobs,nodes,fabric,events : one EventSource per browser.
 *  event: change  data: {topic, time, newest}   (refetch what shows that topic, at most twice a second)
 *  event: events  data: EventRow[]             (new events, newest last)
 *  comment heartbeat every 15 s */
export interface LiveChange { topic: 'jobs' | 'nodes' | 'fabric' | 'points'; time: string; newest: string | null }

// ── questions about the fabric; `at`, `time`, `since`, `until` as everywhere: -1h, epoch seconds, ISO 8601; none: now ──

/** One link of a way. by: the adapter has no other, the switch's own table, or it is on a shortest way. */
export interface Hop { port: string; peer: string; link: string; cable: string; by: 'adapter' | 'table' | 'shortest' }
export interface Route {
  a: string; b: string; source: string; target: string; lid: number | null
  by: 'tables' | 'shortest' | 'tables, then shortest' // say which: a shortest way is only a possible one
  hops: Hop[]; complete: boolean
  problem: string // "loop: SW1 → SW2 → SW1", "dead end: …"; empty when it gets there
  tables_since: string | null
}
/** A job in a window, with the hosts it had there. */
export interface JobThere { job: string; id: number | null; name: string | null; user: string | null; hosts: string[]; began: string; until: string | null }
/** links: the shared ones, those most of its routes use first (at most 50; shared counts all); pairs: of its of_pairs pairs of hosts. */
export interface SharingJob extends JobThere { links: string[]; shared: number; pairs: number; of_pairs: number; by: Route['by'] }
/** GET /api/fabric/routes?cluster=&a=&b=&at= : a, b are hosts or ports of adapters; a route for each pair of their ports. */
export interface Routes { routes: Route[]; jobs: SharingJob[] }
/** GET /api/fabric/sharing?cluster=&at=&job=  or  &link= (its name, or a port of it) */
export interface Sharing { job: JobThere | null; links: string[]; by: string; jobs: SharingJob[] }

/** GET /api/fabric/candidates?cluster=&port=&time=&before=600 : likeliest first; score = route × when, each 0..1. */
export interface Candidates {
  time: string
  about: { port: string; link: string; cable: string; up: boolean; wiring_of: string; hosts: string[]; by: Route['by']; tables_since: string | null }
  candidates: { job: JobThere; score: number; route: number; when: number; sentence: string }[]
}

/** GET /api/fabric/verdict?cluster=&port=&since=&until= : is it the port or the cable? unknown: not enough evidence. */
export interface PortVerdict {
  port: string; guilty: 'cable' | 'port' | 'unknown' | 'none'; part: string; confidence: number
  sentence: string; advice: string // what to swap next
  evidence: string[]
  suspects: { part: string; kind: 'cable' | 'port'; probability: number; bad: number; clean: number }[]
  periods: {
    connection: string; cable: string; maybe: string; a: string; b: string; began: string; until: string | null
    errors: Record<string, number>; watched: number; full: boolean; bad: boolean
  }[]
  since: string; until: string
  errors: { port: string; time: string; count: number }[] // when they were counted
}

/** GET /api/fabric/degraded?cluster=&at= : everywhere is a shortfall that most links share, told once; empty: none. */
export interface Degraded {
  links: {
    link: string; a: string; b: string; cable: string; since: string; width: string; speed: string
    could: string; usual: string; share: number; sentence: string
  }[]
  everywhere: string; known: number; of: number
}

/** POST /api/fabric/planned {plan, at, cluster}: plan is the text of ibnetdiscover or of ibsim's topology file. */
export interface Planned {
  as_planned: boolean; links: number; right: number
  missing: [string, string][]; extra: [string, string][]
  swapped: { planned: [string, string][]; found: [string, string][]; sentence: string }[]
  moved: { planned: [string, string]; found: [string, string]; sentence: string }[]
  absent: string[]; unplanned: string[]
}

/** GET /api/fabric/tables?cluster=&at= : how many switches' forwarding tables are known, and loops and dead ends in them. */
export interface ForwardingTables {
  switches: number; known: number; since: string | null
  faults: { lid: number; target: string; switch: string; problem: 'loop' | 'dead end' }[]
}

/** POST /api/load/{domain}/{capture}?cluster=&at=&host= with the raw text; GET /api/load lists what can be loaded. */
export interface Loaded {
  cluster: string; capture: string; at: string; entities: number; relations: number; tables: number; numbers: number; rejected: number
  began: number; changed: number; ended: number; tables_changed: number; events: number; first: boolean; late: boolean
  changes: { what: 'began' | 'changed' | 'ended'; kind: string; key: string }[] // at most 500
}

// ── events searched ──

/** Whose and where an event was, at its own moment. */
export interface JobOf { key: string; id: number | string; name: string; user: string; group: string; account: string; partition: string; nodes: string }
export interface Whose { host: string; switches: string[]; jobs: JobOf[] }
export interface FoundEvent extends EventRow { around: Whose }
export interface Histogram { t: number[]; width: number; count: number[]; critical: number[]; warn: number[]; fine: number[] }
export interface Facet { values: { value: string; count: number }[]; more: number; folded?: string }
/** GET /api/events/search?cluster=&q=&from=&until=&limit=&histogram=60&facets=host,app,… */
export interface Found { query: string; events: FoundEvent[]; total?: number; histogram?: Histogram; facets?: Record<string, Facet> }
/** GET /api/events/language */
export interface QueryField { name: string; about: string; example: string; sort: string }
/** GET /api/events/around?cluster=&id=&time=&minutes=2 */
export interface AroundEvent {
  event: FoundEvent; sentence: string; minutes: number; hosts: string; jobs: JobOf[]; switches: { name: string; hosts: string }[]
  failing: { switch: string; hops: number; ports: string[] } | null
  groups: { near: 'host' | 'job' | 'switch' | 'further' | 'time'; title: string; events: EventRow[] }[]
}

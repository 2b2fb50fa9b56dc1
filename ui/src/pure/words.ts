// The scheduler's words in plain ones.
import type { EventRow, Job, Status } from '../api/types'

const STATES: Record<string, string> = {
  RUNNING: 'running', PENDING: 'waiting', COMPLETING: 'completing', COMPLETED: 'completed', FAILED: 'failed', OUT_OF_MEMORY: 'out of memory',
  TIMEOUT: 'time limit', CANCELLED: 'cancelled', NODE_FAIL: 'node failed', PREEMPTED: 'preempted', SUSPENDED: 'suspended', REQUEUED: 'requeued',
  BOOT_FAIL: 'boot failed', DEADLINE: 'deadline missed', CONFIGURING: 'starting', STOPPED: 'stopped',
}
const REASONS: Record<string, string> = {
  Resources: 'waits for free nodes', Priority: 'others come first', Dependency: 'waits for another job', BeginTime: 'not to start yet', JobHeldUser: 'held by its owner',
  JobHeldAdmin: 'held by an operator', QOSMaxJobsPerUserLimit: 'its owner runs as many jobs as allowed', AssocMaxJobsLimit: 'its account runs as many jobs as allowed',
  PartitionNodeLimit: 'asks for more nodes than the partition has', ReqNodeNotAvail: 'a node it needs is not available', PartitionDown: 'the partition is down',
  Licenses: 'waits for licences', PartitionTimeLimit: 'asks for more time than the partition allows',
}

const QUIET_FLAGS = new Set(['DYNAMIC_NORM', 'DYNAMIC_FUTURE', 'CLOUD', 'POWERED_UP', 'PLANNED'])
/** A node's state with its flags in plain words: `MIXED+DYNAMIC_NORM` is mixed, `IDLE+DRAIN` idle, draining; `DOWN*` down, not responding. */
export function nodeWord(state: string): string {
  const silent = state.includes('*')
  const [base = '', ...flags] = state.replace(/[*~#!%$@^-]+$/, '').replaceAll('*', '').split('+')
  const words = [base, ...flags.filter((f) => !QUIET_FLAGS.has(f))].map((w) => (w === 'DRAIN' ? 'draining' : w.toLowerCase().replaceAll('_', ' ')))
  return [...words, ...(silent ? ['not responding'] : [])].filter(Boolean).join(', ')
}

/** What a job counts, and its rate's unit, whichever of the two it told: `it/s` counts iterations. */
export function counted(unit: string): { things: string; rate: string } {
  const one = unit.replace(/\/s$/, '').trim()
  const things = ['it', 'iter', 'iterations', ''].includes(one) ? 'iterations' : one
  return { things, rate: things === 'iterations' ? 'it/s' : `${one}/s` }
}

export const stateWord = (state: string): string => STATES[state.split(' ')[0] ?? ''] ?? state.toLowerCase().replaceAll('_', ' ')

export function reasonWords(reason: string): string {
  const key = reason.replace(/[()]/g, '').split(',')[0]?.trim() ?? ''
  if (!key || key === 'None') return ''
  return REASONS[key] ?? key
}

export type Phase = 'running' | 'pending' | 'finished'
const WAITING = new Set(['PENDING', 'REQUEUED', 'RESV_DEL_HOLD', 'SPECIAL_EXIT', 'REQUEUE_HOLD'])
const ACTIVE = new Set(['RUNNING', 'COMPLETING', 'CONFIGURING', 'SUSPENDED', 'STOPPED', 'RESIZING'])
export function phase(job: Pick<Job, 'state'>): Phase {
  const word = job.state.split(' ')[0] ?? ''
  return WAITING.has(word) ? 'pending' : ACTIVE.has(word) ? 'running' : 'finished'
}

/** How a job ended, or why it waits, in a few words for a row. */
export function outcome(job: Job): string {
  if (phase(job) === 'pending') return reasonWords(job.reason) || 'waiting'
  if (phase(job) === 'running') return reasonWords(job.reason)
  const word = stateWord(job.state)
  if (job.state.startsWith('FAILED') && job.exit_code) return `failed, exit ${job.exit_code}`
  if (job.state.startsWith('FAILED') && job.signal) return `failed, signal ${job.signal}`
  return word
}

export const SEVERITIES: EventRow['severity'][] = ['emerg', 'alert', 'crit', 'err', 'warning', 'notice', 'info', 'debug']
/** Status of a log line: its severity, except that a link coming up is good news. */
export function severityStatus(severity: EventRow['severity']): Status {
  const rank = SEVERITIES.indexOf(severity)
  return rank <= 3 ? 'critical' : rank === 4 ? 'warn' : rank === 7 ? 'unknown' : 'fine'
}

const KIND_WORDS: Record<string, string> = {
  'access.login': 'login', 'access.refused': 'login refused', 'access.session': 'session', 'app.crash': 'crashed', 'app.error': 'error', 'job.limit': 'over a limit', 'job.refused': 'refused',
  'kernel.boot': 'started', 'kernel.edac': 'memory error', 'kernel.link_up': 'network link up', 'kernel.lockup': 'CPU stuck', 'kernel.oops': 'kernel defect', 'kernel.xid': 'GPU error', 'service.failed': 'service failed',
  'storage.damaged': 'file system damaged', 'storage.disk': 'disk error', 'storage.full': 'no space left', 'storage.lost': 'file system lost', 'storage.restored': 'file system back',
  'fabric.discovered': 'device appeared', 'fabric.removed': 'device gone', 'fabric.sm': 'subnet manager', 'fabric.sweep': 'fabric swept', 'fabric.sweep_failed': 'sweep failed',
  'fabric.trap': 'fabric notice', 'job.allocate': 'nodes allocated', 'job.cancel': 'cancelled', 'job.end': 'ended', 'job.exit': 'exited', 'job.failed': 'failed', 'job.oom': 'out of memory', 'job.progress': 'progress',
  'job.requeue': 'requeued', 'job.start': 'started', 'job.step': 'step', 'job.submit': 'submitted', 'job.timeout': 'time limit reached', 'kernel.hung': 'task hung', 'kernel.link': 'network link',
  'kernel.mce': 'hardware error', 'kernel.oom': 'out of memory, process killed', 'kernel.readonly': 'file system read-only', 'link.down': 'link down', 'link.up': 'link up', 'node.answer': 'node answers',
  'node.down': 'node down', 'node.set': 'node set', 'node.silent': 'node silent', 'node.up': 'node up', 'slurm.start': 'daemon started',
}
export const kindWord = (kind: string): string => KIND_WORDS[kind] ?? kind.replace('.', ': ').replaceAll('_', ' ')

export const LANES: EventRow['lane'][] = ['scheduler', 'fabric', 'kernel', 'application', 'container', 'other']

/** The lane of an event. What a job's own script says belongs to the application, whoever carried it. */
export const laneOf = (e: EventRow): EventRow['lane'] => (/^slurm_\d+$/.test(e.app) ? 'application' : e.lane)

/** Events whose moment is worth a line through every chart. */
export const notable = (e: EventRow): boolean => /^(link|node)\.(down|up|silent)$|oom|^job\.(start|allocate|end|timeout|failed)$/.test(e.kind) || SEVERITIES.indexOf(e.severity) <= 3

/** What somebody logged, as text that does nothing: control characters, and marks that turn the direction of text, are written out as \x1b or \u202e.
 *  Lines and tabs stay where there is room for them. */
export function visible(text: string, oneLine = false): string {
  const seen = text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`)
    .replace(/[\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, (c) => `\\u${c.charCodeAt(0).toString(16)}`)
  return oneLine ? seen.replace(/\s*\n\s*/g, ' ⏎ ') : seen
}

// Who sends events, as rows for people: what is wrong with each, the worst first; what is sent on; what waits in the spool.
import type { Health, MirrorTarget, PointSender, SenderRow, Status } from '../api/types'
import { age, epoch, quantity } from './format'

/** A sender's row, or (`all` its hosts) what can be said of the sender only. */
export interface Source extends SenderRow { key: string; status: Status; troubles: string[]; all: number }

const AHEAD = 1
const BEHIND = 10 // shippers gather lines for some seconds before they send them
const LATE = 60 // seconds
const NEARLY = 0.8 // of the series a cluster may have

const count = (n: number): string => n.toLocaleString('en')
const plural = (n: number, one: string, many = `${one}s`): string => `${count(n)} ${n === 1 ? one : many}`

const EDGES: Record<string, string> = { syslog: 'syslog', json: 'JSON', gelf: 'GELF', carbon: 'Carbon', elasticsearch: 'Elasticsearch', loki: 'Loki', otlp: 'OTLP', pickle: 'Carbon pickle', statsd: 'statsd', influx: 'InfluxDB', prometheus: 'Prometheus', perfdata: 'Performance data' }
/** `syslog/udp` → `syslog, UDP`; one that is not known is called as the server calls it. */
export function listenerWords(listener: string): string {
  const [edge = '', way = ''] = listener.split('/')
  return EDGES[edge] && way ? `${EDGES[edge]}, ${way.toUpperCase()}` : listener
}

/** By how much a clock is off, empty within a second. */
export const skewWords = (seconds: number): string => (Math.abs(seconds) <= 1 ? '' : `${age(Math.abs(seconds))} ${seconds > 0 ? 'ahead' : 'behind'}`)

function judged(row: SenderRow, key: string, all: number): Source {
  const troubles = [
    row.dropped && `${plural(row.dropped, 'datagram')} dropped, as it sent too much at once`,
    row.rejects && `${plural(row.rejects, 'line')} rejected`,
    row.wrong_clock && `${plural(row.wrong_clock, 'event')} with a time that no clock can have; the arrival stands in for it`,
    (row.skew > AHEAD || row.skew < -BEHIND) && `its clock is ${skewWords(row.skew)}${row.skew < 0 ? ', or its lines are long under way' : ''}`,
  ].filter((t): t is string => typeof t === 'string')
  const status: Status = row.dropped ? 'critical' : troubles.length ? 'warn' : row.sent_by ? 'unknown' : 'fine'
  if (row.sent_by) troubles.push(`${plural(row.sent_by, 'event')} came from the address of another host: a relay, or somebody who says to be this one`)
  return { ...row, key, status, troubles, all }
}

/**
 * Rejects and drops are known by sender, and the API repeats them on each of its rows. Here each stands once: on the first row of a
 * sender that speaks for one host, else (a relay) on a row of its own.
 */
export function sources(rows: SenderRow[]): Source[] {
  const hosts = new Map<string, Set<string>>()
  for (const row of rows) hosts.set(row.sender, (hosts.get(row.sender) ?? new Set()).add(row.host))
  const told = new Set<string>()
  return rows.flatMap((row) => {
    const key = `${row.sender}\n${row.host}\n${row.listener}`
    const first = !told.has(row.sender)
    told.add(row.sender)
    const own = { ...row, rejects: 0, dropped: 0 }
    const many = hosts.get(row.sender)?.size ?? 1
    if (many === 1 || !(row.rejects || row.dropped)) return [judged(first ? row : own, key, 0)]
    const whole = { ...own, host: '', listener: '', events: 0, last: null, skew: 0, wrong_clock: 0, sent_by: 0, rejects: row.rejects, dropped: row.dropped }
    return [...(first ? [judged(whole, `${row.sender}\n*`, many)] : []), judged(own, key, 0)]
  })
}

/** The query for what a row sent. A name that would be read as a set of nodes, or as several, is asked for by its plain parts. */
export function eventsOf(row: SenderRow): string {
  const plain = row.host.replace(/[^\p{L}\p{N}_.:-]+/gu, '*')
  return `host:${plain}${plain === row.host ? '' : ` sender:${row.sender}`}`
}

const RANK: Record<Status, number> = { critical: 0, warn: 1, unknown: 2, fine: 3 }
const names = (a: Source, b: Source): number => a.host.localeCompare(b.host, 'en', { numeric: true }) || a.sender.localeCompare(b.sender, 'en', { numeric: true }) || a.listener.localeCompare(b.listener)
const heard = (row: Source): number => (row.last ? epoch(row.last) : Number.MAX_VALUE)
const ORDERS: Record<string, (a: Source, b: Source) => number> = {
  trouble: (a, b) => RANK[a.status] - RANK[b.status] || b.dropped + b.rejects - a.dropped - a.rejects || names(a, b),
  host: names,
  events: (a, b) => b.events - a.events || names(a, b),
  'last heard': (a, b) => heard(a) - heard(b) || names(a, b),
  clock: (a, b) => Math.abs(b.skew) - Math.abs(a.skew) || names(a, b),
}
export const SORTS = Object.keys(ORDERS)
export const ordered = (rows: Source[], by: string): Source[] => [...rows].sort(ORDERS[by] ?? ORDERS.trouble)

/** "12 hosts sent 3,456 events from 2 addresses; 3 need a look." */
export function summary(rows: Source[]): string {
  const hosts = new Set(rows.map((r) => r.host).filter(Boolean)).size
  const senders = new Set(rows.map((r) => r.sender)).size
  const events = rows.reduce((sum, r) => sum + r.events, 0)
  const wrong = rows.filter((r) => r.status === 'critical' || r.status === 'warn').length
  const said = hosts ? `${plural(hosts, 'host')} sent ${plural(events, 'event')} from ${plural(senders, 'address', 'addresses')}` : `No event was taken from ${plural(senders, 'address', 'addresses')}`
  return `${said}${wrong ? `; ${wrong === 1 ? 'one needs' : `${count(wrong)} need`} a look` : ''}.`
}

/** "5,600,000 points from 3 senders, counted in whole five minutes." */
export function pointsSummary(rows: PointSender[]): string {
  const senders = new Set(rows.map((r) => r.sender)).size
  return `${plural(rows.reduce((sum, r) => sum + r.points, 0), 'point')} from ${plural(senders, 'sender')}, counted in whole five minutes.`
}

/** How it stands with one target of the mirror: a status, and a sentence. */
export function mirrorWords(target: MirrorTarget): { status: Status; text: string } {
  const status: Status = target.trouble ? 'critical' : target.lag > LATE || target.refused || target.dropped || target.not_written ? 'warn' : 'fine'
  return {
    status,
    text: [
      `${count(target.sent)} sent`, target.waiting ? `${plural(target.waiting, 'file')} waiting, ${age(target.lag)} behind` : 'nothing waiting',
      target.refused && `${count(target.refused)} refused by it`, target.dropped && `${count(target.dropped)} dropped, as too much waited`,
      target.not_written && `${plural(target.not_written, 'file')} could not be kept for it`,
    ].filter(Boolean).join(' · '),
  }
}

/** How many series the cluster has of those it may have, and what was refused; null where it has none. */
export function seriesWords(health: Health, cluster: string): { status: Status; text: string } | null {
  const told = health.series?.find((s) => s.cluster === cluster)
  if (!told) return null
  const part = told.count / told.most
  const refused = told.refused ? ` ${plural(told.refused, 'point')} of new series ${told.refused === 1 ? 'was' : 'were'} refused since the server started: the rejects say whose.` : ''
  return { status: part >= 1 ? 'critical' : part > NEARLY || refused ? 'warn' : 'fine', text: `${told.count.toLocaleString('en')} series of at most ${told.most.toLocaleString('en')}.${refused}` }
}

/** What waits between arrival and storage. */
export function spoolWords(health: Health): { status: Status; text: string } {
  const spool = health.spool
  if (!spool) return { status: 'unknown', text: 'Not told.' }
  const waits = spool.files ? `${plural(spool.files, 'file')} (${quantity(spool.bytes, 'bytes')}) ${spool.files === 1 ? 'waits' : 'wait'} to be stored, ${spool.files === 1 ? '' : 'the oldest '}for ${age(Math.max(1, spool.oldest_age))}.` : 'Nothing waits: what comes in is stored at once.'
  const lost = spool.dropped ? ` ${plural(spool.dropped, 'datagram')} ${spool.dropped === 1 ? 'was' : 'were'} dropped since the server started, as the spool was full.` : ''
  return { status: health.status === 'degraded' ? 'critical' : spool.oldest_age > LATE || lost ? 'warn' : 'fine', text: waits + lost }
}

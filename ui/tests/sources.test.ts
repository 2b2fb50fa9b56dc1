import { describe, expect, test } from 'vitest'
import type { Health, MirrorTarget, SenderRow } from '../src/api/types'
import { eventsOf, listenerWords, mirrorWords, ordered, pointsSummary, seriesWords, skewWords, sources, spoolWords, summary } from '../src/pure/sources'

const row = (host: string, more: Partial<SenderRow> = {}): SenderRow => ({ sender: '10.0.0.1', host, listener: 'syslog/udp', events: 10, last: '2026-11-20T12:00:00Z', skew: 0, wrong_clock: 0, sent_by: 0, rejects: 0, dropped: 0, ...more })
const target = (more: Partial<MirrorTarget> = {}): MirrorTarget => ({ what: 'events', to: 'syslog://siem:514', sent: 0, refused: 0, dropped: 0, waiting: 0, lag: 0, not_written: 0, trouble: '', ...more })
const health = (more: Partial<Health> = {}): Health => ({ status: 'ok', version: '', time: '', spool: { files: 0, bytes: 0, oldest_age: 0, dropped: 0 }, ...more })

describe('senders', () => {
  test.each([['syslog/udp', 'syslog, UDP'], ['json/tcp', 'JSON, TCP'], ['otlp/http', 'OTLP, HTTP'], ['perfdata/http', 'Performance data, HTTP'], ['qnib', 'qnib'], ['new/way', 'new/way'], ['', '']])('%s is %s', (listener, words) => expect(listenerWords(listener)).toBe(words))
  test.each([[0.9, ''], [-1, ''], [47.1, '47 s ahead'], [-600, '10 min behind'], [200_000, '2 d ahead']])('a clock off by %d s', (s, words) => expect(skewWords(s)).toBe(words))

  test.each([['c1.site.org', 'host:c1.site.org'], ['fd00::1', 'host:fd00::1'], ['zürich-1', 'host:zürich-1'], ['a[0-3],b', 'host:a*0-3*b sender:10.0.0.1'], ['<b>x\u001b"', 'host:*b*x* sender:10.0.0.1']])('%s is asked for as %s', (host, query) => expect(eventsOf(row(host))).toBe(query))

  test('what is wrong is marked, and a shipper that gathers lines is not', () => {
    const told = (more: Partial<SenderRow>) => sources([row('c1', more)])[0]
    expect(told({})).toMatchObject({ status: 'fine', troubles: [] })
    expect(told({ skew: -4 })).toMatchObject({ status: 'fine', troubles: [] })
    expect(told({ skew: 4 })).toMatchObject({ status: 'warn', troubles: ['its clock is 4 s ahead'] })
    expect(told({ skew: -40 })?.troubles).toEqual(['its clock is 40 s behind, or its lines are long under way'])
    expect(told({ wrong_clock: 1 })?.status).toBe('warn')
    expect(told({ rejects: 1200 })).toMatchObject({ status: 'warn', troubles: ['1,200 lines rejected'] })
    expect(told({ dropped: 2, rejects: 1 })?.status).toBe('critical')
    expect(told({ sent_by: 1 })?.status).toBe('unknown')
  })

  test('what is known by sender stands once', () => {
    const two = sources([row('c1', { rejects: 3 }), row('c1', { rejects: 3, listener: 'syslog/tcp' })])
    expect(two.map((r) => r.rejects)).toEqual([3, 0])
    const relay = sources([row('c1', { rejects: 3 }), row('c2', { rejects: 3 }), row('c9', { sender: '10.0.0.9' })])
    expect(relay.map((r) => [r.host, r.all, r.rejects])).toEqual([['', 2, 3], ['c1', 0, 0], ['c2', 0, 0], ['c9', 0, 0]])
    expect(new Set(relay.map((r) => r.key)).size).toBe(4)
    expect(sources([row('c1'), row('c2')]).length).toBe(2)
  })

  test('troubles come first, else by name in order of its number', () => {
    const rows = sources([row('c10'), row('c2'), row('clock', { sender: 'b', skew: 60 }), row('flood', { sender: 'c', dropped: 9 }), row('named', { sender: 'd', sent_by: 1 })])
    expect(ordered(rows, 'trouble').map((r) => r.host)).toEqual(['flood', 'clock', 'named', 'c2', 'c10'])
    expect(ordered(rows, 'host').map((r) => r.host)[0]).toBe('c2')
    expect(ordered(rows, 'nonsense')).toEqual(ordered(rows, 'trouble'))
    expect(ordered(sources([row('late'), row('never', { last: null }), row('early', { last: '2026-11-20T11:00:00Z' })]), 'last heard').map((r) => r.host)).toEqual(['early', 'late', 'never'])
  })

  test('the sentence above them', () => {
    expect(summary(sources([row('c1', { events: 1200 }), row('c2', { sender: '10.0.0.2', skew: 5 })]))).toBe('2 hosts sent 1,210 events from 2 addresses; one needs a look.')
    expect(summary(sources([row('', { events: 0, last: null, rejects: 2 })]))).toBe('No event was taken from 1 address; one needs a look.')
  })
})

describe('onward', () => {
  test('a target of the mirror', () => {
    expect(mirrorWords(target({ sent: 1234 }))).toEqual({ status: 'fine', text: '1,234 sent · nothing waiting' })
    expect(mirrorWords(target({ waiting: 3, lag: 90.4, refused: 1 }))).toEqual({ status: 'warn', text: '0 sent · 3 files waiting, 90 s behind · 1 refused by it' })
    expect(mirrorWords(target({ trouble: 'OSError: away' })).status).toBe('critical')
  })
  test('the spool', () => {
    expect(spoolWords(health())).toEqual({ status: 'fine', text: 'Nothing waits: what comes in is stored at once.' })
    expect(spoolWords(health({ spool: { files: 1, bytes: 2048, oldest_age: 0.2 } })).text).toBe('1 file (2 KiB) waits to be stored, for 1 s.')
    expect(spoolWords(health({ spool: { files: 3, bytes: 2048, oldest_age: 90, dropped: 2 } }))).toEqual({ status: 'warn', text: '3 files (2 KiB) wait to be stored, the oldest for 90 s. 2 datagrams were dropped since the server started, as the spool was full.' })
    expect(spoolWords(health({ status: 'degraded' })).status).toBe('critical')
    const told = (count: number, refused = 0) => seriesWords(health({ series: [{ cluster: 'lab', count, most: 10_000, refused }] }), 'lab')
    expect(told(1200)).toEqual({ status: 'fine', text: '1,200 series of at most 10,000.' })
    expect(told(9000)?.status).toBe('warn')
    expect(told(10_000)?.status).toBe('critical')
    expect(told(12, 1)).toEqual({ status: 'warn', text: '12 series of at most 10,000. 1 point of new series was refused since the server started: the rejects say whose.' })
    expect(seriesWords(health(), 'lab')).toBeNull()
  })
})

test('who sends points', () => {
  const row = (sender: string, points: number) => ({ host: '', sender, listener: 'carbon/tcp', points, last: '2026-11-20T12:00:00Z' })
  expect(pointsSummary([row('a', 1000), { ...row('a', 1), listener: 'statsd/udp' }, row('b', 234)])).toBe('1,235 points from 2 senders, counted in whole five minutes.')
  expect(pointsSummary([row('a', 1)])).toBe('1 point from 1 sender, counted in whole five minutes.')
})

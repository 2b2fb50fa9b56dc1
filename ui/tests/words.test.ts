import { describe, expect, test } from 'vitest'
import type { EventRow } from '../src/api/types'
import { extent, marks, nearest } from '../src/pure/bins'
import { cableName, fold, plainCables, target, unfold } from '../src/pure/entity'
import { age, digits, duration, moment, quantity, tick, unitWords } from '../src/pure/format'
import { counted, laneOf, nodeWord, notable, outcome, phase, reasonWords, visible } from '../src/pure/words'

describe('numbers for people', () => {
  test.each([[0, '0'], [187.34, '187'], [45.123, '45.1'], [4.5, '4.5'], [0.0451, '0.045'], [NaN, '–']])('%f', (n, text) => expect(digits(n)).toBe(text))
  test.each([[1.34e9, 'bytes', '1.25 GiB'], [118e6, 'bytes/s', '118 MB/s'], [118e6, 'B/s', '118 MB/s'], [187.2, '%', '187 %'], [1.9, 'it/s', '1.9 it/s'], [null, '%', '–'], [52_000, 'ticks/s', '52 k ticks/s']] as const)('%s %s', (n, unit, text) => expect(quantity(n, unit)).toBe(text))
  test('ticks', () => { expect(tick(536_870_912, 'bytes')).toBe('512 MiB'); expect(tick(5e7, 'B/s')).toBe('50 MB/s'); expect(tick(150, 'percent')).toBe('150%'); expect(tick(12_000, 'it/s')).toBe('12k it/s'); expect(tick(3, 'packets/s and more')).toBe('3'); expect(tick(0, 'B/s')).toBe('0') })
  test('units that go on in words', () => { expect(unitWords('B/s on the busiest port')).toEqual(['B/s', 'on the busiest port']); expect(unitWords('nodes above 95 %')).toEqual(['', 'nodes above 95 %']); expect(unitWords('MB/s')).toEqual(['MB/s', '']) })
  test.each([[41, '41 s'], [760, '12:40'], [10_930, '3:02:10'], [200_000, '2 d 7 h']])('%d s', (s, text) => expect(duration(s)).toBe(text))
  test.each([[0.2, 'now'], [4, '4 s'], [720, '12 min'], [10_800, '3 h'], [200_000, '2 d'], [63_000_000, '729 d'], [312_000_000, '10 y']])('%d s ago', (s, text) => expect(age(s)).toBe(text))
  test('a moment tells the day of another day, and the year of another year', () => {
    const [then, now] = [new Date(2026, 10, 27, 14, 3).getTime() / 1000, new Date(2026, 10, 27, 20).getTime() / 1000]
    expect(moment(then, now)).toBe('14:03')
    expect(moment(then, now + 86_400)).toBe('27 Nov 14:03')
    expect(moment(then, now + 60 * 86_400)).toBe('27 Nov 2026 14:03')
  })
})

describe('entities', () => {
  test('references lead to pages', () => {
    expect(target('Job:42@1763632800')).toMatchObject({ label: '42', path: '/job/42%401763632800' })
    expect(target('PORT:SW1/3').path).toBe('/fabric?show=SW1%2F3')
    expect(target('Partition:all').path).toBeNull()
  })
  test('node sets unfold', () => {
    expect(unfold('compute[0-2,7],login1')).toEqual(['compute0', 'compute1', 'compute2', 'compute7', 'login1'])
    expect(unfold('n[08-10]')).toEqual(['n08', 'n09', 'n10'])
    expect(unfold('')).toEqual([])
    expect(unfold('n[0-99999]').length).toBe(512)
  })
  test('node sets with more than one number unfold, too', () => {
    expect(unfold('r[1-2]n[09-10]')).toEqual(['r1n09', 'r1n10', 'r2n09', 'r2n10'])
    expect(unfold('leaf[0-1].[0-1],x').length).toBe(5)
  })
  test('names fold as ClusterShell folds them', () => {
    expect(fold(['compute2', 'compute0', 'compute1', 'compute7', 'login'])).toBe('compute[0-2,7],login')
    expect(fold(['n05', 'n10', 'n06'])).toBe('n[05-06,10]')
    expect(fold(['a1-ib'])).toBe('a1-ib')
    expect(fold([])).toBe('')
    const names = unfold('c[0-40,77-300]')
    expect(fold([...names].reverse())).toBe('c[0-40,77-300]')
  })
  test('sentences call unmarked cables by where they were first seen', () => {
    expect(plainCables('It is the cable (97%): the errors follow cable leaf1/4--n05/1@60.', String)).toBe('It is the cable (97%): the errors follow the unmarked cable first seen at leaf1/4 – n05/1 (60).')
    expect(plainCables('the errors follow cable MT123.', String)).toBe('the errors follow cable MT123.')
  })
  test('unmarked cables', () => { expect(cableName('cable SW1/3--compute2/1@60', String)).toBe('unmarked, seen since 60'); expect(cableName('MT1', String)).toBe('MT1') })
})

describe('the scheduler in plain words', () => {
  const job = { state: 'PENDING', reason: '(Resources)', exit_code: null, signal: null } as never
  test('reasons', () => { expect(reasonWords('(Priority)')).toBe('others come first'); expect(reasonWords('None')).toBe(''); expect(reasonWords('SomethingNew')).toBe('SomethingNew') })
  test('phases', () => { expect(phase({ state: 'CANCELLED by 1001' })).toBe('finished'); expect(phase({ state: 'COMPLETING' })).toBe('running') })
  test.each([['MIXED+DYNAMIC_NORM', 'mixed'], ['IDLE+DRAIN', 'idle, draining'], ['DOWN*', 'down, not responding'], ['DOWN*+DRAIN', 'down, draining, not responding'], ['ALLOCATED', 'allocated']])('%s', (state, words) => expect(nodeWord(state)).toBe(words))
  test('what a job counts', () => { expect(counted('it/s')).toEqual({ things: 'iterations', rate: 'it/s' }); expect(counted('frames')).toEqual({ things: 'frames', rate: 'frames/s' }) })
  test('a job’s own words are the application’s', () => { expect(laneOf({ app: 'slurm_42', lane: 'scheduler' } as EventRow)).toBe('application'); expect(laneOf({ app: 'slurmctld', lane: 'scheduler' } as EventRow)).toBe('scheduler') })
  test('outcomes', () => {
    expect(outcome(job)).toBe('waits for free nodes')
    expect(outcome({ ...(job as object), state: 'FAILED', exit_code: 3 } as never)).toBe('failed, exit 3')
  })
})

const event = (second: number, severity: EventRow['severity'], kind = ''): EventRow =>
  ({ id: `${second}${severity}`, time: new Date(second * 1000).toISOString(), received: '', host: '', app: '', severity, kind, message: '', hint: '', entities: [], fields: {}, lane: 'scheduler' })

describe('marks', () => {
  test('close events share a mark that shows the worst', () => {
    const found = marks([event(10, 'info'), event(11, 'err'), event(60, 'info')], { from: 0, until: 100 }, 100)
    expect(found.map((m) => [m.events.length, m.worst.severity])).toEqual([[2, 'err'], [1, 'info']])
  })
  test('events outside are left out', () => expect(marks([event(500, 'info')], { from: 0, until: 100 }, 100)).toEqual([]))
  test('notable', () => { expect(notable(event(1, 'info', 'link.up'))).toBe(true); expect(notable(event(1, 'info', 'job.progress'))).toBe(false); expect(notable(event(1, 'crit'))).toBe(true) })
  test('nearest and extent', () => {
    expect([0, 4, 6, 99].map((t) => nearest([0, 10, 20], t))).toEqual([0, 0, 1, 2])
    expect(nearest([], 3)).toBe(-1)
    expect(extent([null, 3, 1, null])).toEqual({ min: 1, max: 3, last: 1 })
    expect(extent([null])).toBeNull()
  })
})

describe('what was logged is text', () => {
  test.each([
    ['\u001b[31mred\u001b[0m', '\\x1b[31mred\\x1b[0m'], ['a\u0000b\u0007\u007f\u009b', 'a\\x00b\\x07\\x7f\\x9b'], ['<img src=x onerror=alert(1)>', '<img src=x onerror=alert(1)>'],
    ['user\u202egnp.exe', 'user\\u202egnp.exe'], ['tab\tand\nline', 'tab\tand\nline'], ['Ünïcödé 漢字', 'Ünïcödé 漢字'],
  ])('%j', (said, seen) => expect(visible(said)).toBe(seen))
  test('in one line', () => expect(visible('oops\n  trace\r\n end', true)).toBe('oops ⏎ trace\\x0d ⏎ end'))
})

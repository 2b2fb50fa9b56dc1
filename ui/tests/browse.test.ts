import { describe, expect, test } from 'vitest'
import { asked, choiceOf, command, setOf, tagsOf, title, type Choice } from '../src/pure/browse'
import { quoted } from '../src/pure/command'

const of = (text: string): Choice => choiceOf(new URLSearchParams(text))
const WINDOW = { from: '-1h', until: 'now' }

describe('a choice of series', () => {
  test('is the address', () => {
    expect(of('')).toEqual({ by: 'host', of: '', name: '' })
    expect(of('by=rack&of=r1&name=cpu.used')).toEqual({ by: 'rack', of: 'r1', name: 'cpu.used' })
    expect(of('by=name&of=cpu.used')).toEqual({ by: 'name', of: 'cpu.used', name: 'cpu.used' })
    expect(of('by=planet&of=x').by).toBe('host')
  })

  test('is what the API is asked', () => {
    expect(asked(of('by=partition&of=debug&name=cpu.used'))).toEqual({ partition: 'debug', name: 'cpu.used' })
    expect(asked(of('by=name&of=cpu.used'))).toEqual({ name: 'cpu.used' })
    expect(asked(of('by=job'))).toEqual({})
  })

  test.each([
    ['by=partition&of=debug&name=cpu.used', 'qnib metrics show cpu.used --partition debug --from -1h'],
    ['by=host&of=c%5B0-3%5D', "qnib metrics list --host 'c[0-3]' --from -1h"],
    ['by=name&of=cpu.used', 'qnib metrics show cpu.used --from -1h'],
    ['', 'qnib metrics list --from -1h'],
  ])('%s is %s', (text, words) => expect(quoted(command(of(text), WINDOW))).toBe(words))
  test('an end that is not now is told', () => expect(command(of(''), { from: '2026-11-20T10:00:00Z', until: '2026-11-20T11:00:00Z' })).toContain('--until'))

  test.each([['', 'Metrics of the cluster'], ['by=job&of=42', 'Metrics of job 42'], ['by=job&of=42&name=job.cpu', 'job.cpu of job 42'], ['by=name&of=cpu.used', 'cpu.used']])('%s is called %s', (text, words) => expect(title(of(text))).toBe(words))
  test.each([['c1', '*c1*'], ['c[0-3]', 'c[0-3]'], ['c1*', 'c1*'], ['c1,c2', 'c1,c2']])('%s means %s', (text, set) => expect(setOf(text)).toBe(set))

  test('a series is called by its host and what else tells it apart', () => {
    expect(tagsOf({ interface: 'eth0', host: 'c1' }, 'x')).toBe('c1 · interface eth0')
    expect(tagsOf({}, 'some.path')).toBe('some.path')
  })
})

import { describe, expect, it } from 'vitest'
import { chosenPattern, has, patternsFollow, pieces, place, toggled, withPattern, written } from '../src/pure/query'

describe('the text of a query', () => {
  it('keeps quotes and brackets together', () => {
    const text = 'host:c[0-3, 7] "out of \\" memory" (a OR -b)'
    expect(pieces(text).map((p) => text.slice(p.from, p.to))).toEqual(['host:c[0-3, 7]', '"out of \\" memory"', 'a', 'OR', '-b'])
  })
  it('ends with what is not finished', () => {
    for (const text of ['"abc', 'host:c[0-', '"a\\', '-', '']) expect(() => pieces(text)).not.toThrow()
  })
  it('knows what stands at the cursor', () => {
    expect(place('sess', 4)).toEqual({ from: 0, to: 4, field: null, typed: 'sess' })
    expect(place('a -ho', 5)).toEqual({ from: 3, to: 5, field: null, typed: 'ho' })
    expect(place('a app:slu b', 9)).toEqual({ from: 6, to: 9, field: 'app', typed: 'slu' })
    expect(place('app:a,sl', 8)).toEqual({ from: 6, to: 8, field: 'app', typed: 'sl' })
    expect(place('severity>=w', 11)).toEqual({ from: 10, to: 11, field: 'severity', typed: 'w' })
    expect(place('a ', 2)).toEqual({ from: 2, to: 2, field: null, typed: '' })
  })
  it('puts terms in and takes them out', () => {
    expect(toggled('oom', 'app', 'kernel')).toBe('oom app:kernel')
    expect(toggled('oom app:kernel', 'app', 'kernel')).toBe('oom')
    expect(toggled('oom app:kernel', 'app', 'kernel', true)).toBe('oom -app:kernel')
    expect(toggled('a OR b', 'host', 'c[0-3]')).toBe('(a OR b) host:c[0-3]')
    expect(toggled('', 'app', 'my app')).toBe('app:"my app"')
    expect(has('x app:"my app"', 'app', 'my app')).toBe(true)
    expect(written('a"b')).toBe('"a\\"b"')
  })
  it('asks for one pattern at a time', () => {
    expect(withPattern('host:a', ['pattern', '77'])).toBe('host:a pattern:77')
    expect(withPattern('host:a pattern:77 oom', ['rule', 'oom_kill'])).toBe('host:a oom rule:oom_kill')
    expect(withPattern('pattern:77', null)).toBe('')
    expect(chosenPattern('host:a rule:oom_kill')).toBe('rule oom_kill')
    expect(chosenPattern('a pattern:77')).toBe('77')
    expect(patternsFollow('host:a pattern:77')).toBe(true)
    expect(patternsFollow('')).toBe(true)
    expect(patternsFollow('host:a oom')).toBe(false)
  })
})

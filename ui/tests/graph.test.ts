import { describe, expect, test } from 'vitest'
import { csv, drawing, reference, told, wanted } from '../src/pure/graph'

const job = { label: 'Job', '@id': '1.0', key: '42@1763632800', name: 'gemm' }
const host = { label: 'Host', '@id': '2.0', key: 'compute0' }
const tie = { label: 'JOBCLIENT', '@from': '1.0', '@to': '2.0', since: 'a' }

describe('drawing', () => {
  test('entities once, relations between what is there', () => {
    expect(drawing([[job, tie, host], [job, { ...tie, '@to': '9.9' }, host], ['text', 3]])).toEqual({
      dots: [{ id: '1.0', kind: 'Job', key: '42@1763632800' }, { id: '2.0', kind: 'Host', key: 'compute0' }],
      ties: [{ from: '1.0', to: '2.0', kind: 'JOBCLIENT', ended: false }], left: 0,
    })
  })
  test('paths, and more than can be drawn', () => {
    expect(drawing([[{ nodes: [job, host], relations: [tie] }]]).ties).toHaveLength(1)
    expect(drawing([[job], [host]], 1)).toMatchObject({ dots: [{ kind: 'Job' }], left: 1 })
  })
})

describe('cells', () => {
  test('references', () => { expect(reference(host)).toBe('Host:compute0'); expect(reference(tie)).toBeNull(); expect(reference('Host:x')).toBeNull(); expect(reference(null)).toBeNull() })
  test.each([[null, '–'], [1.23456, '1.235'], [true, 'true'], [['a', 1], 'a, 1'], [host, 'compute0'], [tie, 'JOBCLIENT since a'], [{ nodes: [job, host], relations: [tie] }, '42@1763632800 → compute0']])('%j', (cell, text) => expect(told(cell)).toBe(text))
  test('csv', () => expect(csv(['a', 'b'], [['x,"y"', null]])).toBe('a,b\n"x,""y""",\n'))
})

describe('completion', () => {
  test.each([
    ['MATCH (j:Jo', { what: 'entity', text: 'Jo' }], ['MATCH (j:Job)-[c:', { what: 'relation', text: '' }], ['MATCH (a)-[:LINK|HAS', { what: 'relation', text: 'HAS' }],
    ['WHERE h.key = $ho', { what: 'parameter', text: 'ho' }], ['MATCH (j:Job) RETURN j.na', { what: 'property', text: 'na', kind: 'Job' }], ['RETURN x.', { what: 'property', text: '' }],
  ])('%s', (before, found) => expect(wanted(before)).toMatchObject(found))
  test('nothing to complete', () => expect(wanted('MATCH (j')).toBeNull())
})

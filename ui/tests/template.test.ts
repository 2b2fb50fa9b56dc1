import { expect, test } from 'vitest'
import { pieces } from '../src/pure/template'

test('a template falls into words and gaps, and nothing is lost', () => {
  const template = '<*> of <*> went down'
  expect(pieces(template).map((p) => p.gap)).toEqual([true, false, true, false])
  expect(pieces(template).map((p) => p.text).join('')).toBe(template)
  expect(pieces('no gap')).toEqual([{ gap: false, text: 'no gap' }])
  expect(pieces('')).toEqual([])
})

// The text of an event query as it is being written: its pieces, what may stand at the cursor, terms put in and taken out.

/** Text at the cursor that a completion replaces: a word, or what follows a field's colon. */
export interface Place { from: number; to: number; field: string | null; typed: string }

const blank = (c: string | undefined): boolean => c === undefined || /[\s()]/.test(c)

/** Pieces of a query: where each begins and ends; quotes and brackets hold blanks together. */
export function pieces(text: string): { from: number; to: number }[] {
  const found: { from: number; to: number }[] = []
  let at = 0
  while (at < text.length) {
    if (blank(text[at])) {
      at++
      continue
    }
    const from = at
    let quoted = false
    let bracket = false
    for (; at < text.length; at++) {
      const c = text[at]
      if (quoted && c === '\\') at++
      else if (c === '"') quoted = !quoted
      else if (!quoted && c === '[') bracket = true
      else if (!quoted && c === ']') bracket = false
      else if (!quoted && !bracket && blank(c)) break
    }
    found.push({ from, to: Math.min(at, text.length) })
  }
  return found
}

export function place(text: string, cursor: number): Place {
  const piece = pieces(text).find((p) => p.from <= cursor && cursor <= p.to) ?? { from: cursor, to: cursor }
  let from = piece.from
  while (text[from] === '-' && from < cursor) from++
  const head = /^([A-Za-z_][\w.]*)(?::|>=|<=|!=|=|>|<)/.exec(text.slice(from, cursor))
  if (!head) return { from, to: piece.to, field: null, typed: text.slice(from, cursor) }
  const value = from + head[0].length + (text.slice(from + head[0].length, cursor).lastIndexOf(',') + 1)
  return { from: value, to: piece.to, field: (head[1] ?? '').toLowerCase(), typed: text.slice(value, cursor).replace(/^"/, '') }
}

/** A value as it is written after a colon. */
export const written = (value: string): string => (/^(?:[^\s()",[\]]|\[[^\]]*\])+$/.test(value) ? value : `"${value.replace(/(["\\])/g, '\\$1')}"`)

/** The query with a term more; one that says the opposite goes, and one that is there already is taken out. */
export function toggled(text: string, field: string, value: string, not = false): string {
  const term = `${field}:${written(value)}`
  const mine = (not ? '-' : '') + term
  const other = (not ? '' : '-') + term
  const own = pieces(text).map((p) => text.slice(p.from, p.to))
  if (own.includes(mine)) return without(text, mine)
  const rest = without(text, other)
  const several = /(^|\s)OR(\s|$)/.test(rest) && !/^\(.*\)$/.test(rest.trim())
  return `${several ? `(${rest.trim()})` : rest.trim()} ${mine}`.trim()
}

/** Whether the query has this very term. */
export const has = (text: string, field: string, value: string, not = false): boolean => pieces(text).some((p) => text.slice(p.from, p.to) === `${not ? '-' : ''}${field}:${written(value)}`)

const PATTERN = /^(pattern|rule):([^,*"]+)$/

/** The one pattern or rule a query asks for, as the table of patterns names it; empty for none. */
export function chosenPattern(text: string): string {
  const found = pieces(text).map((p) => PATTERN.exec(text.slice(p.from, p.to))).find((m) => m !== null)
  return found ? (found[1] === 'rule' ? `rule ${found[2]}` : (found[2] ?? '')) : ''
}

/** The query with this pattern or rule in the place of another one; null: with none. */
export function withPattern(text: string, chosen: [string, string] | null): string {
  const rest = pieces(text).map((p) => text.slice(p.from, p.to)).filter((p) => PATTERN.test(p)).reduce(without, text)
  return chosen ? toggled(rest, chosen[0], chosen[1]) : rest
}

/** Whether a query asks for no more than patterns can follow: hosts, and one of them. */
export const patternsFollow = (text: string): boolean => pieces(text).every((p) => /^(host|pattern|rule):/.test(text.slice(p.from, p.to)))

function without(text: string, piece: string): string {
  const found = pieces(text).find((p) => text.slice(p.from, p.to) === piece)
  return found ? `${text.slice(0, found.from)}${text.slice(found.to)}`.replace(/\s{2,}/g, ' ').trim() : text
}

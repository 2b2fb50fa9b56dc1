// Answers of the graph: which entities and ties their cells hold, and what a cell says in a table.
import type { Thing } from '../api/types'

export interface Dot { id: string; kind: string; key: string }
export interface Tie { from: string; to: string; kind: string; ended: boolean }

/** What can be drawn of the rows: entities by their id, and the relations between two that are there. */
export function drawing(rows: unknown[][], most = 200): { dots: Dot[]; ties: Tie[]; left: number } {
  const dots = new Map<string, Dot>()
  const ties = new Map<string, Tie>()
  let left = 0
  const take = (cell: unknown): void => {
    if (Array.isArray(cell)) cell.forEach(take)
    else if (cell !== null && typeof cell === 'object') {
      const thing = cell as Thing & { nodes?: unknown; relations?: unknown }
      if (thing['@from'] && thing['@to']) ties.set(`${thing['@from']} ${thing.label} ${thing['@to']} ${thing.since}`, { from: thing['@from'], to: thing['@to'], kind: thing.label, ended: !!thing.until })
      else if (thing['@id']) {
        if (dots.has(thing['@id']) || dots.size < most) dots.set(thing['@id'], { id: thing['@id'], kind: thing.label, key: thing.key ?? '' })
        else left++
      } else {
        take(thing.nodes)
        take(thing.relations)
      }
    }
  }
  rows.forEach((row) => row.forEach(take))
  return { dots: [...dots.values()], ties: [...ties.values()].filter((t) => dots.has(t.from) && dots.has(t.to)), left }
}

/** A cell as a reference to an entity (`Host:compute0`), or null for anything else. */
export function reference(cell: unknown): string | null {
  const thing = cell as Thing | null
  return thing !== null && typeof thing === 'object' && thing['@id'] && thing.key ? `${thing.label}:${thing.key}` : null
}

/** A cell as text: relations and paths in short, numbers rounded, nothing as a dash. */
export function told(cell: unknown): string {
  if (cell === null || cell === undefined) return '–'
  if (typeof cell === 'number') return Number.isInteger(cell) ? String(cell) : String(Math.round(cell * 1000) / 1000)
  if (typeof cell !== 'object') return String(cell)
  if (Array.isArray(cell)) return cell.map(told).join(', ')
  const thing = cell as Thing & { nodes?: unknown[] }
  if (Array.isArray(thing.nodes)) return thing.nodes.map(told).join(' → ')
  if (thing['@id']) return thing.key ?? thing.label
  if (thing['@from']) return `${thing.label} since ${thing.since ?? '?'}${thing.until ? ` until ${thing.until}` : ''}`
  return JSON.stringify(cell)
}

/** Comma-separated values of a table, for spreadsheets. */
export function csv(columns: string[], rows: unknown[][]): string {
  const quoted = (text: string) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)
  return [columns, ...rows.map((row) => row.map((cell) => (cell === null ? '' : told(cell))))].map((row) => row.map(quoted).join(',')).join('\n') + '\n'
}

export type Wanted = { what: 'entity' | 'relation' | 'parameter' | 'property'; from: number; text: string; kind?: string }

/** What can be completed where the cursor stands in a query, from the text before it; null for nothing. */
export function wanted(before: string): Wanted | null {
  const tail = /(\(\s*\w*\s*:\s*`?|\[\s*\w*\s*:\s*`?(?:\w+\|)*|\$)(\w*)$/.exec(before)
  if (tail) {
    const open = tail[1] ?? ''
    return { what: open.startsWith('(') ? 'entity' : open.startsWith('[') ? 'relation' : 'parameter', from: before.length - (tail[2] ?? '').length, text: tail[2] ?? '' }
  }
  const dot = /(\w+)\.(\w*)$/.exec(before)
  if (!dot) return null
  const kind = new RegExp(`[([]\\s*${dot[1]}\\s*:\\s*\`?(\\w+)`).exec(before)?.[1]
  return { what: 'property', from: before.length - (dot[2] ?? '').length, text: dot[2] ?? '', ...(kind && { kind }) }
}

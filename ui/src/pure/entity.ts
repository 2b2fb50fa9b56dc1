// References to entities (`Job:42@1763632800`, `PORT:SW1/3`): their names for people and their pages.

export interface Target { label: string; kind: string; path: string | null }

const KINDS: Record<string, string> = { job: 'job', attempt: 'attempt', host: 'host', node: 'node', user: 'user', port: 'port', sw: 'switch', hca: 'HCA', cable: 'cable', connection: 'connection', partition: 'partition', cluster: 'cluster', account: 'account', alias: 'alias' }

/** Where a reference leads, and how to call it. Kinds without a page have path null. */
export function target(ref: string): Target {
  const at = ref.indexOf(':')
  const kind = (at < 0 ? '' : ref.slice(0, at)).toLowerCase()
  const key = ref.slice(at + 1)
  const word = KINDS[kind] ?? kind
  const id = encodeURIComponent
  switch (kind) {
    case 'job': return { kind: word, label: key.split('@')[0] ?? key, path: `/job/${id(key)}` }
    case 'attempt': return { kind: word, label: key.replace(/@\d+/, ' '), path: `/job/${id(key.split('#')[0] ?? key)}` }
    case 'host':
    case 'node': return { kind: word, label: key, path: `/node/${id(key)}` }
    case 'user': return { kind: word, label: key, path: `/jobs?user=${id(key)}` }
    case 'port':
    case 'sw':
    case 'hca':
    case 'cable':
    case 'connection': return { kind: word, label: key, path: `/fabric?show=${id(key)}` }
    default: return { kind: word, label: key, path: null }
  }
}

/** `compute[0-2,7]` or `r[1-2]n[01-36]` → its names, at most `most` of them; text that is no node set comes back as one name. */
export function unfold(nodes: string, most = 512): string[] {
  const names: string[] = []
  for (const part of nodes.split(/,(?![^[]*\])/)) if (part) spread(part, most, names)
  return names
}

function spread(part: string, most: number, names: string[]): void {
  const set = /^([^[\]]*)\[([^\]]+)\](.*)$/.exec(part)
  if (!set) {
    if (names.length < most) names.push(part)
    return
  }
  for (const piece of (set[2] ?? '').split(',')) {
    const [a = '', b = a] = piece.split('-')
    for (let n = Number(a); n <= Number(b) && names.length < most; n++) spread(`${set[1]}${String(n).padStart(a.length, '0')}${set[3]}`, most, names)
  }
}

/** Names → `compute[0-2,7]`, in order of their numbers; names without a number stay as they are. */
export function fold(names: string[]): string {
  const parts = [...new Set(names)].map((name) => {
    const [, before = name, digits = '', after = ''] = /^(.*?)(\d+)(\D*)$/.exec(name) ?? []
    return { before, digits, after }
  })
  // Numbers as wide as a padded one of the same name are padded, too: n05 and n10 are n[05,10].
  const padded = new Set(parts.filter((p) => /^0\d/.test(p.digits)).map((p) => `${p.before}|${p.after}|${p.digits.length}`))
  const sets = new Map<string, { before: string; after: string; width: number; numbers: number[] }>()
  for (const { before, digits, after } of parts) {
    const width = padded.has(`${before}|${after}|${digits.length}`) ? digits.length : 0
    const key = `${before}|${after}|${width}`
    const set = sets.get(key) ?? { before, after, width, numbers: [] }
    if (digits) set.numbers.push(Number(digits))
    sets.set(key, set)
  }
  return [...sets.values()].map(({ before, after, width, numbers }) => {
    const runs: [number, number][] = []
    for (const n of numbers.sort((p, q) => p - q)) {
      const last = runs.at(-1)
      if (last && n === last[1] + 1) last[1] = n
      else runs.push([n, n])
    }
    const pad = (n: number) => String(n).padStart(width, '0')
    const told = runs.map(([a, b]) => (a === b ? pad(a) : `${pad(a)}-${pad(b)}`)).join(',')
    return numbers.length > 1 ? `${before}[${told}]${after}` : `${before}${told}${after}`
  }).join(',')
}

/** A cable's name for people: one known only by where and when it was first seen is called that. */
export function cableName(name: string, when: (t: number) => string): string {
  const unmarked = /^cable .+@(\d+)$/.exec(name)
  return unmarked ? `unmarked, seen since ${when(Number(unmarked[1]))}` : name
}

/** A sentence in which unmarked cables are called by where and when they were first seen, not by their key. */
export function plainCables(text: string, when: (t: number) => string): string {
  return text.replace(/(?:cable )+(\S+\/\d+)--(\S+\/\d+)@(\d+)/g, (_, a: string, b: string, t: string) => `the unmarked cable first seen at ${a} – ${b} (${when(Number(t))})`).replace(/\bthe the\b/g, 'the')
}

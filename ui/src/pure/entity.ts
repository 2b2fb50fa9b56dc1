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

/** `compute[0-2,7]` → its names, at most `most` of them; text that is no node set comes back as one name. */
export function unfold(nodes: string, most = 512): string[] {
  const names: string[] = []
  for (const part of nodes.split(/,(?![^[]*\])/)) {
    const set = /^([^[\]]*)\[([^\]]+)\](.*)$/.exec(part)
    if (!set) {
      if (part) names.push(part)
      continue
    }
    for (const piece of (set[2] ?? '').split(',')) {
      const [a = '', b = a] = piece.split('-')
      for (let n = Number(a); n <= Number(b) && names.length < most; n++) names.push(`${set[1]}${String(n).padStart(a.length, '0')}${set[3]}`)
    }
  }
  return names
}

/** A cable's name for people: one known only by where and when it was first seen is called that. */
export function cableName(name: string, when: (t: number) => string): string {
  const unmarked = /^cable .+@(\d+)$/.exec(name)
  return unmarked ? `unmarked, seen since ${when(Number(unmarked[1]))}` : name
}

/** What of the fabric a `show=` parameter means: a link by its id or one of its ports, a node, or a cable. */
export function shown<L extends { id: string; a: string; a_port: number; b: string; b_port: number; cable: string }>(text: string, fabric: { links: L[]; nodes: { id: string }[] }): { link: L | null; node: string | null } {
  const plain = text.replace(/@\d+$/, '')
  const link = fabric.links.find((l) => l.id === plain || `${l.a}/${l.a_port}` === plain || `${l.b}/${l.b_port}` === plain || (l.cable !== '' && l.cable === text)) ?? null
  return { link, node: link ? null : (fabric.nodes.find((n) => n.id === plain)?.id ?? null) }
}

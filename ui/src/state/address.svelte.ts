// The address is the state: path, window and choices live in the URL, so that back, forward and a
// copied link walk the same way. Paths here begin with a slash and are relative to the base.
import { isRelative } from '../pure/window'
import { BASE } from './session.svelte'

const prefix = BASE.pathname.replace(/\/$/, '')

class Address {
  path = $state('/')
  params = $state.raw(new URLSearchParams())

  read(): void {
    this.path = location.pathname.startsWith(prefix) ? location.pathname.slice(prefix.length) || '/' : '/'
    this.params = new URLSearchParams(location.search)
  }

  get(name: string): string | null {
    return this.params.get(name)
  }

  /** Set or (null) clear parameters of the present page. Choices replace, `push` makes a step in history. */
  set(changes: Record<string, string | null>, push = false): void {
    const next = new URLSearchParams(location.search)
    for (const [name, value] of Object.entries(changes)) {
      if (value === null || value === '') next.delete(name)
      else next.set(name, value)
    }
    const query = next.toString().replaceAll('%3A', ':').replaceAll('%2F', '/')
    const to = location.pathname + (query ? `?${query}` : '')
    if (to === location.pathname + location.search) return
    if (push) history.pushState(null, '', to)
    else history.replaceState(null, '', to)
    this.read()
  }

  go(to: string): void {
    history.pushState(null, '', to)
    this.read()
    window.scrollTo(0, 0)
  }
}

export const address = new Address()

/**
 * The full address of a page. The cluster travels along, and so does a relative window; an absolute one
 * only when `extra` gives it, because it belongs to what is looked at, not to the reader.
 */
export function href(path: string, extra: Record<string, string> = {}): string {
  const url = new URL(path.replace(/^\//, ''), BASE)
  const cluster = address.params.get('cluster')
  if (cluster && !url.searchParams.has('cluster')) url.searchParams.set('cluster', cluster)
  const from = address.params.get('from')
  const until = address.params.get('until') ?? 'now'
  const ownWindow = /^\/job\//.test(path)
  if (from && isRelative(from) && isRelative(until) && !ownWindow) {
    url.searchParams.set('from', from)
    if (until !== 'now') url.searchParams.set('until', until)
  }
  for (const [name, value] of Object.entries(extra)) url.searchParams.set(name, value)
  return url.pathname + url.search.replaceAll('%3A', ':').replaceAll('%2F', '/')
}

/** Follow links of our own without leaving the page; everything else is the browser's. */
export function follow(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
  const link = (event.target as Element).closest('a')
  if (!link || link.target || link.hasAttribute('download')) return
  const url = new URL(link.href)
  if (url.origin !== BASE.origin || !url.pathname.startsWith(BASE.pathname) || url.pathname.startsWith(`${BASE.pathname}api/`)) return
  event.preventDefault()
  address.go(url.pathname + url.search)
}

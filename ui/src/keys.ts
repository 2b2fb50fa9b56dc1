// The keyboard: single letters outside of fields. Lists mark their rows with data-row, charts listen themselves.
import { panned, zoomed, span, isLive } from './pure/window'
import { address, href } from './state/address.svelte'
import { time } from './state/time.svelte'
import { view } from './state/view.svelte'

const GO: Record<string, string> = { n: '/', j: '/jobs', o: '/nodes', f: '/fabric', e: '/events', s: '/sources', m: '/series', q: '/graph' }
/** Milliseconds `g` waits for the letter of a page. Any other key or Escape ends it, so it may be long enough for whoever looks the letter up. */
const PATIENCE = 5000
let going = -Infinity

/** Move the focus to the next or previous row of the page's list. */
function row(step: 1 | -1): void {
  const rows = [...document.querySelectorAll<HTMLElement>('[data-row]')]
  const at = rows.findIndex((r) => r === document.activeElement || r.contains(document.activeElement))
  const to = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.max(0, Math.min(rows.length - 1, at + step))]
  to?.focus()
  to?.scrollIntoView({ block: 'nearest' })
}

export function press(event: KeyboardEvent): void {
  const since = event.timeStamp - going // when the keys went down, however late a busy page hears of them
  going = -Infinity
  const at = event.target as HTMLElement
  // A dialog that has just closed keeps the focus in its field until the next frame: nobody types there any more.
  const field = at.closest?.('dialog:not([open])') ? null : at.closest?.('input, select, textarea, [contenteditable]')
  if (event.key === 'Escape' && !document.querySelector('dialog[open]')) {
    if (field instanceof HTMLElement) field.blur()
    view.clear()
    document.querySelectorAll('details[open]').forEach((d) => d.removeAttribute('open'))
    return
  }
  if (field || event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]') || !view.keys) return
  const there = GO[event.key]
  if (since < PATIENCE && there) address.go(href(there))
  else if (event.key === 'g') going = event.timeStamp
  else if (!act(event.key)) return
  event.preventDefault()
}

function act(key: string): boolean {
  const s = span(view.window, time.now)
  switch (key) {
    case '/': view.jump = true; break
    case '?': view.help = true; break
    case 'j': row(1); break
    case 'k': row(-1); break
    case 't': view.tables = !view.tables; break
    case 'e': view.events = !view.events; break
    case 'w': view.setWindow(zoomed(s, 0.5, time.now)); break
    case 's': view.setWindow(zoomed(s, 2, time.now)); break
    case 'a': view.setWindow(panned(s, -0.5, time.now)); break
    case 'd': if (!isLive(view.window)) view.setWindow(panned(s, 0.5, time.now)); break
    default: return false
  }
  return true
}

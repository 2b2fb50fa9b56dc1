// What all panels of a page share: the cursor in time, the event being read, and what is switched on.
import type { EventRow } from '../api/types'
import { parseWindow, DEFAULT, type Window } from '../pure/window'
import { address } from './address.svelte'
import { time } from './time.svelte'
import { untrack } from 'svelte'

class View {
  /** Epoch seconds under the cursor, in every chart and lane at once. */
  cursor = $state<number | null>(null)
  /** The event whose details are open, with others that share its mark. */
  picked = $state.raw<{ event: EventRow; others: EventRow[] } | null>(null)
  /** Lines of events through the charts. */
  events = $state(true)
  /** Tables in place of charts. */
  tables = $state(false)
  /** What the page would show when the address names no window: a job's own interval. */
  own = $state.raw<Window | null>(null)
  /** What that window is called. */
  ownName = $state('whole job')
  help = $state(false)
  jump = $state(false)
  /** Single-letter keys can be switched off. */
  keys = $state(localStorage.getItem('qnib.keys') !== 'off')

  /** The window in force. */
  get window(): Window {
    return parseWindow(address.params, untrack(() => time.now)) ?? this.own ?? DEFAULT
  }

  setWindow(window: Window | null): void {
    address.set(window ? { from: window.from, until: window.until === 'now' ? null : window.until } : { from: null, until: null }, true)
  }

  clear(): void {
    this.picked = null
    this.cursor = null
  }
}

export const view = new View()

// Who asks, and from where: the base of all addresses, and the token that the printed address carried.

const declared = document.querySelector('base')?.href
/** Where the UI lives, with a trailing slash: `http://127.0.0.1:8787/`. */
export const BASE = new URL(declared ?? '/', location.origin)
const KEY = `qnib.token:${BASE.pathname}`

class Session {
  token = $state<string | null>(null)
  /** The server refused the token that we have. */
  refused = $state(false)

  /** Take the token out of the address, where it must not stay, and remember it for this browser. */
  begin(): void {
    const url = new URL(location.href)
    const given = url.searchParams.get('token')
    if (given) {
      url.searchParams.delete('token')
      history.replaceState(null, '', url)
      localStorage.setItem(KEY, given)
    }
    this.token = given ?? localStorage.getItem(KEY)
  }

  use(token: string): void {
    localStorage.setItem(KEY, token)
    this.token = token
    this.refused = false
  }

  /** The server does not know this token: forget it. */
  refuse(): void {
    localStorage.removeItem(KEY)
    this.refused = this.token !== null
    this.token = null
  }
}

export const session = new Session()

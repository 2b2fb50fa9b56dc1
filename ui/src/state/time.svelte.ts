// The present as the server has it, moved on once a second; everything that says "4 s ago" reads it.

class Time {
  /** Epoch seconds. */
  now = $state(Date.now() / 1000)
  private offset = 0
  /** The server's clock stands still (a frozen replay). */
  private frozen: number | null = null
  private heard: { server: number; here: number } | null = null

  /** The server told its time. */
  tell(server: number): void {
    const here = Date.now() / 1000
    if (this.heard && here - this.heard.here > 3) this.frozen = server === this.heard.server ? server : null
    if (!this.heard || here - this.heard.here > 3) this.heard = { server, here }
    this.offset = server - here
    this.step()
  }

  step(): void {
    this.now = this.frozen ?? Date.now() / 1000 + this.offset
  }
}

export const time = new Time()

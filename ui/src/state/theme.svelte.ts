// Light, dark, or what the system says; the choice is stored, the resolved one is written on <html>.

export type Choice = 'system' | 'light' | 'dark'
const KEY = 'qnib.theme'
const dark = matchMedia('(prefers-color-scheme: dark)')

class Theme {
  choice = $state<Choice>('system')
  resolved = $state<'light' | 'dark'>('light')

  begin(): void {
    const stored = localStorage.getItem(KEY)
    if (stored === 'light' || stored === 'dark') this.choice = stored
    dark.addEventListener('change', () => this.apply())
    this.apply()
  }

  set(choice: Choice): void {
    this.choice = choice
    if (choice === 'system') localStorage.removeItem(KEY)
    else localStorage.setItem(KEY, choice)
    this.apply()
  }

  private apply(): void {
    this.resolved = this.choice === 'system' ? (dark.matches ? 'dark' : 'light') : this.choice
    document.documentElement.dataset.theme = this.resolved
  }
}

export const theme = new Theme()

/** The value of a colour token right now, for canvases. */
export const token = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

// What is chosen on the page of series: by what, whose, which metric; as parameters of the API, as a command, as words.
import type { Window } from './window'

export const WAYS = ['host', 'partition', 'rack', 'job', 'name'] as const
export type Way = (typeof WAYS)[number]
export interface Choice { by: Way; of: string; name: string }

export const LABELS: Record<Way, string> = { host: 'Host', partition: 'Partition', rack: 'Rack', job: 'Job', name: 'Metric' }

const isWay = (text: string | null): text is Way => (WAYS as readonly string[]).includes(text ?? '')

/** The choice an address names; by metric, the metric is whose. */
export function choiceOf(params: URLSearchParams): Choice {
  const told = params.get('by')
  const by = isWay(told) ? told : 'host'
  const of = params.get('of') ?? ''
  return { by, of, name: by === 'name' ? of : params.get('name') ?? '' }
}

/** The API's parameters. */
export function asked({ by, of, name }: Choice): Record<string, string> {
  return { ...(by !== 'name' && of && { [by]: of }), ...(name && { name }) }
}

/** The command that lists the same, or with a metric that tells its numbers. */
export function command(choice: Choice, window: Window): (string | null)[] {
  const { by, of, name } = choice
  const whose = by !== 'name' && of ? [`--${by}`, of] : []
  const time = ['--from', window.from, ...(window.until === 'now' ? [] : ['--until', window.until])]
  return ['qnib', 'metrics', ...(name ? ['show', name] : ['list']), ...whose, ...time]
}

/** `cpu.used of partition debug` */
export function title({ by, of, name }: Choice): string {
  const whose = by === 'name' || !of ? '' : `${by} ${of}`
  if (name) return whose ? `${name} of ${whose}` : name
  return whose ? `Metrics of ${whose}` : 'Metrics of the cluster'
}

/** What stands for all hosts that match a text: a node set or glob as it was written, else whatever has it in its name. */
export const setOf = (text: string): string => (/[[\]*?,]/.test(text) ? text : `*${text}*`)

/** What a series is called beside others of its metric: its tags, the host first. */
export function tagsOf(tags: Record<string, string>, path: string): string {
  const { host, ...others } = tags
  const told = Object.entries(others).map(([tag, value]) => `${tag} ${value}`)
  return [host, ...told].filter(Boolean).join(' · ') || path
}

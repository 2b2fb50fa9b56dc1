// Which cluster is looked at: the one the address names, else the first the server knows.
import { address } from './address.svelte'
import { live } from './live.svelte'

class ChosenCluster {
  // Derived, not getters: a new answer about health must not look like a new cluster.
  private readonly text = $derived(live.health?.clusters?.map((c) => c.name).join('\n') ?? '')
  readonly known = $derived(this.text ? this.text.split('\n') : [])
  readonly name = $derived(address.params.get('cluster') ?? this.known[0] ?? '')
}

export const cluster = new ChosenCluster()

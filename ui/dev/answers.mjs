// The stand-in's answers: every path of the API that the UI reads, filled from the made-up world,
// in exactly the shapes of src/api/types.ts.
import { CLUSTER, NODES, drift, fold, iso, noise } from './world.mjs'
import { story } from './story.mjs'

const METRICS = {
  'cpu.used': ['CPU', 'percent', 'cgroup of the node', 'CPU time used by everything on the node; 100 is one core.'],
  'cpu.system': ['CPU in the kernel', 'percent', 'cgroup of the node', 'CPU time spent in the kernel.'],
  'memory.used': ['Memory', 'bytes', 'cgroup of the node', 'Memory in use without caches.'],
  'network.rx_bytes': ['Network in', 'bytes/s', 'network namespace of the node', 'Octets received on eth0.'],
  'network.tx_bytes': ['Network out', 'bytes/s', 'network namespace of the node', 'Octets sent on eth0.'],
  'ib.xmit_data': ['Fabric out', 'bytes/s', 'perfquery', 'Octets sent by the node’s HCA port.'],
  'ib.symbol_error': ['Symbol errors', 'errors', 'perfquery', 'Symbol errors counted at the port.'],
  'job.cpu': ['CPU of the job', 'percent', 'accounting of the step', 'What the tasks of the job used; 100 is one core.'],
}
const LINKS = [
  ...NODES.map((n, i) => [`SW${i < 4 ? 1 : 2}`, (i % 4) + 1, n, 1]),
  ['SW1', 5, 'SW3', 1], ['SW1', 6, 'SW4', 1], ['SW2', 5, 'SW3', 2], ['SW2', 6, 'SW4', 2],
]
const leaf = (host) => (NODES.indexOf(host) < 4 ? 'SW1' : 'SW2')
const RANK = ['emerg', 'alert', 'crit', 'err', 'warning', 'notice', 'info', 'debug']

function panels(metrics, scope, limit) {
  return metrics.map((m) => ({
    id: m, title: m.includes(',') ? 'Network' : METRICS[m][0], kind: 'series', unit: METRICS[m.split(',')[0]][1], source: METRICS[m.split(',')[0]][2], description: METRICS[m.split(',')[0]][3],
    url: `/api/series?cluster=${CLUSTER}&metric=${m}&${scope}`, limit: m === 'memory.used' ? limit ?? null : null, domain: m.startsWith('ib') ? 'infiniband' : 'host',
  }))
}

/** `compute[0,2-3],compute7` as names. */
const unfold = (text) => text.split(/,(?![^[]*\])/).flatMap((part) => { const m = /^(.*)\[(.*)\]$/.exec(part); return m ? m[2].split(',').flatMap((r) => { const [a, b = a] = r.split('-'); return Array.from({ length: b - a + 1 }, (_, i) => `${m[1]}${+a + i}`) }) : [part] })

export class Answers {
  constructor(world) { this.world = world }

  node(name, now) {
    const running = this.world.on(name, now), drained = name === 'compute7'
    const sick = name === 'compute5'
    return {
      name, state: drained ? 'DRAINED' : running ? 'ALLOCATED' : 'IDLE', status: drained ? 'unknown' : sick ? 'warn' : 'fine',
      reason: drained ? 'fan replaced, burn-in [root, 2026-11-20]' : '', cpus: 2, cpus_allocated: running ? 2 : 0, memory_mb: 512,
      partitions: ['all', NODES.indexOf(name) % 2 ? 'odd' : 'even'], jobs: running ? [this.world.key(running)] : [], switch: leaf(name),
      cpu_percent: this.world.value('cpu.used', name, now) / 2, memory_percent: this.world.value('memory.used', name, now) / 5.37e6, newest: iso(now - 2),
    }
  }

  senders(now) {
    const row = (sender, host, listener, events, more = {}) => ({ sender, host, listener, events, last: iso(now - (events % 40)), skew: 0.01, wrong_clock: 0, sent_by: 0, rejects: 0, dropped: 0, ...more })
    return {
      senders: [
        ...NODES.map((n, i) => row(`10.0.0.${i + 1}`, n, 'syslog/udp', 900 - 37 * i, n === 'compute5' ? { skew: 47 } : n === 'compute2' ? { dropped: 412 } : {})),
        row('10.0.1.9', 'switch1', 'syslog/tcp', 120, { rejects: 14 }), row('10.0.1.9', 'switch2', 'syslog/tcp', 80, { rejects: 14 }), row('10.0.0.3', 'storage1', 'json/tcp', 12, { sent_by: 12 }),
      ],
      rejected: [{ sender: '10.0.1.9', listener: 'syslog/tcp', reason: 'neither priority nor time', count: 14, last: iso(now - 60), example: '%LINK-3-UPDOWN: Interface <b>Ethernet1/7</b>' }],
    }
  }

  now(now) {
    const w = this.world, all = w.jobs.map((j) => w.full(j, now)), nodes = NODES.map((n) => this.node(n, now))
    const running = all.filter((j) => j.state === 'RUNNING'), waiting = all.filter((j) => j.state === 'PENDING')
    const recent = all.filter((j) => j.end && Date.parse(j.end) / 1000 > now - 3600)
    const count = (list, f) => list.reduce((o, x) => ({ ...o, [f(x)]: (o[f(x)] ?? 0) + 1 }), {})
    const busiest = Math.max(...nodes.map((n) => n.cpu_percent))
    const cell = (value, unit, status, worst = '', note = '', link = '') => ({ value, unit, status, worst, note, link })
    return {
      cluster: CLUSTER, time: iso(now), newest: iso(now - 2), nodes: { total: 8, by_state: count(nodes, (n) => n.state) },
      cpus: { total: 16, allocated: nodes.reduce((s, n) => s + n.cpus_allocated, 0) },
      jobs: { running: running.length, pending: waiting.length, finished_last_hour: count(recent, (j) => j.state) },
      users: ['alice', 'bob', 'carol', 'dave'].map((u) => ({ name: u, running: running.filter((j) => j.user === u).length, pending: waiting.filter((j) => j.user === u).length, cpus: running.filter((j) => j.user === u).reduce((s, j) => s + j.cpus, 0) })),
      fabric: { hcas: 8, switches: 4, links: 12, links_down: 1, symbol_errors: 37 },
      partitions: [{ name: 'all', nodes: fold(NODES), state: 'UP', total: 8 }, { name: 'even', nodes: 'compute[0,2,4,6]', state: 'UP', total: 4 }, { name: 'odd', nodes: 'compute[1,3,5,7]', state: 'UP', total: 4 }],
      use: [
        { resource: 'CPU', errors: cell(null, '', 'unknown'), saturation: cell(0.4, 'load/core', 'fine', 'compute4', '', '/node/compute4'), utilisation: cell(busiest, '%', busiest > 95 ? 'warn' : 'fine', 'compute4', 'busiest node', '/node/compute4') },
        { resource: 'Memory', errors: cell(1, 'kills', 'critical', 'compute5', 'in the last hour', '/node/compute5'), saturation: cell(0, 'faults/s', 'fine'), utilisation: cell(44, '%', 'fine', 'compute1', 'fullest node', '/node/compute1') },
        { resource: 'Network', errors: cell(0, 'drops', 'fine'), saturation: cell(null, '', 'unknown'), utilisation: cell(127, 'MB/s', 'fine', 'compute4', '', '/node/compute4') },
        { resource: 'Fabric links', errors: cell(37, 'symbol errors', 'warn', 'SW2/2', 'in the last hour', '/fabric'), saturation: cell(2.1, '% waiting', 'fine', 'SW1/5', '', '/fabric'), utilisation: cell(18, '%', 'fine', 'SW1/5', '', '/fabric') },
        { resource: 'SLURM daemons', errors: cell(0, 'down', 'fine'), saturation: cell(3, 'threads', 'fine', 'slurmctld'), utilisation: cell(null, '', 'unknown') },
      ],
      findings: this.findings().slice(0, 3), running,
      changes: story(w, now).filter((e) => e.kind && !['job.progress', 'job.submit', 'fabric.sweep'].includes(e.kind)).slice(0, 12),
    }
  }

  findings() {
    const w = this.world
    return [
      { name: 'link-down', severity: 'critical', sentence: 'The link SW1/6 – SW4/1 went down; traffic between the two leaf switches shares one cable.', advice: 'Look at the connection’s history on the fabric page; put the cable back, or swap it.', evidence: ['opensm: Link went down: port SW1/6', 'SW1/5 carries twice its rate since'], about: 'PORT:SW1/6' },
      { name: 'slow-node', severity: 'warn', sentence: 'compute2 works at 74 % of the median CPU of job 61.', advice: 'Compare its CPU with its neighbours; check for a second process or a throttled core.', evidence: ['median 182 %, compute2 135 %'], about: `Job:${w.key(w.job('61'))}` },
      { name: 'limit-near', severity: 'warn', sentence: 'Job 58 will reach its time limit before it is done.', advice: 'It needs about 14 minutes more than it asked for: scontrol update jobid=58 timelimit=80.', evidence: ['72 of 100 iterations after 52 of 60 minutes'], about: `Job:${w.key(w.job('58'))}` },
    ]
  }

  jobs(q, now) {
    const group = (s) => (s === 'RUNNING' ? 'running' : s === 'PENDING' ? 'pending' : 'finished')
    const list = this.world.jobs.map((j) => this.world.full(j, now)).filter((j) => (!q.state || q.state === 'all' || group(j.state) === q.state) && (!q.user || j.user === q.user))
    return { jobs: list.slice(0, +(q.limit ?? 500)), newest: iso(now - 2) }
  }

  job(key, now) {
    const j = this.world.job(key)
    if (!j) return null
    const full = this.world.full(j, now), hosts = j.hosts
    const by = [...new Set(hosts.map(leaf))].map((name) => [name, hosts.filter((h) => leaf(h) === name)])
    const hops = hosts.flatMap((a, i) => hosts.slice(i + 1).map((b) => ({ from: a, to: b, hops: leaf(a) === leaf(b) ? 2 : 4 })))
    const far = hops.filter((h) => h.hops > 2).length
    return {
      ...full, work_dir: `/home/${j.user}/${j.name}`,
      verdict: { RUNNING: j.id === 61 ? 'Running as expected so far; one of its four nodes is slower than the others.' : 'Running as expected so far.', PENDING: j.id === 63 ? 'Waiting for eight free nodes: seven can run jobs, compute7 is drained.' : 'Waiting: another job comes first.', COMPLETED: 'Ended well in 58 % of the time asked for.', FAILED: 'Failed after a few seconds with exit status 1: a restart file was missing.', OUT_OF_MEMORY: 'Killed: a task on compute5 used more than the memory asked for.', TIMEOUT: 'Stopped at its time limit before it was done.', CANCELLED: 'Cancelled by its owner.' }[j.state],
      findings: this.findings().filter((f) => f.about === `Job:${full.key}` || (j.id === 61 && f.name === 'link-down')),
      placement: {
        sentence: hosts.length < 2 ? 'One host: no traffic over the fabric.' : far ? `${hosts.length} hosts on ${by.length} leaf switches: ${far} of ${hops.length} pairs are 4 hops apart.` : `All ${hosts.length} hosts on one leaf switch, every pair 2 hops apart.`,
        switches: by.map(([name, h]) => ({ name, nodes: fold(h), count: h.length })), hops,
      },
      panels: hosts.length ? panels(['cpu.used', 'memory.used', 'network.rx_bytes,network.tx_bytes', 'ib.xmit_data'], `job=${encodeURIComponent(full.key)}`, 512 * 1048576) : [],
      window: { from: iso((j.start ?? j.submit) - 60), until: iso(j.end ? j.end + 60 : now) }, command: `qnib job show ${j.id}`,
    }
  }

  nodePage(name, now) {
    if (!NODES.includes(name)) return null
    const w = this.world, i = NODES.indexOf(name)
    return {
      ...this.node(name, now),
      aliases: [{ name, kind: 'NodeName', since: iso(w.began - 5.6 * 3600) }, { name: `${name}.demo`, kind: 'FQDN', since: iso(w.began - 5.6 * 3600) }, { name: `${name} HCA-1`, kind: 'NodeDescription', since: iso(w.began - 5.5 * 3600) }],
      machine: {
        kernel: '6.12.38+deb13-amd64', os: 'Debian GNU/Linux 13 (trixie)', modules: null,
        packages: { key: i === 5 ? 'b2' : 'a1', name: i === 5 ? 'packages b2c4e6' : 'packages a1b2c3', size: 431, since: iso(w.began - 5.6 * 3600), alike: i === 5 ? 0 : 6, hosts: 8 },
        container: { name: `qnib-${CLUSTER}-${name}`, engine: 'podman', image: 'localhost/qnib/slurm:11b6d94396b7', memory: 512 * 1048576, cpus: 2, state: 'running' },
        interfaces: [{ name: 'eth0', state: 'up', speed: 10000, mtu: 1500, mac: `02:00:00:00:00:0${i}`, addresses: `10.213.0.1${i}/24`, switch: null, port: null }],
      },
      port: { hca: name, switch: leaf(name), switch_port: (i % 4) + 1, cable: `c${i + 1}`, rate: '56 Gb/s (4X FDR)', state: 'Active' },
      history: w.jobs.filter((j) => j.hosts.includes(name)).map((j) => ({ job: w.full(j, now), since: iso(j.start), until: iso(j.end) })),
      findings: name === 'compute5' ? [{ name: 'symbol-errors', severity: 'warn', sentence: 'The port SW2/2 – compute5 saw 37 symbol errors in the last hour.', advice: 'Clean or swap the cable c6, then watch whether the errors follow it.', evidence: ['perfquery SW2/2'], about: 'PORT:SW2/2' }] : [],
      panels: panels(['cpu.used', 'cpu.system', 'memory.used', 'network.rx_bytes', 'network.tx_bytes', 'ib.xmit_data'], `host=${name}`, 512 * 1048576),
    }
  }

  /** compute5 has an older library, as a node that was reinstalled by hand would. */
  differs(q, now) {
    const job = this.job(q.job, now)
    if (!job) return null
    const all = unfold(job.nodes), odd = all.filter((n) => n === 'compute5'), usual = all.filter((n) => n !== 'compute5')
    const row = (aspect, title, item, value, most) => ({ aspect, title, item, of_cluster: false, usual: { value: most, hosts: fold(usual), count: usual.length }, others: [{ value, hosts: fold(odd), count: 1 }] })
    const differences = odd.length && usual.length ? [row('packages', 'packages', 'libucx0', '1.18.0-1', '1.18.1-2'), row('libraries', 'loaded libraries', 'libucp.so', '/opt/old/lib', '/usr/lib/x86_64-linux-gnu')] : []
    const compared = [['packages', 'packages', 431], ['libraries', 'loaded libraries', 59], ['kernel', 'kernel and system', 2], ['slurm', "SLURM's version", 1], ['ports', 'fabric ports', 1]]
    return {
      job: { id: job.id, key: job.key, name: job.name }, at: iso(now), hosts: job.nodes, count: all.length, odd: fold(differences.length ? odd : []), odd_count: differences.length ? 1 : 0,
      sentence: differences.length ? `compute5 differs from the other ${usual.length}: 1 difference in packages and 1 in loaded libraries.` : `No differences between the ${all.length} hosts in 431 packages, loaded libraries, kernel and system, SLURM's version and fabric ports.`,
      compared: compared.map(([aspect, title, items]) => ({ aspect, title, items, differences: differences.filter((d) => d.aspect === aspect).length, hosts: job.nodes, count: all.length, unknown: '', unknown_count: 0, silent: '', silent_count: 0, oldest: null })),
      untold: ['loaded modules', 'available modules'], differences, difference_count: differences.length,
      findings: differences.map((d) => ({ name: 'nodes_differ', severity: 'warn', sentence: `compute5 differs from the others in ${d.title}.`, advice: d.aspect === 'packages' ? 'Bring them to one version with the package manager or the image; drain the host until that is done.' : 'See which path each loads (`LD_LIBRARY_PATH`, modules, RPATH) and which package owns it.', evidence: [], about: null })),
    }
  }

  series(q, now) {
    const from = Date.parse(q.from) / 1000 || now - 3600, until = Math.min(Date.parse(q.until) / 1000 || now, now)
    const job = q.job && this.world.job(q.job)
    const hosts = q.port ? [q.port] : job ? job.hosts : q.host && q.host !== '*' ? NODES.filter((n) => unfold(q.host).includes(n)) : NODES
    const step = Math.max(5, Math.ceil((until - from) / +(q.points ?? 600)))
    const names = q.metric.split(',')
    const t = [], series = names.flatMap((m) => hosts.map((h) => ({ name: names.length > 1 ? `${h} ${m.split('.').at(-1)}` : h, tags: { host: h, metric: m }, mean: [], min: [], max: [] })))
    for (let at = Math.ceil(from / step) * step; at < until; at += step) {
      t.push(at)
      series.forEach((line, i) => {
        const h = line.tags.host, silent = at < this.world.began - 5.6 * 3600
        const v = silent ? null : this.world.value(line.tags.metric, h, at), spread = v * Math.min(0.16, step / 900)
        series[i].mean.push(v); series[i].min.push(silent ? null : v - spread * noise(h, at)); series[i].max.push(silent ? null : v + spread * noise(h, at, 'x'))
      })
    }
    const [, unit, source, description] = METRICS[names[0]] ?? ['', '', '', '']
    const sorted = (k) => series.map((s) => s.mean[k]).filter((v) => v != null).sort((a, b) => a - b)
    const band = hosts.length > 8 && names.length === 1 ? { min: t.map((_, k) => sorted(k)[0]), median: t.map((_, k) => sorted(k)[sorted(k).length >> 1]), max: t.map((_, k) => sorted(k).at(-1)) } : null
    return { metric: q.metric, unit, source, description, from: iso(from), until: iso(until), step, newest: iso(now - 2), series, band, t }
  }

  events(q, now) {
    const from = Date.parse(q.from) / 1000 || now - 3600, until = Date.parse(q.until) / 1000 || now
    const job = q.job && this.world.job(q.job), text = (q.q ?? '').toLowerCase()
    const mine = (e) => !job || e.entities.includes(`Job:${this.world.key(job)}`) || (e.t >= job.start - 5 && e.t <= (job.end ?? now) + 5 && (job.hosts.includes(e.host) || e.kind.startsWith('link') || e.kind === 'fabric.sweep'))
    const hits = story(this.world, now).filter((e) => e.t >= from && e.t <= until && mine(e) && (!q.host || e.host === q.host || e.entities.includes(`Host:${q.host}`)) &&
      (!q.entity || e.entities.includes(q.entity)) && (!q.severity || RANK.indexOf(e.severity) <= RANK.indexOf(q.severity)) && (!q.kind || e.kind.startsWith(q.kind)) && (!text || e.message.toLowerCase().includes(text)))
    return { events: hits.slice(0, +(q.limit ?? 500)), total: hits.length }
  }

  patterns(q, now) {
    const row = (pattern, app, template, count, hosts, since) => ({
      pattern, rule: '', kind: '', template, app, count, share: count / 4200, hosts, first: iso(now - Math.min(since, 86000)), last: iso(now - 40), seen_since: iso(now - since), new: since < 86400,
      counts: Array.from({ length: 40 }, (_, i) => (since < (40 - i) * 2160 ? 0 : Math.round((count / 40) * (1 + Math.sin(i * count))))), example: template.replaceAll('<*>', '7'), host: 'compute3',
    })
    const rows = [row('11', 'chronyd', 'Selected source <*> (<*>)', 96, 8, 900000), row('12', 'nscd', '<*> monitoring file <*> (<*>)', 64, 8, 700000), row('13', 'smartd', 'Device: <*>, opened', 12, 2, 5200)]
    return { patterns: rows, lines: 4200, unknown: 172, kinds: 3, new: 1, new_since: iso(now - 86400), from: q.from, until: q.until }
  }

  fabric(q, now) {
    const w = this.world, at = q.at ? Date.parse(q.at) / 1000 : now, job = q.job ? w.job(q.job) : null
    const used = new Set(job ? job.hosts : [])
    const x = { SW1: 0.25, SW2: 0.75, SW3: 0.36, SW4: 0.64 }
    const sw = ['SW1', 'SW2', 'SW3', 'SW4'].map((id) => ({ id, kind: 'SW', label: id, host: null, level: +id[2] > 2 ? 2 : 1, x: x[id], y: +id[2] > 2 ? 0 : 0.5, status: 'fine', jobs: [], first: id, members: id, count: 1, bad: 0, hosts: '', busy: 0, mine: 0 }))
    const hca = NODES.map((id, i) => ({ id, kind: 'HCA', label: id, host: id, level: 0, x: (i + 0.5) / 8, y: 1, status: this.node(id, at).status, jobs: w.on(id, at) ? [w.key(w.on(id, at))] : [], first: id, members: id, count: 1, bad: 0, hosts: id, busy: w.on(id, at) ? 1 : 0, mine: used.has(id) ? 1 : 0 }))
    const wide = job && new Set(job.hosts.map(leaf)).size > 1
    const links = LINKS.map(([a, ap, b, bp], i) => {
      const id = `${a}/${ap}--${b}/${bp}`, down = w.down(id, at), host = b.startsWith('compute')
      const rate = down ? 0 : host ? w.value('network.tx_bytes', b, at) * 2 : NODES.filter((n) => leaf(n) === a).reduce((s, n) => s + w.value('network.tx_bytes', n, at), 0) * 0.3
      const errors = id.startsWith('SW2/2') ? 37 : 0
      const back = w.outages.filter((o) => o.link === id && o.until && o.until < at).at(-1)
      return { id, a, a_port: ap, b, b_port: bp, cable: `c${i + 1}`, width: '4X', speed: 'FDR', state: down ? 'down' : 'up', since: iso(down ? w.outages.find((o) => o.link === id).from : back ? back.until : w.began - 5.5 * 3600), until: null,
        status: down ? 'critical' : errors ? 'warn' : 'fine', xmit_rate: down ? null : rate, errors, xmit_wait: down ? null : Math.floor(rate / 9e5), on_route: used.has(b) || Boolean(wide && !host && !down), upper: a, lower: b, count: 1, down: down ? 1 : 0 }
    })
    const changes = w.outages.flatMap((o) => [{ time: o.from, what: 'down', link: o.link }, ...(o.until ? [{ time: o.until, what: 'up', link: o.link }] : [])]).filter((c) => c.time <= at).sort((p, r) => r.time - p.time)
      .map((c) => ({ ...c, time: iso(c.time), sentence: `${c.link.replace('--', ' – ')} ${c.what === 'up' ? 'came back' : 'went down'}` }))
    const counts = { switches: 4, hosts: 8, links: links.length, down: links.filter((l) => l.down).length, on_route: links.filter((l) => l.on_route).length }
    return { at: iso(at), newest: iso(now - 3), folded: false, counts, opened: [], nodes: [...sw, ...hca], links, changes }
  }

  /** A part of the fabric; verdicts, routes and checks want a real server. */
  part(q, now) {
    const w = this.fabric({ at: q.at }, now), name = q.name.replace(/@\d+$/, '')
    const sw = w.nodes.find((n) => n.id === name)
    const links = w.links.filter((l) => (sw ? [l.a, l.b].includes(name) : [l.id, `${l.a}/${l.a_port}`, `${l.b}/${l.b_port}`, l.cable].includes(name)))
    const [link] = links, port = /\/\d+$/.test(name)
    const history = links.flatMap((l) => this.connections({ a: `${l.a}/${l.a_port}`, b: `${l.b}/${l.b_port}` }, now).rows.map(([a, b, cable, began, until]) => ({ connection: `${a}--${b}@${Date.parse(began) / 1000}`, a, b, cable, began, until })))
    const panel = (metric, title, unit) => ({ id: metric, title, kind: 'series', unit, source: 'perfquery', description: '', limit: null, domain: 'infiniband', url: `/api/series?metric=${metric}&port=${encodeURIComponent(name)}` })
    return { kind: sw ? (sw.kind === 'SW' ? 'switch' : 'adapter') : name.includes('--') ? 'link' : port ? 'port' : 'cable', name, ref: sw ? `${sw.kind}:${name}` : `PORT:${name}`, at: w.at, ports: sw || !link ? [] : [`${link.a}/${link.a_port}`, `${link.b}/${link.b_port}`],
      about: {}, hosts: sw?.kind === 'SW' ? NODES.filter((n) => leaf(n) === name).join(',') : '', host: sw?.host ?? null, links, history, jobs: [], panels: [panel('ib.xmit_data', 'Data', 'bytes/s'), panel('ib.symbol_error', 'Errors', 'errors/s')], events: sw ? `SW:${name}` : link ? `PORT:${link.a}/${link.a_port}` : '' }
  }

  /** The history of two ports, as the graph would answer the fabric page. */
  connections({ a, b }, now) {
    const id = `${a}--${b}`, out = this.world.outages.filter((o) => o.link === id), rows = []
    let since = this.world.began - 5.5 * 3600
    for (const o of out) {
      rows.push([a, b, `cable ${id}@${Math.floor(since)}`, iso(since), iso(o.from)])
      since = o.until
    }
    if (since) rows.push([a, b, `cable ${id}@${Math.floor(since)}`, iso(since), null])
    return { columns: ['a', 'b', 'cable', 'since', 'until'], rows: rows.reverse(), at: iso(now), truncated: false, elapsed_ms: 1.2 }
  }

  /** The search of events, by plain words alone: the language wants a real server. */
  searched(key, q, now) {
    if (key === 'language') return { fields: [{ name: 'host', about: 'the machine it came from', example: 'host:compute[0-7]', sort: 'host' }] }
    const whose = (e) => ({ ...e, around: { host: e.host, switches: e.host.startsWith('compute') ? [leaf(e.host)] : [], jobs: [] } })
    if (key === 'around') {
      const at = Date.parse(q.time) / 1000, near = this.events({ from: iso(at - 60 * q.minutes), until: iso(at + 60 * q.minutes), limit: 40 }, now).events
      const event = near.find((e) => e.id === q.id) ?? near[0]
      return event && { event: whose(event), sentence: `No job on ${event.host || 'any host'} then`, minutes: Number(q.minutes), hosts: event.host, jobs: [], switches: [], failing: null, groups: [{ near: 'time', title: 'Elsewhere, of what matters', events: near.filter((e) => e.id !== event.id) }] }
    }
    const found = this.events({ ...q, q: (q.q ?? '').split(' ').filter((w) => !/[:=<>"]/.test(w)).join(' ') }, now), events = found.events.map(whose)
    const until = q.until ? Date.parse(q.until) / 1000 : now, from = q.from ? Date.parse(q.from) / 1000 : until - 3600, n = Number(q.histogram ?? 60), width = (until - from) / n
    const t = Array.from({ length: n }, (_, i) => from + i * width), none = t.map(() => 0), count = t.map((s) => events.filter((e) => Date.parse(e.time) / 1000 >= s && Date.parse(e.time) / 1000 < s + width).length)
    const facet = (name) => ({ values: Object.entries(events.reduce((n, e) => ({ ...n, [e[name]]: (n[e[name]] ?? 0) + 1 }), {})).filter(([v]) => v).map(([value, count]) => ({ value, count })).sort((a, b) => b.count - a.count), more: 0 })
    return { query: q.q ?? '', events: events.slice(0, Number(q.limit ?? 200)), total: found.total, histogram: { t, width, count, critical: none, warn: none, fine: count }, facets: { host: facet('host'), severity: facet('severity'), kind: facet('kind') } }
  }

  jump(q, now) {
    const t = (q.q ?? '').toLowerCase()
    const all = [
      ...this.world.jobs.map((j) => this.world.full(j, now)).map((j) => ({ kind: 'Job', key: j.key, label: `${j.id} ${j.name}`, detail: `${j.user}, ${j.state.toLowerCase()}`, url: `/job/${j.key}` })),
      ...NODES.map((n) => ({ kind: 'Node', key: n, label: n, detail: this.node(n, now).state.toLowerCase(), url: `/node/${n}` })),
      ...['alice', 'bob', 'carol', 'dave'].map((u) => ({ kind: 'User', key: u, label: u, detail: 'jobs of this user', url: `/jobs?user=${u}` })),
      ...['SW1', 'SW2', 'SW3', 'SW4'].map((s) => ({ kind: 'Switch', key: s, label: s, detail: 'fabric', url: `/fabric?show=${s}` })),
    ]
    return { hits: all.filter((h) => `${h.label} ${h.detail}`.toLowerCase().includes(t)).slice(0, 12) }
  }
}

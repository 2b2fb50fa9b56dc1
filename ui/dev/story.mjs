// The stand-in's event log: what schedulers, fabrics and kernels would have said in this world.
import { noise, iso, NODES, fold } from './world.mjs'

/** All events up to `now`, newest first, exactly as the API gives them. */
export function story(world, now) {
  const rows = []
  const say = (t, host, app, severity, kind, lane, message, entities = [], hint = '', fields = {}) =>
    t <= now && rows.push({ id: `${Math.floor(t * 1000)}-${rows.length}`, time: iso(t), received: iso(t + 0.4), host, app, severity, kind, message, hint, entities, fields, lane, t })

  for (const j of world.jobs) {
    const ref = `Job:${world.key(j)}`, list = fold(j.hosts)
    say(j.submit, 'controller', 'slurmctld', 'info', 'job.submit', 'scheduler', `_slurm_rpc_submit_batch_job: JobId=${j.id} InitPrio=4294901${700 + j.id} usec=${Math.floor(180 + noise(j.id) * 400)}`, [ref, `User:${j.user}`], '', { job: `${j.id}` })
    if (j.start == null) continue
    say(j.start, 'controller', 'slurmctld', 'info', 'job.start', 'scheduler', `sched: Allocate JobId=${j.id} NodeList=${list} #CPUs=${j.hosts.length * 2} Partition=all`, [ref, ...j.hosts.map((h) => `Host:${h}`)], '', { job: `${j.id}`, nodes: list })
    for (const h of j.hosts) say(j.start + 0.6 + noise(h, j.id), h, 'slurmd', 'info', '', 'scheduler', `launch task StepId=${j.id}.0 request from UID:1001 GID:1001 HOST:10.91.0.2 PORT:${41000 + j.id}`, [ref, `Host:${h}`])
    const p = world.progress(j, now)
    if (p) {
      const until = Math.min(now, j.end ?? now)
      for (let t = j.start + 75, n = 1; t < until; t += 150, n++)
        say(t, j.hosts[0], `slurm_${j.id}`, 'info', 'job.progress', 'application', `progress ${Math.floor(p.total * ((t - j.start) / (j.limit * 0.72)))}/${p.total} rate ${(p.total / (j.limit * 0.72)).toFixed(2)} it/s`, [ref, `Host:${j.hosts[0]}`])
    }
    if (j.end == null) continue
    const code = j.state === 'FAILED' ? 1 : 0
    if (j.state === 'FAILED') say(j.end - 1, j.hosts[0], `slurm_${j.id}`, 'err', 'app.error', 'application', 'restart-check: cannot open restart file /scratch/dave/run17/restart.0040: No such file or directory', [ref, `Host:${j.hosts[0]}`], 'The program asked for a file that is not there: check the path in the job script, and that the run before it finished.')
    if (j.state === 'OUT_OF_MEMORY') {
      say(j.end - 2, j.hosts[1], 'kernel', 'err', 'kernel.oom', 'kernel', `Memory cgroup out of memory: Killed process 18231 (md-water) total-vm:913040kB, anon-rss:498112kB, UID:1004`, [ref, `Host:${j.hosts[1]}`], 'The job used more memory than it asked for. Ask for more with --mem, or use fewer tasks per node.', { process: 'md-water', rss: '498112 kB' })
      say(j.end - 1.2, j.hosts[1], 'slurmstepd', 'err', 'job.oom', 'scheduler', `error: Detected 1 oom_kill event in StepId=${j.id}.0. Some of the step tasks have been OOM Killed.`, [ref, `Host:${j.hosts[1]}`])
    }
    if (j.state === 'TIMEOUT') say(j.end - 0.5, 'controller', 'slurmctld', 'warning', 'job.timeout', 'scheduler', `Time limit exhausted for JobId=${j.id}`, [ref], 'The job reached its time limit. Ask for more time, or write restart files.')
    say(j.end, 'controller', 'slurmctld', code || j.state !== 'COMPLETED' ? 'notice' : 'info', 'job.end', 'scheduler', `_job_complete: JobId=${j.id} done, state ${j.state}, exit status ${code}`, [ref], '', { job: `${j.id}`, state: j.state })
  }
  for (const o of world.outages) {
    const [a, b] = o.link.split('--')
    const refs = [`PORT:${a}`, `PORT:${b}`]
    const sw = a.split('/')[0]
    const told = (t, down) => {
      say(t, 'fabric', 'opensm', down ? 'warning' : 'notice', down ? 'link.down' : 'link.up', 'fabric', `${down ? 'Link went down' : 'Link came up'}: port ${a} (${sw}) — port ${b}, ${down ? 'state LinkDown, was Active 4X FDR' : 'state Active 4X FDR'}`, refs, down ? 'A cable was pulled, or a port died. Look at the connection: if its other cables at this port were fine, suspect the cable.' : '', { port: a, peer: b })
      say(t + 1.4, 'fabric', 'opensm', 'info', 'fabric.sweep', 'fabric', `SM port is up; HEAVY SWEEP done, ${down ? 15 : 16} links, routes recomputed (minhop) in 41 ms`, refs)
    }
    told(o.from, true)
    if (o.until) told(o.until, false)
  }
  say(world.began - 140 * 60, 'controller', 'slurmctld', 'notice', 'node.down', 'scheduler', 'update_node: node compute7 reason set to: fan replaced, burn-in; state set to DRAINED', ['Node:compute7', 'Host:compute7'], 'Somebody drained this node. Give it back with scontrol update nodename=compute7 state=resume.')
  for (let t = world.began - 5.5 * 3600; t < now; t += 610) say(t, 'fabric', 'opensm', 'info', '', 'fabric', 'log_send_error: 0 errors since last report; 12 light sweeps, no change', [])
  for (let t = world.began - 5.5 * 3600; t < now; t += 333) {
    const h = NODES[Math.floor(noise('cron', t) * 8)]
    say(t, h, 'CRON', 'debug', '', 'other', '(root) CMD (cd / && run-parts --report /etc/cron.hourly)', [`Host:${h}`])
  }
  return rows.sort((a, b) => b.t - a.t)
}

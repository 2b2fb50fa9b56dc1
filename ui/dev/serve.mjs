// A stand-in for `qnib serve`, for work on the UI alone: made-up data, the real shapes, the built UI.
//   node dev/serve.mjs [--port 8788] [--at 2026-11-20T14:00:00Z]     then open the address it prints
// --at freezes the world's clock, so that two screenshots show the same numbers.
import { createServer } from 'node:http'
import { readFileSync, existsSync } from 'node:fs'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { World, CLUSTER, iso } from './world.mjs'
import { Answers } from './answers.mjs'

const flag = (name) => { const i = process.argv.indexOf(name); return i < 0 ? null : process.argv[i + 1] }
const port = +(flag('--port') ?? 8788), frozen = flag('--at') ? Date.parse(flag('--at')) / 1000 : null
const clock = () => frozen ?? Date.now() / 1000
const TOKEN = 'stand-in'
const built = fileURLToPath(new URL('../../src/qnib/web/static/', import.meta.url))
const answers = new Answers(new World(clock()))
// The policy the real server sends, so that what it forbids fails here, too.
const POLICY = { 'content-security-policy': "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'self'; form-action 'self'; object-src 'none'" }
const TYPES = { '.js': 'text/javascript', '.css': 'text/css', '.html': 'text/html', '.svg': 'image/svg+xml' }

const send = (response, status, body) => { response.writeHead(status, { 'content-type': 'application/json' }); response.end(JSON.stringify(body)) }
const body = (request) => new Promise((done) => { let text = ''; request.on('data', (c) => (text += c)); request.on('end', () => done(JSON.parse(text || '{}'))) })
const wrong = (what, where, try_next) => ({ what, where, try_next })

function api(path, q, response) {
  const now = clock(), [, , part, key] = path.split('/').map(decodeURIComponent)
  const found = {
    health: () => ({ status: 'ok', version: 'stand-in', time: iso(now), clusters: [{ name: CLUSTER, newest: iso(now - 2), age: 2 }, { name: 'lab', newest: null, age: null }], spool: { files: 0, bytes: 0, oldest_age: 0 }, rejects: 0, mirror: [{ to: 'syslog+tls://siem.site.org:6514', sent: 48211, refused: 0, dropped: 0, waiting: 3, lag: 74, not_written: 0, trouble: 'ConnectionRefusedError: [Errno 111] Connection refused' }, { to: 'https://search.site.org:9200/_bulk', sent: 48302, refused: 2, dropped: 0, waiting: 0, lag: 0, not_written: 0, trouble: '' }], rollups: { settled: iso(now - 3600), waiting: 0, trouble: '' } }),
    now: () => answers.now(now), jobs: () => (key ? answers.job(key, now) : answers.jobs(q, now)),
    nodes: () => (key ? answers.nodePage(key, now) : { nodes: answers.now(now) && Array.from({ length: 8 }, (_, i) => answers.node(`compute${i}`, now)) }),
    senders: () => answers.senders(now), differs: () => answers.differs(q, now), series: () => answers.series(q, now), events: () => (key === 'patterns' ? answers.patterns(q, now) : key ? answers.searched(key, q, now) : answers.events(q, now)), fabric: () => ({ undefined: () => answers.fabric(q, now), part: () => answers.part(q, now), links: () => ({ links: answers.fabric(q, now).links, total: 12, bad: 1 }), findings: () => ({ findings: [] }), sharing: () => ({ job: null, links: [], by: '', jobs: [] }) })[key]?.(), jump: () => answers.jump(q, now),
  }[part]?.()
  if (found) send(response, 200, found)
  else send(response, 404, wrong(`There is no ${part?.replace(/s$/, '')} ${key ?? ''} here.`.replace('  ', ' '), path, 'go back to the list and pick one from there.'))
}

function live(request, response) {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  const tell = () => { for (const topic of ['points', 'jobs', 'nodes', 'fabric']) response.write(`event: change\ndata: ${JSON.stringify({ topic, time: iso(clock()), newest: iso(clock() - 1) })}\n\n`) }
  tell()
  const timer = setInterval(tell, 5000)
  request.on('close', () => clearInterval(timer))
}

function page(path, response) {
  const file = normalize(join(built, path))
  if (extname(file) && file.startsWith(built) && existsSync(file)) {
    response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' })
    return response.end(readFileSync(file))
  }
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', ...POLICY })
  response.end(readFileSync(join(built, 'index.html'), 'utf8').replace('<head>', '<head><base href="/">'))
}

createServer((request, response) => {
  const url = new URL(request.url, 'http://localhost'), q = Object.fromEntries(url.searchParams)
  if (!url.pathname.startsWith('/api/')) return page(url.pathname, response)
  if (url.pathname === '/api/health' && !request.headers.authorization) return send(response, 200, { status: 'ok', version: 'stand-in', time: iso(clock()) })
  if (request.headers.authorization !== `Bearer ${TOKEN}`) return send(response, 401, wrong('This needs a token.', url.pathname, 'open the address that `qnib status` prints.'))
  if (url.pathname === '/api/graph/cypher') return void body(request).then((asked) => send(response, 200, answers.connections(asked.params, clock())))
  return url.pathname === '/api/live' ? live(request, response) : api(url.pathname, q, response)
}).listen(port, '127.0.0.1', () => console.log(`stand-in (made-up data) on http://127.0.0.1:${port}/?token=${TOKEN}`))

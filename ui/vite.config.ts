// Builds the UI into the Python package; the server hands it out below any prefix (base './' and <base href>).
import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vitest/config'

// `npm run dev` needs something that answers: the stand-in (npm run stand-in) or a real `qnib serve`.
const server = process.env.QNIB_SERVER ?? 'http://127.0.0.1:8788'

export default defineConfig({
  base: './',
  plugins: [svelte()],
  build: { outDir: '../src/qnib/web/static', emptyOutDir: true, target: 'es2022', modulePreload: { polyfill: false } },
  server: { proxy: { '/api': { target: server, changeOrigin: false } } },
  test: { include: ['tests/**/*.test.ts'], environment: 'node' },
})

// Starts the UI: token, theme and address first, so that the first frame is already the right one.
import { mount } from 'svelte'
import App from './App.svelte'
import { address } from './state/address.svelte'
import { session } from './state/session.svelte'
import { theme } from './state/theme.svelte'
import './style/tokens.css'
import './style/base.css'
import './style/cards.css'

session.begin()
theme.begin()
address.read()
window.addEventListener('popstate', () => address.read())

mount(App, { target: document.getElementById('app') as HTMLElement })

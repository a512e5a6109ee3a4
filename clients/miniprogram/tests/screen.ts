/**
 * Components and pages on the simulator. Of TDesign's elements stand-ins are shown, which pass on what
 * is put into them; that we use each by attributes it has is another test's.
 */

import * as path from 'path'
import { TestPhone } from './phone'

/** Of the simulator, what is used here: its own types bring those of another WeChat with them. */
interface Simulator {
  load(what: string | object, options?: object): string
  render(id: string, properties: object): Screen
}

export interface Screen {
  dom?: Element
  data: Record<string, unknown>
  instance: { triggerEvent(event: string, detail: object): void }
  attach(at: Element): void
  setData(data: object): void
  querySelector(selector: string): Screen | undefined
  querySelectorAll(selector: string): Screen[]
  dispatchEvent(event: string, options?: object): void
  addEventListener(event: string, heard: (event: { detail: unknown }) => void): void
}

const simulate = require('miniprogram-simulate') as Simulator

const SOURCE = path.join(__dirname, '..', 'src')
const TDESIGN = 'button cell check-tag empty input popup progress rate slider textarea'.split(' ')

const loaded = new Map<string, string>()
let stands: Record<string, string> | null = null

/** `wx` of a phone, for everything that is loaded from now on. */
export function hold(phone: TestPhone): TestPhone {
  const mocked = (globalThis as { wx?: object }).wx ?? {}
  const all = new Proxy(phone, {
    get: (held, name) => {
      const own = Reflect.get(held, name) as unknown
      if (typeof own === 'function') return own.bind(held)
      return own ?? (Reflect.get(mocked, name) as unknown)
    },
  })
  ;(globalThis as { wx?: object }).wx = all
  return phone
}

/** A component or page, as `components/ab-player/ab-player`, on a screen. */
export function show(where: string, properties: object = {}): Screen {
  const id = loaded.get(where) ?? load(where)
  loaded.set(where, id)
  const screen = simulate.render(id, properties)
  screen.attach(document.createElement('main'))
  return screen
}

/** What has been said to whoever listens for `event`. */
export function told<T>(screen: Screen, event: string): T[] {
  const heard: T[] = []
  screen.addEventListener(event, ({ detail }) => heard.push(detail as T))
  return heard
}

/**
 * The user taps an element, or a component says something (which, as in WeChat, only its own listener
 * hears); and what follows at once has followed.
 */
export async function act(on: Screen | undefined, event = 'tap', detail: object = {}): Promise<void> {
  if (!on) throw new Error('there is no such element')
  if (event === 'tap') on.dispatchEvent(event, { detail })
  else on.instance.triggerEvent(event, detail)
  await new Promise((resolve) => setTimeout(resolve, 0))
}

export function words(screen: Screen, selector: string): string | undefined {
  return screen.querySelector(selector)?.dom?.textContent?.trim()
}

/** An instance with the methods of a page. */
export function page<T>(screen: Screen): T {
  return screen.instance as unknown as T
}

function load(where: string): string {
  stands ??= Object.fromEntries(
    TDESIGN.map((name) => [`t-${name}`, simulate.load({ template: '<slot/>', tagName: `t-${name}` })]),
  )
  return simulate.load(path.join(SOURCE, where), { compiler: 'simulate', rootPath: SOURCE, usingComponents: stands })
}

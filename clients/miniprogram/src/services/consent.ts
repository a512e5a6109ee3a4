/**
 * What has to be agreed to before the microphone: ours (whose voice it is, and what becomes of it),
 * WeChat's privacy guide, and the microphone itself. Knows their order. Refuses to record.
 */

import { Port } from './port'

export type Permissions = Pick<Port, 'getStorageSync' | 'setStorageSync'> &
  Pick<WechatMiniprogram.Wx, 'requirePrivacyAuthorize' | 'getSetting' | 'authorize'>

export type Microphone = 'granted' | 'privacy' | 'denied'

const STORED = 'voxrelay.consent'

/** Of the words that are agreed to: other words are agreed to anew. */
const VERSION = 1

export function hasConsented(port: Permissions): boolean {
  const held = port.getStorageSync<{ version: number } | ''>(STORED)
  return held !== '' && held?.version === VERSION
}

export function consent(port: Permissions, now: number = Date.now()): void {
  port.setStorageSync(STORED, { version: VERSION, at: now })
}

/** Asks for what is missing: WeChat's privacy guide first, since without it no scope is asked. */
export async function microphone(port: Permissions): Promise<Microphone> {
  if (!(await privacy(port))) return 'privacy'
  const known = await setting(port)
  if (known !== undefined) return known ? 'granted' : 'denied'
  return (await authorized(port)) ? 'granted' : 'denied'
}

function privacy(port: Permissions): Promise<boolean> {
  if (!port.requirePrivacyAuthorize) return Promise.resolve(true) // a WeChat from before the guide
  return new Promise((resolve) => {
    port.requirePrivacyAuthorize({ success: () => resolve(true), fail: () => resolve(false) })
  })
}

function setting(port: Permissions): Promise<boolean | undefined> {
  return new Promise((resolve) => {
    port.getSetting({
      success: ({ authSetting }) => resolve(authSetting['scope.record']),
      fail: () => resolve(undefined),
    })
  })
}

function authorized(port: Permissions): Promise<boolean> {
  return new Promise((resolve) => {
    port.authorize({ scope: 'scope.record', success: () => resolve(true), fail: () => resolve(false) })
  })
}

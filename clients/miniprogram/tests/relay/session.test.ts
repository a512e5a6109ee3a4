/** Signing in, staying signed in, and what happens when a session ends under us. */

import { isRefused } from '../../src/services/errors'
import { Phone } from './house'

const STORED = 'voxrelay.session'

test('many callers at once sign in once', async () => {
  const phone = new Phone()
  await Promise.all(Array.from({ length: 8 }, () => phone.relay.jobs()))
  expect(phone.asked('POST', '/v1/session')).toBe(1)
})

test('tokens outlive the mini-program', async () => {
  const phone = new Phone()
  await phone.relay.jobs()
  phone.boot()
  await phone.relay.jobs()
  expect(phone.asked('POST', '/v1/session')).toBe(1)
})

test('a token that has run out is renewed once for all who want it', async () => {
  const phone = new Phone()
  await phone.relay.jobs()
  phone.now = 3_600_000
  await Promise.all(Array.from({ length: 8 }, () => phone.relay.jobs()))
  expect(phone.asked('POST', '/v1/session/refresh')).toBe(1)
  expect(phone.asked('POST', '/v1/session')).toBe(1)
})

test('a session that was ended is begun anew, and the request sent again', async () => {
  const phone = new Phone()
  const before = await phone.relay.said<{ person: string }>({ method: 'GET', path: '/v1/session' })
  await phone.relay.ask({ method: 'DELETE', path: '/v1/session' })
  const after = await Promise.all(
    Array.from({ length: 4 }, () => phone.relay.said<{ person: string }>({ method: 'GET', path: '/v1/session' })),
  )
  expect(new Set(after.map((said) => said.person))).toEqual(new Set([before.person]))
  expect(phone.asked('POST', '/v1/session')).toBe(2)
})

test('tokens of another relay are none of this one', async () => {
  const phone = new Phone()
  await phone.relay.jobs()
  const held = phone.wx.getStorageSync(STORED) as object
  phone.wx.setStorageSync(STORED, { ...held, base: 'https://elsewhere.example', access: 'x' })
  await phone.relay.jobs()
  expect(phone.asked('POST', '/v1/session')).toBe(2)
})

test('a code that WeChat does not know is refused with a sentence', async () => {
  const phone = new Phone()
  phone.wx.codes.splice(0, 3, 'nonsense')
  const refused = await phone.relay.jobs().catch((error: unknown) => error)
  expect(isRefused(refused) && [refused.status, refused.code]).toEqual([401, 'code_refused'])
  expect((refused as { detail: string }).detail).toMatch(/登录/)
})

/** The relay goes and comes back while pages wait: nobody has to do anything. */

import * as fs from 'fs'
import { Job } from '../../src/services/shown'
import { wav } from '../../src/services/sound'
import { textsIn } from '../../src/texts/index'
import { rewire } from '../../src/wired'
import { TestPhone } from '../phone'
import { act, hold, page, Screen, show, words } from '../screen'
import { bytesOf, speech } from '../sounds'
import { until } from '../until'
import { codes, SAID } from '../relay/house'

const t = textsIn('zh')
const phone = hold(new TestPhone(codes()))
rewire(process.env['VOXRELAY_TEST_SWITCHED'] ?? '')

interface Page {
  onLoad(query: object): Promise<void>
  onShow(): Promise<void>
  onUnload(): void
}

const open: Page[] = []

afterAll(() => open.forEach((each) => each.onUnload()))

async function opened(where: string, query: object = {}): Promise<Screen> {
  const screen = show(where)
  open.push(page<Page>(screen))
  await page<Page>(screen).onLoad(query)
  await page<Page>(screen).onShow()
  return screen
}

async function asked(create: Screen, text: string): Promise<void> {
  const path = `${phone.folder}/recording-${Date.now()}.wav`
  fs.writeFileSync(path, Buffer.from(wav(bytesOf(speech(4)))))
  await act(create.querySelector('#recorder'), 'take', { path, seconds: 4, verdict: 'good', live: null })
  await act(create.querySelector('#editor'), 'change', { text, over: false })
  await act(create.querySelector('#submit'))
}

async function relayIs(on: 'on' | 'off'): Promise<void> {
  const { status } = await fetch(`${process.env['VOXRELAY_TEST_SWITCH']}/${on}`, { method: 'POST' })
  expect(status).toBe(204)
}

test('a job is found again, and what could not be sent is sent', async () => {
  const create = await opened('pages/create/create')
  await asked(create, SAID.waits)
  const [url] = await until(() => phone.went.length === 1 && phone.went)
  const waiting = await opened('pages/job/job', { id: url?.split('id=')[1] })
  const job = () => waiting.data['job'] as Job
  await until(() => job().state === 'uploaded' && phone.sockets.some((socket) => socket.readyState === socket.OPEN))

  await relayIs('off')
  await until(() => phone.sockets.every((socket) => socket.readyState === socket.CLOSED))
  await asked(create, SAID.release)
  await until(() => words(create, '#notice') === t.unreachable)
  expect(create.querySelector('#pending')).toBeDefined()
  expect([job().state, words(waiting, '#notice')]).toEqual(['uploaded', undefined])

  await relayIs('on')
  await until(() => phone.went.length === 2) // nobody has tapped
  expect((await until(() => job().ended && job())).state).toBe('delivered')
  const jobs = phone.storage.get('voxrelay.jobs') ?? '[]'
  expect((JSON.parse(jobs) as object[])).toHaveLength(2)
  expect(phone.sockets.filter((socket) => socket.readyState === socket.OPEN)).toHaveLength(0)
})

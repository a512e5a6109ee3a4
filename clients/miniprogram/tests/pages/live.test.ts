/** A recording that is sent while it is made, from the panel to the relay. */

import * as fs from 'fs'
import { Take } from '../../src/services/recorder'
import { consent } from '../../src/services/consent'
import { textsIn } from '../../src/texts/index'
import { rewire } from '../../src/wired'
import { TestPhone } from '../phone'
import { act, hold, page, show, told } from '../screen'
import { bytesOf, speech } from '../sounds'
import { until } from '../until'
import { BASE, codes } from '../relay/house'

type LiveTake = Take & { live: { upload: string } | null }

const t = textsIn('zh')
const phone = hold(new TestPhone(codes()))
const house = rewire(BASE)
const pcm = bytesOf(speech(4))

/** A panel that has recorded four seconds, and what it says of them. */
async function recorded() {
  consent(phone.port as never)
  const screen = show('components/record-panel/record-panel', { t, least: 3, most: 10, live: true })
  const takes = told<LiveTake>(screen, 'take')
  const before = phone.microphone.started.length
  await act(screen.querySelector('#record'))
  await until(() => phone.microphone.started.length > before)
  for (let at = 0; at < pcm.byteLength; at += 16_000) phone.microphone.frame(pcm.slice(at, at + 16_000))
  await until(() => phone.sockets[phone.sockets.length - 1]?.readyState === 1)
  const path = `${phone.folder}/take.pcm`
  fs.writeFileSync(path, Buffer.from(new Uint8Array(pcm)))
  return { screen, takes, stop: () => phone.microphone.stopped(path, 4000) }
}

test('a take may be used at once; that it lies at the relay already is told when it is known', async () => {
  const { takes, stop } = await recorded()
  await until(() => phone.heard.some((said) => said.includes('"offset"'))) // it flows
  stop()
  await until(() => takes.length === 2)
  expect(takes[0]?.live).toBeNull()
  expect(takes[1]?.path).toBe(takes[0]?.path)
  const head = { method: 'HEAD' as const, path: `/v1/uploads/${takes[1]?.live?.upload}` }
  expect((await house.relay.ask(head)).headers['upload-offset']).toBe(String(pcm.byteLength))
})

test('one that was thrown away meanwhile is not told of, and is removed there', async () => {
  phone.heard.length = 0
  const { screen, takes, stop } = await recorded()
  await until(() => phone.heard.some((said) => said.includes('"offset"')))
  screen.addEventListener('take', () => page<{ again(): void }>(screen).again()) // before it has arrived
  stop()
  const [gone] = await until(() => {
    const all = phone.traffic.filter(({ method }) => method === 'DELETE')
    return all.length > 0 && all
  })
  expect(gone?.path).toMatch(/^\/v1\/uploads\/./)
  expect(takes).toHaveLength(1)
})

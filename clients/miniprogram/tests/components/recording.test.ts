/** A recording, from the first question to the verdict. */

import * as fs from 'fs'
import { Take } from '../../src/services/recorder'
import { hasHeader } from '../../src/services/sound'
import { textsIn } from '../../src/texts/index'
import { rewire } from '../../src/wired'
import { TestPhone } from '../phone'
import { act, hold, show, told, words } from '../screen'
import { bytesOf, speech } from '../sounds'
import { until } from '../until'

const t = textsIn('zh')

function opened(prepare: (phone: TestPhone) => void = () => undefined) {
  const phone = hold(new TestPhone())
  prepare(phone)
  rewire('https://relay.example')
  const screen = show('components/record-panel/record-panel', { t, least: 3, most: 10 })
  return { phone, screen, takes: told<Take>(screen, 'take') }
}

/** Past the consent, to where it records. */
async function recording(prepare?: (phone: TestPhone) => void) {
  const it = opened(prepare)
  await act(it.screen.querySelector('#record'))
  await act(it.screen.querySelector('#consent'), 'agree')
  await until(() => it.phone.microphone.started.length > 0)
  return it
}

function file(phone: TestPhone, name: string, bytes: ArrayBuffer): string {
  const path = `${phone.folder}/${name}`
  fs.writeFileSync(path, Buffer.from(new Uint8Array(bytes)))
  return path
}

test('nobody is recorded before they have agreed', async () => {
  const { phone, screen } = opened()
  await act(screen.querySelector('#record'))
  expect(screen.data['asking']).toBe(true)
  await act(screen.querySelector('#consent'), 'disagree')
  expect(phone.microphone.started).toEqual([])
  await act(screen.querySelector('#record'))
  await act(screen.querySelector('#consent'), 'agree')
  await until(() => phone.microphone.started.length > 0)
  expect(phone.microphone.started[0]).toMatchObject({ sampleRate: 16_000, numberOfChannels: 1, duration: 10_000 })
  const again = show('components/record-panel/record-panel', { t })
  await act(again.querySelector('#record'))
  expect(again.data['asking']).toBe(false) // agreed is agreed
})

test('without the privacy guide or the microphone there is a sentence and a way on', async () => {
  const refused = opened((phone) => (phone.privacy = false))
  await act(refused.screen.querySelector('#record'))
  await act(refused.screen.querySelector('#consent'), 'agree')
  await until(() => words(refused.screen, '#blocked') === t.privacyNeeded)
  expect(refused.screen.querySelector('#settings')).toBeUndefined()

  const denied = opened((phone) => (phone.answers = false))
  await act(denied.screen.querySelector('#record'))
  await act(denied.screen.querySelector('#consent'), 'agree')
  await until(() => words(denied.screen, '#blocked') === t.microphoneNeeded)
  await act(denied.screen.querySelector('#settings'))
  expect([denied.phone.settingsOpened, denied.phone.microphone.started.length]).toEqual([1, 0])
  await act(denied.screen.querySelector('#record'))
  await until(() => denied.phone.microphone.started.length > 0)
})

test('a meter moves, and a good take is a WAV', async () => {
  const { phone, screen, takes } = await recording()
  const pcm = speech(4)
  phone.microphone.frame(bytesOf(pcm.subarray(0, 1600)))
  expect(screen.data['level']).toBeGreaterThan(50)
  expect(screen.data['left']).toBe('剩余 10 秒')
  await act(screen.querySelector('#stop'))
  expect(phone.microphone.stops).toBe(1)
  phone.microphone.stopped(file(phone, 'tmp.pcm', bytesOf(pcm)), 4000)
  const [take] = await until(() => takes.length > 0 && takes)
  expect(take).toMatchObject({ verdict: 'good', seconds: 4, live: null })
  const kept = fs.readFileSync(take?.path ?? '')
  expect(hasHeader(new Uint8Array(kept).buffer)).toBe(true)
  expect(kept.length).toBe(44 + pcm.byteLength)
  expect(words(screen, '#verdict')).toBe(t.verdict_good)
  await act(screen.querySelector('#listen'))
  expect(phone.sound.src).toBe(take?.path)
})

test.each([
  ['silent', speech(4, 0, 0.0005)],
  ['loud', speech(4, 2)],
  ['short', speech(1)],
] as const)('a %s take is told before anything is sent', async (verdict, pcm) => {
  const { phone, screen, takes } = await recording()
  phone.microphone.stopped(file(phone, 'tmp.pcm', bytesOf(pcm)), pcm.length / 16)
  await until(() => takes.length > 0)
  expect(takes[0]?.verdict).toBe(verdict)
  expect(words(screen, '#verdict')).toBe(t[`verdict_${verdict}`].replace('{n}', '3'))
  const drops = told(screen, 'drop')
  await act(screen.querySelector('#again'))
  expect(drops).toHaveLength(1)
  expect(screen.querySelector('#record')).toBeDefined()
})

test('a phone that gives no bare samples records MP3, without a meter', async () => {
  const { phone, screen, takes } = await recording((phone) => (phone.microphone.cannot = ['PCM']))
  expect(phone.microphone.started.map((option) => option.format)).toEqual(['PCM', 'mp3'])
  expect(screen.data['bare']).toBe(false)
  const mp3 = Uint8Array.from([0x49, 0x44, 0x33, 4, ...new Array<number>(60).fill(0)]).buffer
  phone.microphone.stopped(file(phone, 'tmp.mp3', mp3), 5000)
  await until(() => takes.length > 0)
  expect(takes[0]).toMatchObject({ verdict: 'good', seconds: 5 })
  expect(takes[0]?.path).toMatch(/\.mp3$/)
})

test('a phone that can record nothing says so', async () => {
  const { screen } = await recording((phone) => (phone.microphone.cannot = ['PCM', 'mp3', 'aac']))
  expect(words(screen, '#blocked')).toBe(t.recordingFailed)
})

test('a call that comes in ends the take', async () => {
  const { phone } = await recording()
  phone.microphone.interrupted()
  expect(phone.microphone.stops).toBe(1)
})

/** From the first tap to listening, page by page, against the relay. */

import * as fs from 'fs'
import { Job } from '../../src/services/shown'
import { textsIn } from '../../src/texts/index'
import { rewire } from '../../src/wired'
import { TestPhone } from '../phone'
import { act, hold, page, show, words } from '../screen'
import { bytesOf, speech } from '../sounds'
import { until } from '../until'
import { BASE, codes, SAID } from '../relay/house'

const t = textsIn('zh')

interface Page {
  onLoad(query: object): Promise<void>
  onShow(): void
  onHide(): void
  onUnload(): void
  onShareAppMessage(): { title: string; path: string }
}

const phone = hold(new TestPhone(codes()))
const house = rewire(BASE)
let jobPage: Page | null = null

afterAll(() => jobPage?.onUnload())

async function opened(where: string, query: object = {}) {
  const screen = show(where)
  await page<Page>(screen).onLoad(query)
  page<Page>(screen).onShow?.()
  return screen
}

test('a voice and a text go in, speech comes out, is heard, kept, handed on and asked for again', async () => {
  const create = await opened('pages/create/create')
  await act(create.querySelector('#submit'))
  expect(words(create, '#notice')).toBe(t.needRecording)

  // The microphone
  await act(create.querySelector('#recorder'), 'take', await recorded())
  await act(create.querySelector('#submit'))
  expect(words(create, '#notice')).toBe(t.needText)
  await act(create.querySelector('#editor'), 'change', { text: SAID.spoken, over: false })
  await act(create.querySelector('#submit'))
  const [url] = await until(() => phone.went.length > 0 && phone.went)
  const id = /id=(.+)$/.exec(url ?? '')?.[1] ?? ''

  // The job
  const screen = await opened('pages/job/job', { id })
  jobPage = page<Page>(screen)
  const job = () => screen.data['job'] as Job
  await until(() => job().state === 'delivered')
  await until(() => screen.querySelector('#player'))
  expect(screen.dom?.textContent).toContain(t.label)
  expect(screen.data['recording']).toMatch(/recording-.*\.wav$/)
  expect(jobPage.onShareAppMessage().title).toBe(`[${t.label}] ${SAID.spoken}`)

  phone.taps = false // fetching it has outlasted the tap
  await act(screen.querySelector('#file'))
  await until(() => words(screen, '#notice') === t.tapAgain)
  phone.taps = true
  const asked = phone.traffic.length
  await act(screen.querySelector('#file'))
  expect(phone.traffic).toHaveLength(asked)
  const [file] = await until(() => phone.shared.length > 0 && phone.shared)
  expect(fs.statSync(file?.filePath ?? '').size).toBe(job().audio?.bytes)
  expect(file?.fileName).toBe(`${t.label}-${id.slice(0, 8)}.mp3`)

  await act(screen.querySelector('#keep'))
  const kept = await until(() => screen.data['kept'] as string)
  expect(fs.statSync(kept).size).toBe(job().audio?.bytes)
  expect(screen.querySelector('#player')?.data['result']).toBe(kept)
  expect(screen.querySelector('#keep')).toBeUndefined()

  // What this relay has no door for goes away
  const doors = await house.relay.said<{ paths: object }>({ method: 'GET', path: '/openapi.json' })
  const has = (what: string) => `/v1/jobs/{job_id}/${what}` in doors.paths
  await act(screen.querySelector('#player'), 'heard')
  await act(screen.querySelector('#feedback'), 'rate', { stars: 5 })
  await until(() => screen.data['told'] === has('rating') && screen.data['feedback'] === has('rating'))
  expect(screen.querySelector('#feedback') !== undefined).toBe(has('rating'))

  // Once more is another job with the same voice
  await act(screen.querySelector('#retry'))
  const again = await until(() => phone.went.length > 1 && phone.went[1])
  expect(again).toMatch(/job\?id=/)
  expect(again).not.toContain(id)

  // The history
  const history = await opened('pages/history/history')
  await until(() => history.querySelectorAll('.job').length === 2)
  await act(history.querySelectorAll('.job')[1], 'click')
  expect(phone.went[2]).toBe(url)
})

test('a recording that nothing became of is gone with the next start; one of a job is not', async () => {
  const { path } = (await recorded()) as { path: string }
  const used = house.known.all()[0]?.recording ?? ''
  await house.tidy()
  expect([fs.existsSync(path), fs.existsSync(used)]).toEqual([false, true])
})

test('a job of somebody else is not there', async () => {
  const screen = await opened('pages/job/job', { id: '00000000-0000-4000-8000-000000000000' })
  await until(() => words(screen, '#notice'))
  expect(screen.data['job']).toEqual({})
})

/** A take, as the recorder keeps it. */
async function recorded(): Promise<object> {
  const path = `${phone.folder}/take.pcm`
  fs.writeFileSync(path, Buffer.from(new Uint8Array(bytesOf(speech(4)))))
  const taken = new Promise<object>((resolve, reject) => {
    house.recorder.start(
      { least: 3, most: 10 },
      { started: () => undefined, frame: () => undefined, stopped: resolve, failed: () => reject(new Error('failed')) },
    )
  })
  phone.microphone.stopped(path, 4000)
  return { ...(await taken), live: null }
}

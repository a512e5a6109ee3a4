/** Voices and lessons on the screen, against the relay. */

import * as fs from 'fs'
import { Job } from '../../src/services/shown'
import { wav } from '../../src/services/sound'
import { textsIn } from '../../src/texts/index'
import { rewire } from '../../src/wired'
import { TestPhone } from '../phone'
import { act, hold, page, Screen, show, words } from '../screen'
import { bytesOf, speech } from '../sounds'
import { until } from '../until'
import { BASE, codes, Phone, SAID } from '../relay/house'

const t = textsIn('zh')

interface Page {
  onLoad(query: object): Promise<void>
  onShow(): Promise<void>
  onUnload(): void
}

const phone = hold(new TestPhone(codes()))
const house = rewire(BASE)
let left: Page | null = null

afterEach(() => left?.onUnload())

async function opened(where: string, query: object = {}): Promise<Screen> {
  const screen = show(where)
  await page<Page>(screen).onLoad(query)
  await page<Page>(screen).onShow?.()
  return screen
}

function recorded(): { path: string } {
  const path = `${phone.folder}/recording-1.wav`
  fs.writeFileSync(path, Buffer.from(wav(bytesOf(speech(4)))))
  const take = { path, seconds: 4, verdict: 'good', live: null }
  return take
}

function query(url: string | undefined): Record<string, string> {
  return Object.fromEntries(new URL(`wx:${url}`).searchParams)
}

test('a recording is saved as a voice, used, shared and taken back', async () => {
  const create = await opened('pages/create/create')
  await act(create.querySelector('#recorder'), 'take', recorded())
  await act(create.querySelector('#keep'))
  expect(create.data['keeping']).toBe(true)
  await act(create.querySelector('#sheet'), 'save', { name: '妈妈', of: 'other', statement: t.agreeOther })
  await until(() => (create.data['voices'] as object[]).length === 1)
  const voice = create.data['voice']
  expect(create.data).toMatchObject({ keeping: false, voices: [{ id: voice, name: '妈妈' }] })

  await act(create.querySelector('#editor'), 'change', { text: SAID.spoken, over: false })
  await act(create.querySelector('#submit'))
  await until(() => phone.went.length === 1)
  const sent = phone.traffic.filter(({ method, path }) => method === 'POST' && path === '/v1/jobs')
  expect(sent[0]?.headers['Content-Type']).toBe('application/json') // and no file

  const voices = await opened('pages/voices/voices')
  const row = await until(() => voices.querySelector('.voice'))
  expect(row.dom?.textContent).toContain('妈妈')
  await act(voices.querySelector('.use'))
  expect(phone.went[1]).toBe(`/pages/create/create?voice=${voice}`)
  const again = await opened('pages/create/create', query(phone.went[1]))
  expect(again.data['voice']).toBe(voice)

  await act(voices.querySelector('.share'))
  const code = await until(() => words(voices, '#made'))
  await act(voices.querySelector('#copy'))
  expect(phone.clipboard).toEqual([code])

  phone.confirms = false
  await act(voices.querySelector('.revoke'))
  expect(phone.asked[0]).toContain('妈妈')
  expect(voices.querySelector('.use')).toBeDefined()
  phone.confirms = true
  await act(voices.querySelector('.revoke'))
  await until(() => voices.querySelector('#empty'))
  expect(voices.querySelector('.use')).toBeUndefined()
  await page<Page>(again).onShow()
  expect(again.data).toMatchObject({ voice: '', voices: [] })
})

test('a voice gets another name; who may use it is seen, and stopped', async () => {
  const friend = new Phone()
  const { id } = await house.voices.save({ name: '妈妈', of: 'other', statement: t.agreeOther, recording: recorded().path })
  await friend.voices.accept(await house.voices.share(id))
  await house.voices.share(id)
  const voices = await opened('pages/voices/voices')
  phone.writes = ' 外婆 '
  await act(voices.querySelector('.rename'))
  expect(phone.asked[phone.asked.length - 1]).toBe('妈妈') // to be written over
  await until(() => words(voices, '.title') === '外婆')
  phone.confirms = false
  await act(voices.querySelector('.rename'))
  phone.confirms = true
  expect((await house.voices.all())?.map(({ name }) => name)).toEqual(['外婆'])

  await act(voices.querySelector('.shares'))
  await until(() => voices.querySelectorAll('.unshare').length === 2)
  const said = voices.querySelectorAll('.shared').map((each) => each.dom?.textContent)
  expect(said[0]).toContain(t.shareTaken)
  expect(said[1]).toContain(t.shareWaits)
  await act(voices.querySelector('.unshare'))
  await until(() => voices.querySelectorAll('.unshare').length === 1)
  expect(await friend.voices.all()).toEqual([])
  await act(voices.querySelector('.unshare'))
  await until(() => voices.dom?.textContent?.includes(t.sharesNone))
  await act(voices.querySelector('.shares'))
  await until(() => !voices.dom?.textContent?.includes(t.sharesNone))
  await house.voices.revoke(id)
})

test('a code that is none says so', async () => {
  const voices = await opened('pages/voices/voices')
  await act(voices.querySelector('#code'), 'change', { value: ' nothing ' })
  await act(voices.querySelector('#accept'))
  expect(await until(() => words(voices, '#notice'))).toBeTruthy()
})

test('a lesson: one recording, its dialects side by side, each heard and opened', async () => {
  const create = await opened('pages/create/create')
  await act(create.querySelector('#recorder'), 'take', recorded())
  await act(create.querySelector('#editor'), 'change', { text: SAID.spoken, over: false })
  const variants = [{ style: 'sichuan' }, { style: 'cantonese' }]
  await act(create.querySelector('#manner'), 'change', { mode: 'instruct', variants })
  phone.went.length = 0
  await act(create.querySelector('#submit'))
  const [url] = await until(() => phone.went.length > 0 && phone.went)
  expect(url).toMatch(/^\/pages\/lesson\/lesson\?ids=.+,.+/)

  const lesson = await opened('pages/lesson/lesson', query(url))
  left = page<Page>(lesson)
  await until(() => lesson.querySelectorAll('.play').length === 2)
  expect(lesson.querySelectorAll('.name').map((each) => each.dom?.textContent)).toEqual(['四川话', '广东话'])
  expect(lesson.querySelector('#recording')).toBeDefined()
  expect(lesson.dom?.textContent).toContain(t.label)
  const rows = lesson.data['rows'] as { id: string; job: Job }[]
  await act(lesson.querySelectorAll('.play')[1])
  expect(phone.sound.src).toBe(rows[1]?.job.audio?.url)
  expect(lesson.data['playing']).toBe(rows[1]?.job.audio?.url)
  await act(lesson.querySelectorAll('.open')[1])
  expect(phone.went[1]).toBe(`/pages/job/job?id=${rows[1]?.id}`)
})

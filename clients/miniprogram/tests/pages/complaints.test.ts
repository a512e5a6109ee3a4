/** A job that was complained of: what is said of it, until a person has looked and after. */

import * as fs from 'fs'
import { wav } from '../../src/services/sound'
import { textsIn } from '../../src/texts/index'
import { rewire } from '../../src/wired'
import { TestPhone } from '../phone'
import { act, hold, page, Screen, show, words } from '../screen'
import { bytesOf, speech } from '../sounds'
import { until } from '../until'
import { BASE, codes, OPERATOR, PART, SAID } from '../relay/house'

const t = textsIn('zh')

interface Page {
  onLoad(query: object): Promise<void>
  onUnload(): void
}

const phone = hold(new TestPhone(codes()))
const house = rewire(BASE)
let left: Page | null = null

afterEach(() => left?.onUnload())

async function sent(text: string): Promise<string> {
  const path = `${phone.folder}/recording-1.wav`
  fs.writeFileSync(path, Buffer.from(wav(bytesOf(speech(4)))))
  house.outbox.put({ text, format: 'mp3' }, path)
  return (await house.outbox.send(PART)).job_id
}

async function opened(id: string): Promise<Screen> {
  left?.onUnload()
  const screen = show('pages/job/job')
  left = page<Page>(screen)
  await left.onLoad({ id })
  return screen
}

/** What somebody who looks after the relay finds. */
async function decided(job: string, approve: boolean): Promise<void> {
  const { http } = house.relay
  const { body } = await http.ask({ method: 'GET', path: '/v1/review' }, OPERATOR)
  const item = (body as { items: { id: string; job: string }[] }).items.find((each) => each.job === job)
  const word = { approve, reason: 'somebody looked' }
  await http.ask({ method: 'POST', path: `/v1/review/${item?.id}`, body: word }, OPERATOR)
}

test('an appeal, and what came of it; it is not asked for twice', async () => {
  const id = await sent(SAID.rejected)
  const screen = await opened(id)
  await act(await until(() => screen.querySelector('#appeal')), 'appeal', { note: '这是一句台词。' })
  await until(() => screen.data['told'] === true)
  const waiting = await opened(id)
  await until(() => words(waiting, '.complaint') === `${t.appeal} · ${t.undecided}`)
  expect(waiting.querySelector('#appeal')).toBeUndefined()
  await decided(id, true)
  const over = await opened(id)
  await until(() => words(over, '.complaint') === `${t.appeal} · ${t.upheld}`)
})

test('a report, and that it was not right', async () => {
  const id = await sent(SAID.spoken)
  const screen = await opened(id)
  await act(await until(() => screen.querySelector('#feedback')), 'report', { reason: 'fraud', note: '' })
  await until(() => screen.data['told'] === true)
  await decided(id, false)
  const over = await opened(id)
  await until(() => words(over, '.complaint') === `${t.report} · ${t.reason_fraud} · ${t.notUpheld}`)
})

/** A job is followed to its end: over the line, without one, and after whatever interrupts. */

import { catalogue, USUAL } from '../../src/services/catalogue'
import { Live } from '../../src/services/live'
import { RATE } from '../../src/services/sound'
import { NodePort } from '../port'
import { bytesOf, speech } from '../sounds'
import { until } from '../until'
import { Heard, PART, Phone, restAll, SAID } from './house'

afterEach(restAll)

/** Lets every job go on that waits. */
async function release(): Promise<void> {
  await new Phone().sends(SAID.release)
}

/** A job that stands still at `uploaded`, and who follows it. */
async function waiting(wx?: NodePort) {
  const phone = wx ? new Phone(wx) : new Phone()
  const heard = new Heard()
  const { job_id: id } = await phone.sends(SAID.waits)
  const following = phone.follow(id, heard)
  following.start()
  await until(() => heard.last?.state === 'uploaded')
  return { phone, heard, following, id }
}

test('news come over the line, and the end with its sound', async () => {
  const { phone, heard, following, id } = await waiting()
  await until(() => following.way === 'line')
  const asked = () => phone.asked('GET', `/v1/jobs/${id}`)
  await release()
  const end = await until(() => heard.end)
  expect(end.state).toBe('delivered')
  expect(end.steps.map((step) => step.state)).toEqual(['uploaded', 'approved', 'delivered'])
  expect(asked()).toBeLessThan(10)
  const file = await phone.files.fetch(end.audio?.url ?? '')
  expect(await phone.files.size(file)).toBe(end.audio?.bytes)
  await until(() => phone.wx.sockets.every((socket) => socket.readyState === socket.CLOSED))
})

test('where no line can be had the job is asked for', async () => {
  const phone = new Phone()
  phone.wx.socketsAllowed = false
  const heard = new Heard()
  const { job_id: id } = await phone.sends(SAID.spoken)
  const following = phone.follow(id, heard)
  following.start()
  const end = await until(() => heard.end)
  expect(end.state).toBe('delivered')
  expect(following.way).toBe('asking')
})

test('a line that is cut is opened again', async () => {
  const { phone, heard, following } = await waiting()
  await until(() => following.way === 'line')
  phone.wx.sockets.forEach((socket) => socket.terminate())
  await until(() => following.way === 'asking')
  await until(() => following.way === 'line')
  await release()
  expect((await until(() => heard.end)).state).toBe('delivered')
})

test('what happened in the background is known on coming back, and nothing is heard meanwhile', async () => {
  const { phone, heard, following, id } = await waiting()
  following.rest()
  const before = heard.jobs.length
  await release()
  for (let ended = false; !ended; ) ended = (await phone.relay.job(id)).ended
  expect(heard.jobs).toHaveLength(before)
  following.start()
  expect((await until(() => heard.end)).state).toBe('delivered')
})

test('the network goes and comes back', async () => {
  const { phone, heard, following } = await waiting()
  phone.wx.socketsAllowed = false
  phone.wx.before = () => {
    throw new Error('no network')
  }
  phone.wx.network(false)
  await until(() => following.way === 'asking')
  await release()
  phone.wx.socketsAllowed = true
  phone.wx.before = () => undefined
  phone.wx.network(true)
  expect((await until(() => heard.end)).state).toBe('delivered')
})

test('a job is found again by a mini-program that was ended', async () => {
  const { phone, following, id } = await waiting()
  following.rest()
  phone.boot()
  expect(phone.known.running()?.id).toBe(id)
  await release()
  const heard = new Heard()
  phone.follow(id, heard).start()
  const end = await until(() => heard.end)
  phone.known.end(end.job_id)
  expect(phone.known.running()).toBeUndefined()
})

test('a session that ends under a line is begun anew', async () => {
  const { phone, heard, following, id } = await waiting()
  await until(() => following.way === 'line')
  await phone.relay.ask({ method: 'DELETE', path: '/v1/session' })
  following.rest()
  following.start()
  await until(() => following.way === 'line')
  await release()
  expect((await until(() => heard.end)).job_id).toBe(id)
  expect(phone.asked('POST', '/v1/session')).toBe(2)
})

test('a rejection says why, and another person\'s job is not there', async () => {
  const phone = new Phone()
  const heard = new Heard()
  const { job_id: id } = await phone.sends(SAID.rejected)
  phone.follow(id, heard).start()
  const end = await until(() => heard.end)
  expect([end.state, end.reasons?.[0]?.message]).toEqual(['rejected', '含有违禁词。'])
  const stranger = new Heard()
  new Phone().follow(id, stranger).start()
  await until(() => stranger.error)
  expect(stranger.error).toMatchObject({ code: 'job_unknown' })
  expect(stranger.jobs).toEqual([])
})

/** A recording of four seconds, in frames, as it is made. */
async function made(phone: Phone): Promise<string | null> {
  const live = new Live(phone.wx.port, phone.relay)
  await live.begin()
  const pcm = bytesOf(speech(4))
  for (let at = 0; at < pcm.byteLength; at += 16_000) live.frame(pcm.slice(at, at + 16_000))
  await until(() => live.ready)
  return live.end()
}

test('a recording that is sent while it is made has arrived when it ends', async () => {
  const phone = new Phone()
  const upload = await made(phone)
  expect(upload).toBeTruthy()
  const came = { upload: upload ?? '', pcm: { sample_rate: RATE } }
  phone.outbox.put({ text: SAID.spoken, format: 'mp3' }, await phone.recorded(4), came)
  const heard = new Heard()
  phone.follow((await phone.outbox.send(PART)).job_id, heard).start()
  expect((await until(() => heard.end)).recording?.seconds).toBeCloseTo(4, 1)
  expect(phone.asked('POST', '/v1/uploads')).toBe(0)
})

test('what was thrown away while it was made is gone from the relay', async () => {
  const phone = new Phone()
  const live = new Live(phone.wx.port, phone.relay)
  await live.begin()
  live.frame(bytesOf(speech(1)))
  await until(() => live.ready)
  await live.cancel()
  const [gone] = phone.wx.traffic.filter(({ method }) => method === 'DELETE')
  expect(gone?.path).toMatch(/^\/v1\/uploads\/./)
  await expect(phone.relay.ask({ method: 'HEAD', path: gone?.path ?? '' })).rejects.toMatchObject({ status: 404 })
})

test('a relay without that door is sent the recording as usual', async () => {
  const phone = new Phone()
  phone.wx.lacking = ['/v1/uploads']
  expect(await made(phone)).toBeNull()
})

test('what the relay offers is what is picked from', async () => {
  const phone = new Phone()
  const offer = await catalogue(phone.relay)
  expect(offer.styles.find((style) => style.name === 'gentle')?.label.zh).toBe('温柔')
  expect(offer.dialects.find((dialect) => dialect.name === 'sichuan')?.instruct).toMatch(/四川话/)
  expect(offer.limits.part_bytes).toBeGreaterThan(0)
  phone.wx.lacking = ['/v1/catalogue']
  expect(await catalogue(phone.relay)).toBe(USUAL)
})

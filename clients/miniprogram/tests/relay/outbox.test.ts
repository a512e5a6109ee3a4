/** A request is one job, whatever happens to the line, to the mini-program, or to both. */

import { isRefused, isUnreachable } from '../../src/services/errors'
import { takesParts } from '../../src/services/parts'
import { wav } from '../../src/services/sound'
import { bytesOf, speech } from '../sounds'
import { PART, Phone, SAID } from './house'

const JOBS = '/v1/jobs'

async function ids(phone: Phone): Promise<string[]> {
  return (await phone.relay.jobs()).jobs.map((job) => job.job_id)
}

test('a recording and a text become a job, and the phone knows it', async () => {
  const phone = new Phone()
  const job = await phone.sends(SAID.spoken)
  expect(job.state).toBe('accepted')
  expect(phone.outbox.pending()).toBeNull()
  expect(await ids(phone)).toEqual([job.job_id])
  const known = phone.known.find(job.job_id)
  expect(known?.wish.text).toBe(SAID.spoken)
  expect(await phone.files.exists(known?.recording ?? '')).toBe(true)
})

test('sending twice at once is sending once', async () => {
  const phone = new Phone()
  phone.outbox.put({ text: SAID.spoken, format: 'mp3' }, await phone.recorded())
  const [one, other] = await Promise.all([phone.outbox.send(PART), phone.outbox.send(PART)])
  expect(one.job_id).toBe(other.job_id)
  expect(phone.asked('POST', JOBS)).toBe(1)
})

test('an answer that is lost costs nothing: after a restart the same job is found', async () => {
  const phone = new Phone()
  phone.wx.after = ({ method, path }) => {
    if (method === 'POST' && path === JOBS) throw new Error('the line broke')
  }
  const lost = await phone.sends(SAID.spoken).catch((error: unknown) => error)
  expect(isUnreachable(lost)).toBe(true)
  const [accepted] = await ids(phone)
  expect(phone.outbox.pending()).not.toBeNull()
  phone.wx.after = () => undefined
  phone.boot()
  const job = await phone.outbox.send(PART)
  expect(job.job_id).toBe(accepted)
  expect(await ids(phone)).toEqual([accepted])
  const keys = phone.wx.traffic.filter((each) => each.path === JOBS && each.method === 'POST')
  expect(new Set(keys.map((each) => each.headers['Idempotency-Key'])).size).toBe(1)
})

test('what waits is not replaced by what is put in after it', async () => {
  const phone = new Phone()
  const first = phone.outbox.put({ text: '一', format: 'mp3' }, 'a.wav')
  expect(phone.outbox.put({ text: '二', format: 'mp3' }, 'b.wav')).toEqual(first)
  phone.outbox.discard()
  expect(phone.outbox.put({ text: '二', format: 'mp3' }, 'b.wav').key).not.toBe(first.key)
})

test('a refusal for good says why and leaves nothing behind', async () => {
  const phone = new Phone()
  const refused = await phone.sends('  ').catch((error: unknown) => error)
  expect(isRefused(refused) && refused.status).toBe(422)
  expect((refused as { detail: string }).detail).toBeTruthy()
  expect(phone.outbox.pending()).toBeNull()
})

test('a quota is over by itself: the request stays, and says when', async () => {
  const phone = new Phone()
  const sent: unknown[] = []
  let refused: unknown
  for (let n = 0; n < 5 && !refused; n += 1) {
    await phone.sends(SAID.spoken).then(
      (job) => sent.push(job),
      (error: unknown) => (refused = error),
    )
  }
  expect(sent).toHaveLength(3)
  expect(isRefused(refused) && refused.code).toBe('quota_exceeded')
  expect((refused as { retryAfter: number }).retryAfter).toBeGreaterThan(0)
  expect(phone.outbox.pending()).not.toBeNull()
})

test.each([
  ['a proxy that knows no such page', { status: 404, headers: {}, body: '<html>' }],
  ['a body that came too slowly', { status: 408, headers: {}, body: { code: 'body_too_slow', detail: '' } }],
])('%s is no refusal for good', async (_, answer) => {
  const phone = new Phone()
  const { uploadFile } = phone.wx
  const said = { statusCode: answer.status, header: answer.headers, data: answer.body }
  phone.wx.uploadFile = ({ success }) => success?.(said as never)
  await expect(phone.sends(SAID.spoken)).rejects.toMatchObject({ status: answer.status })
  expect(phone.outbox.pending()).not.toBeNull()
  phone.wx.uploadFile = uploadFile
  expect((await phone.outbox.send(PART)).state).toBe('accepted')
})

/** A request with a recording of 192,044 bytes. */
async function large(phone: Phone): Promise<void> {
  const recording = await phone.files.write('large.wav', wav(bytesOf(speech(6))))
  phone.outbox.put({ text: SAID.spoken, format: 'mp3' }, recording)
}

function parts(phone: Phone): string[] {
  return phone.wx.traffic.map((each) => each.headers['Upload-Offset'] ?? '').filter(Boolean)
}

test('a large recording goes in parts', async () => {
  const phone = new Phone()
  expect(await takesParts(phone.relay)).toBe(true)
  await large(phone)
  const told: number[] = []
  const job = await phone.outbox.send(50_000, (percent) => told.push(percent))
  expect(await ids(phone)).toEqual([job.job_id])
  expect(parts(phone)).toEqual(['0', '50000', '100000', '150000'])
  expect(told).toEqual([0, 26, 52, 78, 100])
})

test('a relay that takes no parts is sent the whole', async () => {
  const phone = new Phone()
  phone.wx.lacking = ['/v1/uploads']
  expect(await takesParts(phone.relay)).toBe(false)
  await large(phone)
  const job = await phone.outbox.send(50_000)
  expect(await ids(phone)).toEqual([job.job_id])
  expect(parts(phone)).toEqual([])
})

test('an upload that is gone is begun anew', async () => {
  const phone = new Phone()
  await large(phone)
  const pending = phone.outbox.pending()
  phone.wx.setStorageSync('voxrelay.pending', { ...pending, upload: '00000000-0000-4000-8000-000000000000' })
  const job = await phone.outbox.send(50_000)
  expect(await ids(phone)).toEqual([job.job_id])
  expect(parts(phone)).toHaveLength(4)
})

test('a part whose answer is lost is not sent again', async () => {
  const phone = new Phone()
  await large(phone)
  let lost = false
  phone.wx.after = ({ headers }) => {
    if (headers['Upload-Offset'] !== '50000' || lost) return
    lost = true
    throw new Error('the line broke')
  }
  const job = await phone.outbox.send(50_000)
  expect(await ids(phone)).toEqual([job.job_id])
  expect(parts(phone)).toEqual(['0', '50000', '100000', '150000'])
})

test('a part that is lost in the middle is sent again after a restart, and no other', async () => {
  const phone = new Phone()
  await large(phone)
  let sent = 0
  phone.wx.before = ({ headers }) => {
    if (headers['X-HTTP-Method-Override'] === 'PATCH') sent += 1
    if (sent >= 3) throw new Error('the network is gone')
  }
  expect(isUnreachable(await phone.outbox.send(50_000).catch((error: unknown) => error))).toBe(true)
  phone.wx.before = () => undefined
  phone.wx.traffic.splice(0)
  phone.boot()
  const job = await phone.outbox.send(50_000)
  expect(await ids(phone)).toEqual([job.job_id])
  expect(parts(phone)).toEqual(['100000', '150000'])
})

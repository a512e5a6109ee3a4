/** Saved voices and lessons: what a phone asks of the relay, and what becomes of it. */

import { Keeping, usable } from '../../src/services/voices'
import { until } from '../until'
import { Heard, PART, Phone, restAll, SAID } from './house'

afterEach(restAll)

async function keeping(phone: Phone, name = '妈妈'): Promise<Keeping> {
  return { name, of: 'other', statement: '声音的主人已同意。', recording: await phone.recorded() }
}

test('a voice is saved with its consent, and spoken in without a recording', async () => {
  const phone = new Phone()
  const voice = await phone.voices.save(await keeping(phone))
  const shown = await phone.relay.said<{ consent: object }>({ method: 'GET', path: `/v1/voices/${voice.id}` })
  expect(shown.consent).toMatchObject({ statement: '声音的主人已同意。', of: 'other' })
  phone.outbox.put({ text: SAID.spoken, format: 'mp3', voice: voice.id }, '')
  const { job_id: id } = await phone.outbox.send(PART)
  const heard = new Heard()
  phone.follow(id, heard).start()
  expect((await until(() => heard.end)).state).toBe('delivered')
  expect(phone.known.find(id)).toMatchObject({ recording: '', wish: { voice: voice.id } })
})

test('an answer that is lost makes no second voice', async () => {
  const phone = new Phone()
  const kept = await keeping(phone)
  phone.wx.after = () => {
    throw new Error('the line broke')
  }
  await expect(phone.voices.save(kept)).rejects.toMatchObject({ kind: 'unreachable' })
  phone.wx.after = () => undefined
  const voice = await phone.voices.save(kept)
  expect((await phone.voices.all())?.map(({ id }) => id)).toEqual([voice.id])
  const another = await phone.voices.save(kept) // which was answered: this is meant
  expect(another.id).not.toBe(voice.id)
})

test('who is handed the code speaks in it, until it is taken back', async () => {
  const [owner, friend] = [new Phone(), new Phone()]
  const { id } = await owner.voices.save(await keeping(owner))
  const taken = await friend.voices.accept(await owner.voices.share(id))
  expect([taken.id, taken.mine]).toEqual([id, false])
  expect(usable((await friend.voices.all()) ?? []).map((voice) => voice.id)).toEqual([id])
  friend.outbox.put({ text: SAID.spoken, format: 'mp3', voice: id }, '')
  await friend.outbox.send(PART)

  await owner.voices.revoke(id)
  expect(usable((await friend.voices.all()) ?? [])).toEqual([])
  expect(usable((await owner.voices.all()) ?? [])).toEqual([])
  friend.outbox.put({ text: SAID.spoken, format: 'mp3', voice: id }, '')
  await expect(friend.outbox.send(PART)).rejects.toMatchObject({ code: 'voice_revoked' })
  expect(friend.outbox.pending()).toBeNull()
})

test('a relay without voices has none to offer', async () => {
  const phone = new Phone()
  phone.wx.lacking = ['/v1/voices']
  expect(await phone.voices.all()).toBeNull()
})

test('a lesson is one request and a job for each dialect, asked for without a line', async () => {
  const phone = new Phone()
  const variants = [{ style: 'sichuan' }, { style: 'cantonese' }]
  phone.outbox.put({ text: SAID.spoken, format: 'mp3', mode: 'instruct', variants }, await phone.recorded())
  const sent = await phone.outbox.send(PART)
  const ids = (sent.variants ?? []).map((job) => job.job_id)
  expect(sent.variants?.map((job) => job.variant)).toEqual(['sichuan', 'cantonese'])
  expect(phone.asked('POST', '/v1/jobs')).toBe(1)
  expect(phone.known.running()?.lesson).toEqual(ids)
  expect(phone.known.find(ids[1] ?? '')?.wish).toEqual({ text: SAID.spoken, format: 'mp3', mode: 'instruct', style: 'cantonese' })
  const all = ids.map((id) => {
    const heard = new Heard()
    phone.follow(id, heard, false).start()
    return heard
  })
  for (const heard of all) expect((await until(() => heard.end)).state).toBe('delivered')
  expect(phone.wx.sockets).toHaveLength(0)
})

test('a result that was kept is there without the relay', async () => {
  const phone = new Phone()
  const heard = new Heard()
  const { job_id: id } = await phone.sends(SAID.spoken)
  phone.follow(id, heard).start()
  const { audio } = await until(() => heard.end)
  expect(phone.kept.path(id)).toBe('')
  await phone.kept.keep(id, audio?.url ?? '')
  phone.boot()
  expect(await phone.files.size(phone.kept.path(id))).toBe(audio?.bytes)
})

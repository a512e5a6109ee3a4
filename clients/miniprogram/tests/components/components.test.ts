/** Each component by itself: what it shows, and what it says. */

import { USUAL } from '../../src/services/catalogue'
import { Job } from '../../src/services/shown'
import { textsIn } from '../../src/texts/index'
import { TestPhone } from '../phone'
import { act, hold, show, told, words } from '../screen'

const t = textsIn('zh')
const phone = hold(new TestPhone())

describe('text-editor', () => {
  test('counts what is sent, and says when it is too much', async () => {
    const screen = show('components/text-editor/text-editor', { t, limit: 4 })
    const changes = told(screen, 'change')
    await act(screen.querySelector('#typed'), 'change', { value: ' 你好吗 ' })
    expect(changes).toEqual([{ text: '你好吗', over: false }])
    expect(words(screen, '#count')).toBe('3 / 4')
    await act(screen.querySelector('#typed'), 'change', { value: '你好吗😀啊' })
    expect(changes[1]).toEqual({ text: '你好吗😀啊', over: true })
    expect(words(screen, '#count')).toBe('5 / 4 超出 1 个字')
  })

  test('marks a character that is tapped, and keeps the mark while one types on', async () => {
    const screen = show('components/text-editor/text-editor', { t, limit: 50 })
    const changes = told<{ text: string }>(screen, 'change')
    await act(screen.querySelector('#typed'), 'change', { value: '她好干净' })
    const texts = () => screen.querySelectorAll('.polyphone').map((each) => each.dom?.textContent)
    expect(texts()).toContain('好')
    await act(screen.querySelectorAll('.polyphone')[texts().indexOf('好')])
    const readings = screen.querySelectorAll('.reading')
    expect(readings.map((each) => each.dom?.textContent)).toEqual([t.asUsual, 'hǎo', 'hào'])
    await act(readings[2])
    expect(changes[changes.length - 1]?.text).toBe('她[h][ào]干净')
    await act(screen.querySelector('#typed'), 'change', { value: '她真好干净' })
    expect(changes[changes.length - 1]?.text).toBe('她真[h][ào]干净')
  })
})

describe('manner-picker', () => {
  test('a style, a dialect and a speed', async () => {
    const dialects = [{ name: 'sichuan', label: { zh: '四川话', en: 'Sichuan' }, instruct: '请用四川话表达。' }]
    const offer = { ...USUAL, dialects }
    const screen = show('components/manner-picker/manner-picker', { t, language: 'zh', offer })
    const changes = told(screen, 'change')
    await act(screen.querySelectorAll('.style')[1], 'change')
    await act(screen.querySelectorAll('.dialect')[0], 'change')
    await act(screen.querySelector('#speed'), 'change', { value: 125 })
    await act(screen.querySelectorAll('.style')[1], 'change')
    const both = { mode: 'instruct', style: 'gentle', instruct: '请用四川话表达。' }
    expect(changes).toEqual([
      { mode: 'instruct', style: 'gentle' },
      both,
      { ...both, speed: 1.25 },
      { mode: 'instruct', style: 'sichuan', speed: 1.25 },
    ])
  })

  test('a lesson has several dialects, as many as the relay takes', async () => {
    const named = (name: string) => ({ name, label: { zh: name, en: name }, instruct: name })
    const dialects = ['sichuan', 'cantonese', 'shanghai'].map(named)
    const offer = { ...USUAL, dialects, limits: { ...USUAL.limits, variants: 2 } }
    const screen = show('components/manner-picker/manner-picker', { t, language: 'zh', offer })
    const changes = told(screen, 'change')
    const last = () => changes[changes.length - 1]
    await act(screen.querySelectorAll('.style')[1], 'change')
    await act(screen.querySelector('#lesson'), 'change')
    expect(last()).toEqual({ mode: 'instruct', style: 'gentle' }) // none is picked yet
    for (const n of [2, 0, 1]) await act(screen.querySelectorAll('.dialect')[n], 'change')
    const variants = [{ style: 'sichuan' }, { style: 'shanghai' }]
    expect(last()).toEqual({ mode: 'instruct', variants })
    await act(screen.querySelectorAll('.dialect')[0], 'change')
    expect(last()).toEqual({ mode: 'instruct', variants: [{ style: 'shanghai' }] })
    screen.setData({ offer: { ...offer, limits: USUAL.limits } })
    expect(screen.querySelector('#lesson')).toBeUndefined()
  })
})

describe('voices', () => {
  const voices = [{ id: 'v1', name: '妈妈', mine: true, scopes: [] }]

  test('a saved voice, or a recording, is picked', async () => {
    const screen = show('components/voice-picker/voice-picker', { t, voices, value: '' })
    const [changes, manages] = [told(screen, 'change'), told(screen, 'manage')]
    await act(screen.querySelector('.voice'), 'change')
    await act(screen.querySelector('#recorded'), 'change')
    await act(screen.querySelector('#manage'))
    expect(changes).toEqual([{ id: 'v1' }, { id: '' }])
    expect(manages).toHaveLength(1)
  })

  test('what is agreed to is what was shown, and it needs a name', async () => {
    const screen = show('components/voice-sheet/voice-sheet', { t, visible: true })
    const saves = told(screen, 'save')
    await act(screen.querySelector('#save'))
    await act(screen.querySelector('#name'), 'change', { value: ' 妈妈 ' })
    await act(screen.querySelector('#save'))
    await act(screen.querySelector('#other'), 'change')
    expect(words(screen, '#statement')).toBe(t.agreeOther)
    await act(screen.querySelector('#save'))
    expect(saves).toEqual([
      { name: '妈妈', of: 'self', statement: t.agreeSelf },
      { name: '妈妈', of: 'other', statement: t.agreeOther },
    ])
  })
})

describe('job-progress', () => {
  const job: Partial<Job> = { state: 'approved', ended: false, queue: { place: 2, seconds: 11.2 } }

  test('the state, the place and the estimate', async () => {
    const screen = show('components/job-progress/job-progress', { t, job })
    expect(words(screen, '#state')).toBe('正在合成')
    expect(words(screen, '#queue')).toBe('前面还有 2 个 · 约 12 秒')
    expect(screen.querySelector('#why')).toBeUndefined()
    screen.setData({ job: { ...job, queue: { place: 0, seconds: null } } })
    expect(screen.querySelector('#queue')).toBeUndefined() // nothing that anybody would know
  })

  test('why it ended', async () => {
    const reasons = [{ code: 'c', message: '含有违禁词。', where: 'text' }]
    const screen = show('components/job-progress/job-progress', { t, job: { state: 'rejected', ended: true, reasons } })
    expect(words(screen, '#why')).toBe('含有违禁词。')
    expect(screen.querySelector('#queue')).toBeUndefined()
  })
})

describe('ab-player', () => {
  const sounds = { t, recording: '/usr/me.wav', result: 'https://relay/audio' }

  test('one sound at a time, and what is synthetic says so', async () => {
    const screen = show('components/ab-player/ab-player', sounds)
    const heard = told(screen, 'heard')
    expect(words(screen, '#label')).toBe('AI 合成语音')
    await act(screen.querySelector('#a'))
    expect(phone.sound.src).toBe('/usr/me.wav')
    expect(words(screen, '#a')).toBe(t.stop)
    expect(heard).toHaveLength(0)
    const first = phone.sound
    await act(screen.querySelector('#b'))
    expect(first.destroyed).toBe(true)
    expect(phone.sound.src).toBe('https://relay/audio')
    expect([words(screen, '#a'), words(screen, '#b')]).toEqual([t.play, t.stop])
    expect(heard).toHaveLength(1)
    phone.sound.ended()
    expect(words(screen, '#b')).toBe(t.play)
  })

  test('an address that has run out is asked for anew', async () => {
    const screen = show('components/ab-player/ab-player', { ...sounds, recording: '' })
    const stale = told(screen, 'stale')
    expect(words(screen, '#elsewhere')).toBe(t.recordingElsewhere)
    await act(screen.querySelector('#b'))
    phone.sound.breaks()
    expect(stale).toHaveLength(1)
    expect(words(screen, '#failed')).toBe(t.cannotPlay)
  })
})

describe('feedback-box', () => {
  test('stars, and a report with its reason', async () => {
    const screen = show('components/feedback-box/feedback-box', { t, of: 'result' })
    const [rates, reports] = [told(screen, 'rate'), told(screen, 'report')]
    await act(screen.querySelector('#stars'), 'change', { value: 4 })
    await act(screen.querySelector('#open'))
    await act(screen.querySelector('#report'))
    expect(reports).toEqual([]) // no reason yet
    await act(screen.querySelectorAll('.reason')[2], 'change')
    await act(screen.querySelector('#note'), 'change', { value: ' 骗钱 ' })
    await act(screen.querySelector('#report'))
    expect([rates, reports]).toEqual([[{ stars: 4 }], [{ reason: 'fraud', note: '骗钱' }]])
  })

  test('an appeal says why', async () => {
    const screen = show('components/feedback-box/feedback-box', { t, of: 'rejection' })
    const appeals = told(screen, 'appeal')
    await act(screen.querySelector('#appeal'))
    await act(screen.querySelector('#note'), 'change', { value: '这是我写的诗。' })
    await act(screen.querySelector('#appeal'))
    expect(appeals).toEqual([{ note: '这是我写的诗。' }])
    screen.setData({ done: true })
    expect(words(screen, '#thanks')).toBe(t.thanks)
  })
})

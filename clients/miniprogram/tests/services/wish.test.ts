/** What a manner becomes, what is said of a share, and that every word is there in both languages. */

import { USUAL } from '../../src/services/catalogue'
import { fileName, title } from '../../src/services/sharing'
import { another, mannerOf, spelled } from '../../src/services/wish'
import { en } from '../../src/texts/en'
import { filled, languageOf } from '../../src/texts/index'
import { zh } from '../../src/texts/zh'

const OFFER = {
  ...USUAL,
  dialects: [{ name: 'sichuan', label: { zh: '四川话', en: 'Sichuan' }, instruct: '请用四川话表达。' }],
}

test.each([
  ['', '', 1, {}],
  ['gentle', '', 1, { mode: 'instruct', style: 'gentle' }],
  ['', 'sichuan', 1, { mode: 'instruct', style: 'sichuan' }],
  ['gentle', 'sichuan', 1, { mode: 'instruct', style: 'gentle', instruct: '请用四川话表达。' }],
  ['', '', 1.25, { speed: 1.25 }],
])('style %j and dialect %j at %d', (style, dialect, speed, manner) => {
  expect(mannerOf(OFFER, style, dialect, speed)).toEqual(manner)
})

test('once more is another seed and nothing else', () => {
  const wish = { text: '你好', format: 'mp3' as const, speed: 1.5 }
  const { seed, ...rest } = another(wish)
  expect(rest).toEqual(wish)
  expect(seed).toBeGreaterThan(0)
  expect(spelled(wish)).toEqual({ text: '你好', format: 'mp3', speed: '1.5' })
})

test('what leaves the mini-program says that it is synthetic', () => {
  expect(fileName(zh.label, '0123456789', 'mp3')).toBe('AI 合成语音-01234567.mp3')
  expect(title(zh.label, ' 你好\n世界 ')).toBe('[AI 合成语音] 你好 世界')
  expect(title(en.label, 'x'.repeat(50))).toHaveLength(`[${en.label}] `.length + 21)
})

test('a phone that speaks Chinese of any kind reads Chinese', () => {
  expect(['zh_CN', 'zh-Hant', 'ZH'].map(languageOf)).toEqual(['zh', 'zh', 'zh'])
  expect(['en', 'ja', ''].map(languageOf)).toEqual(['en', 'en', 'en'])
  expect(filled('剩余 {n} 秒', 3)).toBe('剩余 3 秒')
})

test('a place for a number is in both languages or in none', () => {
  for (const name of Object.keys(zh) as (keyof typeof zh)[]) {
    expect(en[name].includes('{n}')).toBe(zh[name].includes('{n}'))
  }
})

/** Words in the language of the phone: Chinese, or English for everybody else. */

import { en } from './en'
import { zh } from './zh'

export type Texts = typeof zh
export type Language = 'zh' | 'en'

export function languageOf(tag: string): Language {
  return tag.toLowerCase().startsWith('zh') ? 'zh' : 'en'
}

export function textsIn(language: Language): Texts {
  return language === 'zh' ? zh : en
}

/** `words` with `{n}` filled in. */
export function filled(words: string, n: number | string): string {
  return words.replace('{n}', String(n))
}

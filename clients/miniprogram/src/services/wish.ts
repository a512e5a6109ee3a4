/** What is asked for beside the recording, in the fields of `POST /v1/jobs`. Pure. */

import { Catalogue } from './shown'

export interface Wish {
  text: string
  /** What every phone plays: an iPhone knows neither ogg nor flac. */
  format: 'mp3' | 'm4a'
  mode?: 'instruct'
  style?: string
  instruct?: string
  speed?: number
  seed?: number
  /** A saved voice, in the place of a recording. */
  voice?: string
  /** Several manners of the same: a job for each. */
  variants?: { style: string }[]
}

export type Manner = Pick<Wish, 'mode' | 'style' | 'instruct' | 'speed' | 'variants'>

/** A dialect is a style of its own; beside another one it is said in words. */
export function mannerOf(offer: Catalogue, style: string, dialect: string, speed: number): Manner {
  const words = offer.dialects?.find((each) => each.name === dialect)?.instruct
  const preset = style || dialect
  return {
    ...(preset && { mode: 'instruct' as const, style: preset }),
    ...(style && dialect && words && { instruct: words }),
    ...(speed !== 1 && { speed }),
  }
}

/** One recording in several dialects, to be heard side by side. */
export function lessonOf(dialects: string[], speed: number): Manner {
  return { mode: 'instruct', variants: dialects.map((style) => ({ style })), ...(speed !== 1 && { speed }) }
}

/** What each of the jobs is asked for that a wish becomes. */
export function apart({ variants, ...own }: Wish): Wish[] {
  return variants ? variants.map((variant) => ({ ...own, ...variant })) : [own]
}

/** The same wish once more, to be spoken another way: without a seed of its own it would be the same. */
export function another(wish: Wish, seed: number = Math.floor(Math.random() * 2 ** 31) + 1): Wish {
  return { ...wish, seed }
}

/** As the fields of a form. */
export function spelled(wish: Wish): Record<string, string> {
  const text = (value: unknown) => (typeof value === 'object' ? JSON.stringify(value) : String(value))
  return Object.fromEntries(Object.entries(wish).map(([name, value]) => [name, text(value)]))
}

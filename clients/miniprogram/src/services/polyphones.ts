/**
 * Characters that are read in more than one way, and the marks that say which: `好` becomes `[h][ào]`.
 *
 * The engine knows initials and finals apart, so a mark is one or two pieces. A text is a row of
 * pieces: characters as they are, or read in a chosen way. Pure.
 */

import { pinyin } from 'pinyin-pro'

export interface Piece {
  /** The character, or whatever stands between two Chinese ones. */
  text: string
  /** The readings it may have; fewer than two for what cannot be marked. */
  readings: string[]
  /** The reading that was chosen. */
  chosen?: string
}

const HAN = /\p{Script=Han}/u
const INITIAL = /^(zh|ch|sh|[bpmfdtnlgkhjqxrzcsyw])/
const TONE = /[\u0300\u0301\u0304\u030c]/g

/** `text` as pieces; `before` are those of the text as it was, whose choices stay where they fit. */
export function pieces(text: string, before: Piece[] = []): Piece[] {
  const fresh = [...text].map((character) => ({ text: character, readings: readings(character) }))
  const head = common(fresh, before)
  const tail = common(reversed(fresh.slice(head)), reversed(before.slice(head)))
  return fresh.map((piece, at) => {
    if (at < head) return before[at] as Piece
    if (at >= fresh.length - tail) return before[before.length - (fresh.length - at)] as Piece
    return piece
  })
}

/** The text that is sent: marks in the place of the characters that were marked. */
export function marked(row: Piece[]): string {
  return row.map((piece) => (piece.chosen ? mark(piece.chosen) : piece.text)).join('')
}

/** `row` with the piece at `index` read as `reading`; as usual where none is given. */
export function chosen(row: Piece[], index: number, reading?: string): Piece[] {
  return row.map((piece, at) => {
    if (at !== index) return piece
    const { text, readings: known } = piece
    return { text, readings: known, ...(reading && { chosen: reading }) }
  })
}

/** `hào` as `[h][ào]`, `ài` as `[ài]`. */
export function mark(reading: string): string {
  const initial = INITIAL.exec(unaccented(reading))?.[0] ?? ''
  const final = reading.slice(initial.length)
  return [initial, final].filter(Boolean).map((part) => `[${part}]`).join('')
}

/** How a character may be read, the likeliest first; empty for what is none. */
export function readings(character: string): string[] {
  if (!HAN.test(character)) return []
  return [...new Set(pinyin(character, { type: 'array', multiple: true }))]
}

function unaccented(reading: string): string {
  return reading.normalize('NFD').replace(TONE, '').normalize('NFC')
}

/** How many pieces at the front are the same. */
function common(one: Piece[], other: Piece[]): number {
  let length = 0
  while (length < one.length && one[length]?.text === other[length]?.text) length += 1
  return length
}

function reversed(row: Piece[]): Piece[] {
  return [...row].reverse()
}

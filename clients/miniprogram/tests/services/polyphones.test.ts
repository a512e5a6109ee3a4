/** Marks as the engine wants them, and a text that is edited around them. */

import { chosen, mark, marked, pieces, readings } from '../../src/services/polyphones'

test.each([
  ['hào', '[h][ào]'],
  ['zhǎng', '[zh][ǎng]'],
  ['ài', '[ài]'],
  ['yuè', '[y][uè]'],
  ['lǜ', '[l][ǜ]'],
  ['de', '[d][e]'],
])('%s is marked as %s', (reading, words) => {
  expect(mark(reading)).toBe(words)
})

test('a character has all its readings, and what is none has none', () => {
  expect(readings('好')).toEqual(['hǎo', 'hào'])
  expect(readings('人')).toEqual(['rén'])
  expect(readings('a')).toEqual([])
  expect(readings('。')).toEqual([])
})

test('a marked character is replaced, and unmarked again', () => {
  const row = chosen(pieces('她好干净'), 1, 'hào')
  expect(marked(row)).toBe('她[h][ào]干净')
  expect(marked(chosen(row, 1))).toBe('她好干净')
})

test('marks stay with their characters while the text around them changes', () => {
  const row = chosen(pieces('好人好事'), 2, 'hào')
  expect(marked(pieces('他说好人好事', row))).toBe('他说好人[h][ào]事')
  expect(marked(pieces('好人好事多', row))).toBe('好人[h][ào]事多')
  expect(marked(pieces('好人们好事', row))).toBe('好人们[h][ào]事')
  expect(marked(pieces('好人坏事', row))).toBe('好人坏事')
  expect(marked(pieces('', row))).toBe('')
})

test('an emoji is one character and is left as it is', () => {
  expect(pieces('好😀').map((piece) => piece.text)).toEqual(['好', '😀'])
})

/** How a recording is judged before it is sent, and what it becomes. */

import { decibels, hasHeader, judged, meter, wav } from '../../src/services/sound'
import { bytesOf, speech } from '../sounds'

test.each([
  ['good', speech(4)],
  ['short', speech(1)],
  ['silent', speech(4, 0, 0.0005)],
  ['quiet', speech(4, 0.01)],
  ['loud', speech(4, 2)],
  ['noisy', speech(4, 0.08, 0.06)],
])('a recording is %s', (verdict, pcm) => {
  expect(judged(pcm, 3)).toBe(verdict)
})

test('a meter stands still for silence and at its end for the loudest there is', () => {
  expect(decibels(new Int16Array(0))).toBe(-100)
  expect(meter(decibels(new Int16Array(100)))).toBe(0)
  expect(meter(decibels(new Int16Array(100).fill(32_767)))).toBe(100)
})

test('samples become a WAV of their own rate that says its length', () => {
  const pcm = speech(1)
  const file = new DataView(wav(bytesOf(pcm)))
  expect(hasHeader(file.buffer as ArrayBuffer)).toBe(true)
  expect(file.getUint32(24, true)).toBe(16_000)
  expect(file.getUint32(40, true)).toBe(pcm.byteLength)
  expect(file.byteLength).toBe(44 + pcm.byteLength)
  expect(file.getInt16(44 + 2 * 500, true)).toBe(pcm[500])
})

test('what phones give beside bare samples is known by its start', () => {
  const starts = ['RIFF', 'ID3\x04', '\xff\xf1', '\xff\xfb', '\x00\x00\x00\x20ftypM4A ', '\x1aE\xdf\xa3']
  for (const start of starts) {
    const bytes = Uint8Array.from([...start.padEnd(16, '\0')].map((c) => c.charCodeAt(0))).buffer
    expect(hasHeader(bytes)).toBe(true)
  }
  expect(hasHeader(bytesOf(speech(1)))).toBe(false)
})

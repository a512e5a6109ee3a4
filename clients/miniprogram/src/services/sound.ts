/**
 * Sound as numbers: how loud it is, whether it will do, and the WAV that bare samples become.
 *
 * Samples are 16 bit, little endian, one channel, as RecorderManager gives them for `PCM`. Pure.
 */

export const RATE = 16_000
const HEADER = 44
const FULL = 32_768
const FRAME = RATE / 50
/** Samples in 20 ms. */

/** What there is to say of a recording before it is sent. */
export type Verdict = 'good' | 'short' | 'silent' | 'quiet' | 'loud' | 'noisy'

/** Of bytes that hold bare samples; an odd byte at the end is none. */
export function samples(bytes: ArrayBuffer): Int16Array {
  return new Int16Array(bytes, 0, Math.floor(bytes.byteLength / 2))
}

/** Loudness in dB below the loudest there is: 0 at most, -100 for nothing. */
export function decibels(pcm: Int16Array): number {
  if (pcm.length === 0) return -100
  let sum = 0
  for (const sample of pcm) sum += sample * sample
  const level = Math.sqrt(sum / pcm.length) / FULL
  return Math.max(-100, 20 * Math.log10(level || 1e-5))
}

/** For a meter: 0 to 100, where speech at arm's length stands in the middle. */
export function meter(level: number): number {
  return Math.round(Math.min(100, Math.max(0, ((level + 60) / 54) * 100)))
}

/** Whether a recording will do. `least` is in seconds. */
export function judged(pcm: Int16Array, least: number): Verdict {
  if (pcm.length < least * RATE) return 'short'
  const levels = frames(pcm).sort((a, b) => a - b)
  const at = (share: number) => levels[Math.floor((levels.length - 1) * share)] as number
  const speech = at(0.9)
  if (speech < -50) return 'silent'
  if (clipped(pcm) > 0.005) return 'loud'
  if (speech < -38) return 'quiet'
  if (at(0.1) > -38 && speech - at(0.1) < 12) return 'noisy'
  return 'good'
}

/** Bare samples with the header that makes them a file. */
export function wav(pcm: ArrayBuffer, rate: number = RATE): ArrayBuffer {
  const file = new ArrayBuffer(HEADER + pcm.byteLength)
  const view = new DataView(file)
  const text = (at: number, word: string) => [...word].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)))
  text(0, 'RIFF')
  view.setUint32(4, HEADER - 8 + pcm.byteLength, true)
  text(8, 'WAVEfmt ')
  view.setUint32(16, 16, true)
  view.setUint16(20, 1, true)
  view.setUint16(22, 1, true)
  view.setUint32(24, rate, true)
  view.setUint32(28, rate * 2, true)
  view.setUint16(32, 2, true)
  view.setUint16(34, 16, true)
  text(36, 'data')
  view.setUint32(40, pcm.byteLength, true)
  new Uint8Array(file, HEADER).set(new Uint8Array(pcm))
  return file
}

/** Whether a file says itself what it is: some phones give a whole WAV where PCM was asked for. */
export function hasHeader(bytes: ArrayBuffer): boolean {
  const start = String.fromCharCode(...new Uint8Array(bytes, 0, Math.min(12, bytes.byteLength)))
  return /^(RIFF|ID3|OggS|fLaC|\xff[\xe0-\xff]|\x1aE\xdf\xa3|#!AMR|ADIF)/.test(start) || start.slice(4, 8) === 'ftyp'
}

function frames(pcm: Int16Array): number[] {
  const found: number[] = []
  for (let at = 0; at + FRAME <= pcm.length; at += FRAME) found.push(decibels(pcm.subarray(at, at + FRAME)))
  return found
}

/** The share of samples that stand at the end of the scale. */
function clipped(pcm: Int16Array): number {
  let count = 0
  for (const sample of pcm) if (Math.abs(sample) >= FULL - 40) count += 1
  return count / pcm.length
}

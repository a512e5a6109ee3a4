/** Recordings for tests, made here. */

import { RATE } from '../src/services/sound'

/** Speech's outline: a tone that comes and goes, over a floor of noise; loudness from 0 to 1. */
export function speech(seconds: number, loud = 0.3, floor = 0.001): Int16Array {
  const pcm = new Int16Array(Math.round(seconds * RATE))
  let noise = 1
  for (let at = 0; at < pcm.length; at += 1) {
    noise = (noise * 48_271) % 2_147_483_647
    const voice = Math.sin((2 * Math.PI * 220 * at) / RATE) * (Math.sin((2 * Math.PI * at) / RATE) > -0.3 ? loud : 0)
    const sample = voice + ((noise / 2_147_483_647) * 2 - 1) * floor
    pcm[at] = Math.max(-32_768, Math.min(32_767, Math.round(sample * 32_767)))
  }
  return pcm
}

export function bytesOf(pcm: Int16Array): ArrayBuffer {
  return new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength).slice().buffer
}

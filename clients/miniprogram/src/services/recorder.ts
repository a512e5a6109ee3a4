/**
 * The microphone: at 16 kHz, bare samples where the phone gives them, so that a meter can be shown
 * and a recording judged before it is sent; else MP3, else AAC.
 *
 * RecorderManager is one for the whole mini-program and its listeners cannot be taken off again, so
 * there is one Recorder, with one take at a time.
 */

import { Files } from './files'
import { decibels, hasHeader, judged, RATE, samples, Verdict, wav } from './sound'

export type Manager = Pick<
  WechatMiniprogram.RecorderManager,
  'start' | 'stop' | 'onStart' | 'onStop' | 'onError' | 'onFrameRecorded' | 'onInterruptionBegin'
>

export interface Take {
  path: string
  seconds: number
  verdict: Verdict
}

export interface Ears {
  started(): void
  /** Some samples more, and how loud they are in dB. */
  frame(bytes: ArrayBuffer, level: number): void
  stopped(take: Take): void
  failed(): void
}

export interface Bounds {
  least: number
  most: number
}

type Format = 'PCM' | 'mp3' | 'aac'
const FORMATS: Format[] = ['PCM', 'mp3', 'aac']
const FRAME_KB = 1

/** How the names of our files begin. */
export const RECORDING = 'recording-'

export class Recorder {
  private ears: Ears | null = null
  private bounds: Bounds = { least: 1, most: 10 }
  private tried = 0
  private running = false

  constructor(
    private readonly manager: Manager,
    private readonly files: Files,
    private readonly now: () => number = Date.now,
  ) {
    manager.onStart(() => this.started())
    manager.onFrameRecorded(({ frameBuffer }) => this.frame(frameBuffer))
    manager.onStop(({ tempFilePath, duration }) => void this.stopped(tempFilePath, duration / 1000))
    manager.onError(() => this.failed())
    manager.onInterruptionBegin(() => this.stop())
  }

  /** Whether bare samples come in, so that `frame` is called. */
  get bare(): boolean {
    return FORMATS[this.tried] === 'PCM'
  }

  start(bounds: Bounds, ears: Ears): void {
    if (this.ears) return
    this.bounds = bounds
    this.ears = ears
    this.open()
  }

  stop(): void {
    if (this.running) this.manager.stop()
  }

  private open(): void {
    const format = FORMATS[this.tried] as Format
    this.manager.start({
      duration: this.bounds.most * 1000,
      sampleRate: RATE,
      numberOfChannels: 1,
      format,
      ...(format !== 'PCM' && { encodeBitRate: 48_000 }),
      ...(format === 'PCM' && { frameSize: FRAME_KB }),
    })
  }

  private started(): void {
    this.running = true
    this.ears?.started()
  }

  private frame(bytes: ArrayBuffer): void {
    if (this.running && this.bare) this.ears?.frame(bytes, decibels(samples(bytes)))
  }

  /** A phone that cannot do one format may do the next; one that stops in the middle cannot. */
  private failed(): void {
    if (!this.running && this.ears && this.tried < FORMATS.length - 1) {
      this.tried += 1
      this.open()
    } else this.release()?.failed()
  }

  private async stopped(path: string, seconds: number): Promise<void> {
    const bare = this.bare
    const ears = this.release()
    if (!ears) return
    try {
      ears.stopped(await this.kept(await this.files.read(path), seconds, bare, ending(path)))
    } catch {
      ears.failed() // the file is not there, or there is no room for it
    }
  }

  private release(): Ears | null {
    const ears = this.ears
    this.ears = null
    this.running = false
    return ears
  }

  private async kept(bytes: ArrayBuffer, seconds: number, bare: boolean, kind: string): Promise<Take> {
    const name = `${RECORDING}${this.now()}`
    if (bare && !hasHeader(bytes)) {
      const pcm = samples(bytes)
      const verdict = judged(pcm, this.bounds.least)
      return { path: await this.files.write(`${name}.wav`, wav(bytes)), seconds: pcm.length / RATE, verdict }
    }
    const verdict = seconds < this.bounds.least ? 'short' : 'good'
    return { path: await this.files.write(`${name}.${kind}`, bytes), seconds, verdict }
  }
}

function ending(path: string): string {
  return /\.(\w{2,4})$/.exec(path)?.[1] ?? 'mp3'
}

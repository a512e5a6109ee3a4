/**
 * The one request that is on its way. It is stored, with its Idempotency-Key, before the first byte
 * is sent, and forgotten only when the relay has answered for good: so whatever happens to the line,
 * to the mini-program or to the phone, sending it again is the same job.
 */

import { isAbsent, isFinal } from './errors'
import { Files } from './files'
import { freshKey } from './key'
import { KnownJobs } from './known'
import { begun, finished, isGone } from './parts'
import { Port } from './port'
import { Relay } from './relay'
import { Sent } from './shown'
import { spelled, Wish } from './wish'

const STORED = 'voxrelay.pending'

export interface Pending {
  key: string
  wish: Wish
  /** Where the recording lies on the phone; empty where a saved voice stands in its place. */
  recording: string
  /** Of an upload in parts that was begun. */
  upload?: string
  /** The upload came live, while it was recorded: it is whole, and these bare samples. */
  pcm?: { sample_rate: number }
}

export class Outbox {
  private running: Promise<Sent> | null = null

  constructor(
    private readonly port: Port,
    private readonly relay: Relay,
    private readonly files: Files,
    private readonly known: KnownJobs,
  ) {}

  pending(): Pending | null {
    return this.port.getStorageSync<Pending | ''>(STORED) || null
  }

  /** Puts a request in; from here on it is not lost. One that waits already stays as it is. */
  put(wish: Wish, recording: string, live?: Pick<Pending, 'upload' | 'pcm'> | null): Pending {
    return this.pending() ?? this.keep({ key: freshKey(), wish, recording, ...live })
  }

  /** Gives up what was not sent yet. */
  discard(): void {
    this.port.removeStorageSync(STORED)
  }

  /**
   * Sends what is in it; however often it is called, once at a time. A refusal for good empties it.
   */
  send(partBytes: number, progress?: (percent: number) => void): Promise<Sent> {
    this.running ??= this.sent(partBytes, progress).finally(() => {
      this.running = null
    })
    return this.running
  }

  private async sent(partBytes: number, progress?: (percent: number) => void): Promise<Sent> {
    const pending = this.pending()
    if (!pending) throw new Error('there is nothing to send')
    try {
      const sent = await this.accepted(pending, partBytes, progress)
      const ids = (sent.variants ?? [sent]).map((job) => job.job_id)
      await this.known.add(ids, pending.wish, pending.recording)
      this.discard()
      return sent
    } catch (error) {
      if (isFinal(error)) this.discard()
      throw error
    }
  }

  private async accepted(pending: Pending, partBytes: number, progress?: (percent: number) => void): Promise<Sent> {
    if (pending.wish.voice) return this.told(pending.wish, pending.key)
    const file = await this.files.opened(pending.recording)
    if (!pending.upload && file.bytes <= partBytes) return this.whole(pending, progress)
    try {
      return await this.inParts(pending, partBytes, progress)
    } catch (error) {
      if (isAbsent(error)) return this.whole(pending, progress)
      if (!pending.upload || !isGone(error)) throw error
      const { key, wish, recording } = pending
      return this.accepted(this.keep({ key, wish, recording }), partBytes, progress)
    }
  }

  private async whole({ key, wish, recording }: Pending, progress?: (percent: number) => void): Promise<Sent> {
    const headers = { 'Idempotency-Key': key }
    const sending = { path: '/v1/jobs', file: recording, fields: spelled(wish), headers }
    return (await this.relay.upload(sending, progress)).body as Sent
  }

  private async inParts(pending: Pending, partBytes: number, progress?: (percent: number) => void): Promise<Sent> {
    const { key, wish, pcm } = pending
    const upload = pcm ? pending.upload : await this.uploaded(pending, partBytes, progress)
    return this.told({ ...wish, upload, ...(pcm && { pcm }) }, key)
  }

  private told(body: object, key: string): Promise<Sent> {
    return this.relay.said({ method: 'POST', path: '/v1/jobs', body, headers: { 'Idempotency-Key': key } })
  }

  private async uploaded(pending: Pending, partBytes: number, progress?: (percent: number) => void): Promise<string> {
    const file = await this.files.opened(pending.recording)
    const upload = pending.upload ?? (await begun(this.relay, file.bytes))
    this.keep({ ...pending, upload })
    const told = (bytes: number) => progress?.(Math.round((100 * bytes) / file.bytes))
    await finished(this.relay, upload, file, partBytes, told)
    return upload
  }

  private keep(pending: Pending): Pending {
    this.port.setStorageSync(STORED, pending)
    return pending
  }
}

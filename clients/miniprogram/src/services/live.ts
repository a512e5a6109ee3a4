/**
 * A recording sent while it is made, over WebSocket: when the person stops, it has arrived.
 *
 * It is an offer: whenever the line fails, the recording is on the phone still and goes the usual
 * way. So nothing here throws.
 */

import { dropped } from './parts'
import { Relay } from './relay'
import { line, Line, Said } from './socket'
import { Port } from './port'

const PATIENCE = 5_000

export class Live {
  private line: Line | null = null
  private upload: string | null = null
  private waiting: ArrayBuffer[] = []
  private sent = 0
  private over: ((upload: string | null) => void) | null = null
  private failed = false

  constructor(
    private readonly port: Port,
    private readonly relay: Relay,
    private readonly patience: number = PATIENCE,
  ) {}

  /** Whether it is decided: bytes flow, or never will. */
  get ready(): boolean {
    return this.failed || this.upload !== null
  }

  async begin(): Promise<void> {
    try {
      const token = await this.relay.session.token()
      if (this.failed) return // it was called off meanwhile
      this.line = line(this.port, this.relay.http, '/v1/uploads/ws', token, {
        open: () => this.line?.say({ type: 'begin' }),
        said: (message) => this.heard(message),
        gone: () => this.fail(),
      })
    } catch {
      this.fail()
    }
  }

  /** Some more of it. */
  frame(bytes: ArrayBuffer): void {
    if (this.failed) return
    this.waiting.push(bytes)
    this.flow()
  }

  /** No more comes: the upload's id once all has arrived, null where it did not. */
  end(): Promise<string | null> {
    if (this.failed || !this.upload) return Promise.resolve(this.given())
    const told = new Promise<string | null>((resolve) => {
      this.over = resolve
      setTimeout(() => this.fail(), this.patience)
    })
    this.line?.say({ type: 'end' })
    return told
  }

  /** Forget it, here and at the relay: what was thrown away does not lie there for a day. */
  async cancel(): Promise<void> {
    const upload = this.upload
    this.fail()
    if (upload) await dropped(this.relay, upload)
  }

  private given(): null {
    this.fail()
    return null
  }

  private flow(): void {
    if (!this.upload) return
    for (const bytes of this.waiting.splice(0)) {
      this.line?.say(bytes)
      this.sent += bytes.byteLength
    }
  }

  private heard(message: Said): void {
    if (message.type === 'upload') {
      this.upload = message.upload as string
      this.flow()
    } else if (message.type === 'done') this.done(message)
    else if (message.type === 'error' || message.type === 'problem') this.fail()
  }

  private done({ bytes }: Said): void {
    const whole = bytes === this.sent
    this.over?.(whole ? this.upload : null)
    this.over = null
    this.fail()
  }

  private fail(): void {
    this.failed = true
    this.waiting = []
    this.line?.close()
    this.line = null
    this.over?.(null)
    this.over = null
  }
}

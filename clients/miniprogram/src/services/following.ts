/**
 * A job followed to its end, whatever becomes of the line.
 *
 * News come over a WebSocket; when none can be kept open, the job is asked for again and again. Every
 * time it comes back (from the background, or the network) it first asks how things stand, so nothing
 * that happened meanwhile is missed. Refuses to know pages: it tells one listener.
 */

import { isRefused } from './errors'
import { Port } from './port'
import { Relay } from './relay'
import { Job } from './shown'
import { line, Line, Said } from './socket'

export interface Pace {
  /** Between two questions while there is no line. */
  poll: number
  /** Between two questions for the place in the queue, while there is one. */
  refresh: number
  /** Before a line is opened again, the first time; then twice that, and so on. */
  retry: number
  longest: number
  /** Between two signs of life; a line that is silent for two of them is dead. */
  beat: number
}

const PACE: Pace = { poll: 3_000, refresh: 10_000, retry: 1_000, longest: 30_000, beat: 20_000 }

export interface Listener {
  /** The job as it stands; the last time it has ended. */
  job(job: Job): void
  /** It cannot be followed: it is not ours, or not there. */
  lost(error: unknown): void
}

type Way = 'line' | 'asking'

export class Following {
  private job: Job | null = null
  private line: Line | null = null
  private timers = new Set<ReturnType<typeof setTimeout>>()
  private failures = 0
  private asking = false
  private polling = false
  private here = false
  private heard = 0

  constructor(
    private readonly port: Port,
    private readonly relay: Relay,
    private readonly id: string,
    private readonly listener: Listener,
    private readonly pace: Pace = PACE,
    /** Whether to listen at all: WeChat opens five lines at once. */
    private readonly listens: boolean = true,
  ) {}

  /** How news come at present. */
  get way(): Way {
    return this.line && this.failures === 0 ? 'line' : 'asking'
  }

  /** Follow, from now on; also after `rest`. */
  start(): void {
    if (this.here || this.job?.ended) return
    this.here = true
    this.port.onNetworkStatusChange(this.network)
    this.comeBack()
  }

  /** Let go of everything, as before the background; `start` goes on. */
  rest(): void {
    this.here = false
    this.port.offNetworkStatusChange(this.network)
    this.drop()
  }

  private readonly network = ({ isConnected }: { isConnected?: boolean; errMsg?: string }): void => {
    if (isConnected && this.here) this.comeBack()
  }

  private comeBack(): void {
    this.drop()
    this.failures = 0
    void this.ask()
    if (this.listens) void this.connect()
    else this.poll()
    this.again(this.pace.refresh, () => this.refresh())
  }

  private drop(): void {
    this.timers.forEach((timer) => clearTimeout(timer))
    this.timers.clear()
    this.polling = false
    this.line?.close()
    this.line = null
  }

  private again(after: number, act: () => void): void {
    const timer = setTimeout(() => {
      this.timers.delete(timer)
      act()
    }, after)
    this.timers.add(timer)
  }

  // Asking

  private async ask(): Promise<void> {
    if (this.asking) return
    this.asking = true
    try {
      this.told(await this.relay.job(this.id))
    } catch (error) {
      if (isRefused(error) && error.status !== 429) this.lose(error)
    } finally {
      this.asking = false
    }
  }

  private refresh(): void {
    if (this.job?.queue) void this.ask()
    this.again(this.pace.refresh, () => this.refresh())
  }

  private poll(): void {
    this.polling = this.way === 'asking'
    if (!this.polling) return
    void this.ask()
    this.again(this.pace.poll, () => this.poll())
  }

  // Listening

  private async connect(): Promise<void> {
    let token: string | null
    try {
      token = await this.relay.session.token()
    } catch {
      this.broken() // nobody answered: the next try asks again
      return
    }
    if (!this.here || this.line) return
    const mine = line(this.port, this.relay.http, '/v1/ws', token, {
      open: () => this.opened(mine),
      said: (message) => this.news(message, token),
      gone: () => this.line === mine && this.broken(),
    })
    this.line = mine
  }

  private opened(mine: Line): void {
    this.failures = 0
    this.heard = Date.now()
    mine.say({ subscribe: this.id, after: this.job?.seq ?? 0 })
    this.beat(mine)
  }

  private beat(mine: Line): void {
    if (this.line !== mine) return
    if (Date.now() - this.heard > 2 * this.pace.beat) return this.broken()
    mine.say({ ping: true })
    this.again(this.pace.beat, () => this.beat(mine))
  }

  private broken(): void {
    if (!this.here) return
    this.line?.close()
    this.line = null
    this.failures += 1
    if (!this.polling) this.poll()
    const wait = Math.min(this.pace.longest, this.pace.retry * 2 ** (this.failures - 1))
    this.again(wait, () => void this.connect())
  }

  private news(message: Said, token: string | null): void {
    this.heard = Date.now()
    if (message.type === 'state' && message.job) this.told(message.job as Job)
    else if (message.type === 'state' || message.type === 'ended') this.step(message)
    else if (message.type === 'queue' && this.job) this.told({ ...this.job, queue: message.queue as Job['queue'] })
    else if (message.type === 'problem') this.problem(message, token)
  }

  /** A step on the way carries no job: it goes on top of the one that is known. */
  private step({ seq, state, at, queue }: Said): void {
    const known = this.job
    if (!known || (seq as number) !== known.seq + 1 || state === 'ended') return void this.ask()
    const step = { state, at } as Job['steps'][number]
    const steps = [...known.steps, step]
    this.told({ ...known, ...step, seq: seq as number, steps, ...(queue !== undefined && { queue }) } as Job)
    if (['delivered', 'rejected', 'failed'].includes(step.state)) void this.ask()
  }

  private problem({ code, status }: Said, token: string | null): void {
    if (status === 401) {
      void this.relay.session.instead(token).then(
        () => this.broken(),
        () => this.broken(),
      )
    } else if (code === 'job_unknown') void this.ask()
  }

  // Telling

  private told(job: Job): void {
    if (!this.here || (this.job && (job.seq < this.job.seq || this.job.ended))) return
    this.job = job
    if (job.ended) this.rest()
    this.listener.job(job)
  }

  private lose(error: unknown): void {
    if (!this.here) return
    this.rest()
    this.listener.lost(error)
  }
}

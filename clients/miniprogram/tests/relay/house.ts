/** A phone with the services on it, against the relay that the test run was given. */

import { Files } from '../../src/services/files'
import { Following, Listener, Pace } from '../../src/services/following'
import { Http } from '../../src/services/http'
import { Kept } from '../../src/services/kept'
import { KnownJobs } from '../../src/services/known'
import { Outbox } from '../../src/services/outbox'
import { Relay } from '../../src/services/relay'
import { Session } from '../../src/services/session'
import { Job } from '../../src/services/shown'
import { wav } from '../../src/services/sound'
import { Voices } from '../../src/services/voices'
import { NodePort } from '../port'
import { bytesOf, speech } from '../sounds'

export const BASE = process.env['VOXRELAY_TEST_RELAY'] ?? ''

/** The key of one who looks after this relay. */
export const OPERATOR = process.env['VOXRELAY_TEST_OPERATOR'] ?? ''

/** What the stages of this relay do with a text. */
export const SAID = { spoken: '你好，世界。', rejected: '请拒绝。', waits: '等我放行。', release: '放行。' }

export const PART = 1 << 20
const PACE: Pace = { poll: 50, refresh: 200, retry: 50, longest: 400, beat: 2_000 }

/** Codes that WeChat's server knows, of somebody who was never here: `who-<n>` is one of `who`. */
export function codes(): string[] {
  const who = Math.random().toString(36).slice(2)
  return [1, 2, 3].map((n) => `${who}-${n}`)
}

const all: Following[] = []

/** Ends what a test that failed has left following, or Node would wait for it. */
export function restAll(): void {
  all.splice(0).forEach((following) => following.rest())
}

export class Phone {
  now = 0
  http!: Http
  relay!: Relay
  files!: Files
  known!: KnownJobs
  kept!: Kept
  voices!: Voices
  outbox!: Outbox

  constructor(readonly wx: NodePort = new NodePort(codes())) {
    this.boot()
  }

  /** The mini-program begins anew, with what is in the phone's storage. */
  boot(): void {
    const { port, folder } = this.wx
    this.http = new Http(port, BASE, () => 'zh')
    this.relay = new Relay(this.http, new Session(port, this.http, () => Date.now() + this.now))
    this.files = new Files(port, folder)
    this.known = new KnownJobs(port, this.files)
    this.kept = new Kept(port, this.files)
    this.voices = new Voices(this.relay)
    this.outbox = new Outbox(port, this.relay, this.files, this.known)
  }

  recorded(seconds = 3): Promise<string> {
    return this.files.write(`recording-${Date.now()}.wav`, wav(bytesOf(speech(seconds))))
  }

  async sends(text: string): Promise<Job> {
    this.outbox.put({ text, format: 'mp3' }, await this.recorded())
    return this.outbox.send(PART)
  }

  /** How often a door was knocked at. */
  asked(method: string, path: string): number {
    return this.wx.traffic.filter((each) => each.method === method && each.path === path).length
  }

  follow(id: string, listener: Listener, listens = true): Following {
    const following = new Following(this.wx.port, this.relay, id, listener, PACE, listens)
    all.push(following)
    return following
  }
}

/** What a listener hears of a job. */
export class Heard implements Listener {
  readonly jobs: Job[] = []
  error: unknown = null

  job(job: Job): void {
    this.jobs.push(job)
  }

  lost(error: unknown): void {
    this.error = error
  }

  get last(): Job | undefined {
    return this.jobs[this.jobs.length - 1]
  }

  get end(): Job | undefined {
    return this.jobs.find((job) => job.ended)
  }
}

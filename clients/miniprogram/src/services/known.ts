/**
 * The jobs that were sent from this phone, newest first: what was asked for, so that it can be asked
 * for again, and where the recording lies. The relay keeps recordings as FLAC, which no iPhone plays,
 * so listening to one takes our own copy.
 */

import { Files } from './files'
import { Port } from './port'
import { apart, Wish } from './wish'

const STORED = 'voxrelay.jobs'
const MOST = 50

export interface Known {
  id: string
  wish: Wish
  /** Empty where it was asked for in a saved voice. */
  recording: string
  ended: boolean
  /** All the jobs that came of one request, where they were several. */
  lesson?: string[]
}

export class KnownJobs {
  constructor(
    private readonly port: Port,
    private readonly files: Files,
  ) {}

  all(): Known[] {
    return this.port.getStorageSync<Known[] | ''>(STORED) || []
  }

  find(id: string): Known | undefined {
    return this.all().find((known) => known.id === id)
  }

  /** The newest that has not ended, as far as is known here. */
  running(): Known | undefined {
    return this.all().find((known) => !known.ended)
  }

  /** The jobs that `wish` became, in the order of its manners. */
  async add(ids: string[], wish: Wish, recording: string): Promise<void> {
    const others = this.all().filter((known) => !ids.includes(known.id))
    const lesson = ids.length > 1 ? { lesson: ids } : {}
    const mine = apart(wish).map((each, at) => ({ id: ids[at] as string, wish: each, recording, ended: false, ...lesson }))
    const all: Known[] = [...mine, ...others]
    this.port.setStorageSync(STORED, all.slice(0, MOST))
    const kept = new Set(all.slice(0, MOST).map((known) => known.recording))
    const left = all.slice(MOST).map((known) => known.recording)
    await Promise.all(left.filter((path) => path && !kept.has(path)).map((path) => this.files.remove(path)))
  }

  end(id: string): void {
    const all = this.all().map((known) => (known.id === id ? { ...known, ended: true } : known))
    this.port.setStorageSync(STORED, all)
  }
}

/** Results that were kept on the phone, by their jobs: they are heard without a network, and when the relay has none. */

import { Files } from './files'
import { Port } from './port'

const STORED = 'voxrelay.kept'
const MOST = 50

interface Held {
  id: string
  path: string
}

export class Kept {
  constructor(
    private readonly port: Port,
    private readonly files: Files,
  ) {}

  /** Where the result of `id` lies; empty where it was not kept. */
  path(id: string): string {
    return this.all().find((held) => held.id === id)?.path ?? ''
  }

  /** Keeps what lies at `url`; where. */
  async keep(id: string, url: string): Promise<string> {
    const path = await this.files.save(await this.files.fetch(url))
    const others = this.all().filter((held) => held.id !== id)
    const all = [{ id, path }, ...others]
    this.port.setStorageSync(STORED, all.slice(0, MOST))
    await Promise.all(all.slice(MOST).map((held) => this.files.remove(held.path)))
    return path
  }

  private all(): Held[] {
    return this.port.getStorageSync<Held[] | ''>(STORED) || []
  }
}

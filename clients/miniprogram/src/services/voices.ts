/**
 * Voices that were saved, each with its consent: one's own, and those that others let one use. Knows
 * the relay's doors for them. Refuses to know jobs, and to keep a voice on the phone.
 */

import { isAbsent, isRefused } from './errors'
import { freshKey } from './key'
import { Relay } from './relay'
import { Share, Voice } from './shown'

export interface Keeping {
  name: string
  of: 'self' | 'other'
  /** The words that were agreed to. */
  statement: string
  /** Where the recording lies on the phone. */
  recording: string
}

export class Voices {
  /** What was asked last, and not answered: asked again it is the same voice. */
  private last: { asked: string; key: string } | null = null

  constructor(private readonly relay: Relay) {}

  /** Those that nobody has taken back, the newest first; null where the relay keeps none, or none of this user. */
  async all(): Promise<Voice[] | null> {
    try {
      return (await this.relay.said<{ voices: Voice[] }>({ method: 'GET', path: '/v1/voices' })).voices
    } catch (error) {
      if (isAbsent(error) || (isRefused(error) && [401, 403].includes(error.status))) return null
      throw error
    }
  }

  async save({ name, of, statement, recording }: Keeping): Promise<Voice> {
    const fields = { name, consent: JSON.stringify({ statement, of }) }
    const headers = { 'Idempotency-Key': this.keyOf(JSON.stringify([fields, recording])) }
    const saved = await this.relay.upload({ path: '/v1/voices', file: recording, fields, headers })
    this.last = null
    return saved.body as Voice
  }

  /** A code for whoever shows it first. */
  async share(id: string): Promise<string> {
    const body = { scopes: ['speak'] }
    return (await this.relay.said<{ code: string }>({ method: 'POST', path: `/v1/voices/${id}/shares`, body })).code
  }

  /** Who else may use it. */
  async shares(id: string): Promise<Share[]> {
    return (await this.relay.said<{ shares: Share[] }>({ method: 'GET', path: `/v1/voices/${id}/shares` })).shares
  }

  /** From the next job on they may not. */
  async unshare(id: string, share: string): Promise<void> {
    await this.relay.ask({ method: 'DELETE', path: `/v1/voices/${id}/shares/${share}` })
  }

  async rename(id: string, name: string): Promise<void> {
    await this.relay.ask({ method: 'PATCH', path: `/v1/voices/${id}`, body: { name } })
  }

  accept(code: string): Promise<Voice> {
    return this.relay.said({ method: 'POST', path: '/v1/voices/accept', body: { code } })
  }

  /** From here on nobody speaks in it. */
  async revoke(id: string): Promise<void> {
    await this.relay.ask({ method: 'DELETE', path: `/v1/voices/${id}` })
  }

  private keyOf(asked: string): string {
    if (this.last?.asked !== asked) this.last = { asked, key: freshKey() }
    return this.last.key
  }
}

/** Those that a job may be asked for in. */
export function usable(voices: Voice[]): Voice[] {
  return voices.filter((voice) => voice.mine || voice.scopes.includes('speak'))
}

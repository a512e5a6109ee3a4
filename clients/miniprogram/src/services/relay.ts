/**
 * The relay's doors, as one who is signed in. A session that was ended is begun anew, once, and the
 * request sent again. Refuses to wait and to remember.
 */

import { isAbsent, isRefused } from './errors'
import { Answer, Ask, Http, Sending } from './http'
import { Session } from './session'
import { Catalogue, History, Job, Reason } from './shown'

export class Relay {
  constructor(
    readonly http: Http,
    readonly session: Session,
  ) {}

  job(id: string): Promise<Job> {
    return this.said({ method: 'GET', path: `/v1/jobs/${id}` })
  }

  jobs(cursor?: string | null, limit = 20): Promise<History> {
    const after = cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''
    return this.said({ method: 'GET', path: `/v1/jobs?limit=${limit}${after}` })
  }

  /** What is on offer; null from a relay that has no such door. */
  catalogue(): Promise<Catalogue | null> {
    return orNull(this.said<Catalogue>({ method: 'GET', path: '/v1/catalogue' }))
  }

  /** These four are told where the relay has ears for it, and it is nobody's loss where it has not. */
  played(id: string): Promise<boolean> {
    return this.tell(id, 'played', {})
  }

  rate(id: string, stars: number): Promise<boolean> {
    return this.tell(id, 'rating', { stars })
  }

  report(id: string, reason: Reason, note: string): Promise<boolean> {
    return this.tell(id, 'report', { reason, ...(note && { note }) })
  }

  appeal(id: string, note: string): Promise<boolean> {
    return this.tell(id, 'appeal', { note })
  }

  /** A page that anybody may open; null from a relay that has none. */
  async share(id: string): Promise<string | null> {
    const made = this.said<{ url: string }>({ method: 'POST', path: `/v1/jobs/${id}/share`, body: {} })
    return (await orNull(made))?.url ?? null
  }

  async said<T>(ask: Ask): Promise<T> {
    return (await this.ask(ask)).body as T
  }

  ask(ask: Ask): Promise<Answer> {
    return this.signedIn((token) => this.http.ask(ask, token))
  }

  upload(sending: Sending, progress?: (percent: number) => void): Promise<Answer> {
    return this.signedIn((token) => this.http.upload(sending, token, progress))
  }

  private async signedIn(act: (token: string | null) => Promise<Answer>): Promise<Answer> {
    const token = await this.session.token()
    try {
      return await act(token)
    } catch (error) {
      if (!isRefused(error) || error.status !== 401) throw error
      return act(await this.session.instead(token))
    }
  }

  /** Whether there is a door for it. */
  private async tell(id: string, what: string, body: object): Promise<boolean> {
    const told = this.ask({ method: 'POST', path: `/v1/jobs/${id}/${what}`, body })
    return (await orNull(told)) !== null
  }
}

async function orNull<T>(asked: Promise<T>): Promise<T | null> {
  try {
    return await asked
  } catch (error) {
    if (isAbsent(error)) return null
    throw error
  }
}

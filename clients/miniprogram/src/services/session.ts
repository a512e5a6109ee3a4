/**
 * Who we are to the relay: `wx.login`'s code becomes a session, whose tokens are kept on the phone.
 *
 * However many callers want a token at once, it is got once: a refresh token is good once, and one
 * that came twice would end the session. Refuses to know what tokens are for.
 */

import { isRefused, Unreachable } from './errors'
import { Http } from './http'
import { Port } from './port'

const STORED = 'voxrelay.session'
const AHEAD = 60_000
/** Milliseconds before its end at which an access token is renewed: clocks differ a little. */

interface Tokens {
  base: string
  access: string
  refresh: string
  until: number
}

interface TokensShown {
  access_token: string
  refresh_token: string
  expires_in: number
}

export class Session {
  private running: Promise<string | null> | null = null
  private nobody = false
  /** The relay lets anybody in, and nobody sign in: one on a developer's own machine. */

  constructor(
    private readonly port: Port,
    private readonly http: Http,
    private readonly now: () => number = Date.now,
  ) {}

  /** A token that is good for a while; null where the relay wants none. */
  async token(): Promise<string | null> {
    if (this.nobody) return null
    const held = this.held()
    if (held && held.until - AHEAD > this.now()) return held.access
    return this.once()
  }

  /** Another token than `refused`, which the relay does not take; one that came meanwhile will do. */
  async instead(refused: string | null): Promise<string | null> {
    const held = this.held()
    if (held && held.access !== refused && !this.running) return held.access
    this.nobody = false
    return this.once()
  }

  private once(): Promise<string | null> {
    this.running ??= this.fresh().finally(() => {
      this.running = null
    })
    return this.running
  }

  private async fresh(): Promise<string | null> {
    const held = this.held()
    try {
      return held ? await this.renewed(held) : await this.signedIn()
    } catch (error) {
      if (!isRefused(error) || error.code !== 'wechat_off') throw error
      this.nobody = true
      return null
    }
  }

  private async renewed(held: Tokens): Promise<string> {
    try {
      return await this.asked('/v1/session/refresh', { refresh_token: held.refresh })
    } catch (error) {
      if (!isRefused(error) || error.status !== 401) throw error
      this.port.removeStorageSync(STORED)
      return this.signedIn()
    }
  }

  private async signedIn(): Promise<string> {
    return this.asked('/v1/session', { wechat_code: await this.code() })
  }

  private async asked(path: string, body: object): Promise<string> {
    const { body: said } = await this.http.ask({ method: 'POST', path, body }, null)
    const tokens = said as TokensShown
    const until = this.now() + tokens.expires_in * 1000
    const kept = { access: tokens.access_token, refresh: tokens.refresh_token, until }
    this.port.setStorageSync(STORED, { base: this.http.base, ...kept })
    return tokens.access_token
  }

  private code(): Promise<string> {
    return new Promise((resolve, reject) => {
      this.port.login({
        success: ({ code }) => resolve(code),
        fail: ({ errMsg }) => reject(new Unreachable(errMsg)),
      })
    })
  }

  /** What is kept, if it is of this relay. */
  private held(): Tokens | null {
    const held = this.port.getStorageSync<Tokens | ''>(STORED)
    return held && held.base === this.http.base ? held : null
  }
}

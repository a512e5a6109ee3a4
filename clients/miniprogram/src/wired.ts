/**
 * The services put together on `wx`: the one place that names it beside pages and components.
 * Made when first asked for, so that nothing happens at import.
 */

import { RELAY } from './config'
import { catalogue, USUAL } from './services/catalogue'
import { Files } from './services/files'
import { Following, Listener } from './services/following'
import { Http } from './services/http'
import { Kept } from './services/kept'
import { KnownJobs } from './services/known'
import { Live } from './services/live'
import { Outbox } from './services/outbox'
import { dropped, takesParts } from './services/parts'
import { Recorder, RECORDING } from './services/recorder'
import { Relay } from './services/relay'
import { Session } from './services/session'
import { Catalogue } from './services/shown'
import { Voices } from './services/voices'
import { Language, languageOf, Texts, textsIn } from './texts/index'

export class House {
  readonly language: Language = languageOf(tag())
  readonly texts: Texts = textsIn(this.language)
  readonly http: Http
  readonly relay: Relay
  readonly files: Files
  readonly known: KnownJobs
  readonly kept: Kept
  readonly voices: Voices
  readonly outbox: Outbox
  readonly recorder: Recorder
  private offered: Promise<Catalogue> | null = null
  private parts: Promise<boolean> | null = null

  constructor(base: string) {
    this.http = new Http(wx, base, () => this.language)
    this.relay = new Relay(this.http, new Session(wx, this.http))
    this.files = new Files(wx, wx.env.USER_DATA_PATH)
    this.known = new KnownJobs(wx, this.files)
    this.kept = new Kept(wx, this.files)
    this.voices = new Voices(this.relay)
    this.outbox = new Outbox(wx, this.relay, this.files, this.known)
    this.recorder = new Recorder(wx.getRecorderManager(), this.files)
  }

  /** Asked for once; again only where nobody answered. */
  catalogue(): Promise<Catalogue> {
    this.offered ??= catalogue(this.relay).catch(() => {
      this.offered = null
      return USUAL
    })
    return this.offered
  }

  takesParts(): Promise<boolean> {
    this.parts ??= takesParts(this.relay).catch(() => {
      this.parts = null
      return false
    })
    return this.parts
  }

  /** Removes a recording, and the upload that it came in, unless something is made of them still. */
  async forget(recording: string, upload?: string): Promise<void> {
    if (!this.wanted().has(recording)) await this.files.remove(recording)
    if (upload && this.outbox.pending()?.upload !== upload) await dropped(this.relay, upload)
  }

  /** Removes recordings that were left lying when the mini-program ended. */
  async tidy(): Promise<void> {
    const wanted = this.wanted()
    const all = (await this.files.names()).filter((name) => name.startsWith(RECORDING)).map((name) => this.files.at(name))
    await Promise.all(all.filter((path) => !wanted.has(path)).map((path) => this.files.remove(path)))
  }

  private wanted(): Set<string | undefined> {
    return new Set([this.outbox.pending(), ...this.known.all()].map((each) => each?.recording))
  }

  live(): Live {
    return new Live(wx, this.relay)
  }

  follow(id: string, listener: Listener, listens = true): Following {
    return new Following(wx, this.relay, id, listener, undefined, listens)
  }
}

let house: House | null = null

export function wired(): House {
  house ??= new House(RELAY)
  return house
}

/** Another relay, from now on. */
export function rewire(base: string): House {
  house = new House(base)
  return house
}

/** `wx.getAppBaseInfo` is younger than the oldest WeChat that runs this. */
function tag(): string {
  return (wx.getAppBaseInfo?.() ?? wx.getSystemInfoSync()).language
}

/**
 * The parts of `wx` that are a phone's alone, as a test plays them: a microphone that is given its
 * sound, a loudspeaker that says what it would play, WeChat's questions with the answers of a user.
 */

import { Context } from '../src/services/player'
import { NodePort } from './port'

type Act = (...given: never[]) => void

export class Microphone {
  started: WechatMiniprogram.RecorderManagerStartOption[] = []
  stops = 0
  /** Formats that this phone cannot record. */
  cannot: string[] = []
  private acts = new Map<string, Act>()

  onStart = (act: Act) => this.acts.set('start', act)
  onStop = (act: Act) => this.acts.set('stop', act)
  onError = (act: Act) => this.acts.set('error', act)
  onFrameRecorded = (act: Act) => this.acts.set('frame', act)
  onInterruptionBegin = (act: Act) => this.acts.set('interruption', act)

  start(option: WechatMiniprogram.RecorderManagerStartOption): void {
    this.started.push(option)
    this.tell(this.cannot.includes(option.format ?? 'aac') ? 'error' : 'start', {})
  }

  stop(): void {
    this.stops += 1
  }

  frame(frameBuffer: ArrayBuffer): void {
    this.tell('frame', { frameBuffer, isLastFrame: false })
  }

  stopped(tempFilePath: string, duration: number): void {
    this.tell('stop', { tempFilePath, duration, fileSize: 0 })
  }

  interrupted(): void {
    this.tell('interruption')
  }

  private tell(event: string, ...given: unknown[]): void {
    this.acts.get(event)?.(...(given as never[]))
  }
}

export class Loudspeaker {
  src = ''
  destroyed = false
  private acts = new Map<string, () => void>()

  onPlay = (act: () => void) => this.acts.set('play', act)
  onEnded = (act: () => void) => this.acts.set('ended', act)
  onError = (act: () => void) => this.acts.set('error', act)
  play = () => this.acts.get('play')?.()
  ended = () => this.acts.get('ended')?.()
  breaks = () => this.acts.get('error')?.()

  destroy(): void {
    this.destroyed = true
  }
}

export class TestPhone extends NodePort {
  readonly env = { USER_DATA_PATH: this.folder }
  readonly microphone = new Microphone()
  readonly sounds: Loudspeaker[] = []
  readonly went: string[] = []
  readonly shared: WechatMiniprogram.ShareFileMessageOption[] = []
  language = 'zh_CN'
  privacy = true
  scope: boolean | undefined = undefined
  answers = true
  settingsOpened = 0
  /** What its user says to a question of ours. */
  confirms = true
  /** What its user writes where a question may be written into. */
  writes = ''
  readonly asked: string[] = []
  readonly clipboard: string[] = []
  /** Whether WeChat takes what is handed on for an answer to a tap. */
  taps = true

  getAppBaseInfo = () => ({ language: this.language })
  getRecorderManager = () => this.microphone
  setNavigationBarTitle = () => undefined
  setInnerAudioOption = () => undefined
  stopPullDownRefresh = () => undefined

  createInnerAudioContext(): Context {
    this.sounds.push(new Loudspeaker())
    return this.sound as unknown as Context
  }

  /** What was made to sound last. */
  get sound(): Loudspeaker {
    return this.sounds[this.sounds.length - 1] as Loudspeaker
  }

  requirePrivacyAuthorize({ success, fail }: Answers): void {
    if (this.privacy) success?.({})
    else fail?.({})
  }

  getSetting({ success }: Answers): void {
    success?.({ authSetting: this.scope === undefined ? {} : { 'scope.record': this.scope } })
  }

  authorize({ success, fail }: Answers): void {
    this.scope = this.answers
    if (this.answers) success?.({})
    else fail?.({})
  }

  openSetting({ success }: Answers): void {
    this.settingsOpened += 1
    this.scope = true
    success?.({})
  }

  navigateTo({ url }: { url: string }): void {
    this.went.push(url)
  }

  redirectTo({ url }: { url: string }): void {
    this.went.push(url)
  }

  reLaunch({ url }: { url: string }): void {
    this.went.push(url)
  }

  shareFileMessage(option: WechatMiniprogram.ShareFileMessageOption): void {
    if (this.taps) this.shared.push(option)
    else option.fail?.({ errMsg: 'shareFileMessage:fail can only be invoked by user TAP gesture.' })
  }

  showModal({ content, editable, success }: WechatMiniprogram.ShowModalOption): void {
    this.asked.push(content ?? '')
    const written = editable ? this.writes : ''
    success?.({ confirm: this.confirms, cancel: !this.confirms, content: written, errMsg: 'showModal:ok' })
  }

  setClipboardData({ data }: { data: string }): void {
    this.clipboard.push(data)
  }
}

interface Answers {
  success?(result: object): void
  fail?(result: object): void
}

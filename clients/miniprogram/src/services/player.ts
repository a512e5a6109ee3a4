/** One sound at a time: starting another stops the one before. */

export type Context = WechatMiniprogram.InnerAudioContext

export interface PlayerEars {
  playing(src: string): void
  stopped(src: string): void
  /** It was heard to its end. */
  ended(src: string): void
  failed(src: string): void
}

export class Player {
  private context: Context | null = null
  private src = ''

  constructor(
    private readonly create: () => Context,
    private readonly ears: PlayerEars,
  ) {}

  /** Starts `src`; or stops it, where it is what plays. */
  toggle(src: string): void {
    const same = src === this.src
    this.stop()
    if (!same) this.play(src)
  }

  stop(): void {
    if (!this.context) return
    const src = this.src
    this.context.destroy()
    this.context = null
    this.src = ''
    this.ears.stopped(src)
  }

  private play(src: string): void {
    const context = this.create()
    this.context = context
    this.src = src
    const mine = (act: () => void) => () => {
      if (this.context === context) act()
    }
    context.onPlay(mine(() => this.ears.playing(src)))
    context.onEnded(mine(() => (this.stop(), this.ears.ended(src))))
    context.onError(mine(() => (this.stop(), this.ears.failed(src))))
    context.src = src
    context.play()
  }
}

/**
 * Records a voice: what to read, how loud it comes in, how long is left, and whether it will do.
 * What was taken goes out as `take`; a take that was thrown away, as `drop`.
 */

import { consent, hasConsented, microphone } from '../../services/consent'
import { Live } from '../../services/live'
import { Player } from '../../services/player'
import { Take } from '../../services/recorder'
import { meter, RATE } from '../../services/sound'
import { filled, Texts } from '../../texts/index'
import { wired } from '../../wired'

/** A meter moves ten times a second; each move is a message between two threads. */
const EVERY = 100

type Stage = 'idle' | 'recording' | 'taken'

/** What is no data of the view. */
interface Behind {
  live: Live | null
  clock: ReturnType<typeof setInterval> | null
  drawn: number
  player: Player | null
}

const behind = new WeakMap<object, Behind>()

Component({
  properties: {
    t: { type: Object, value: {} as Texts },
    least: { type: Number, value: 3 },
    most: { type: Number, value: 10 },
    live: { type: Boolean, value: false },
  },

  data: {
    stage: 'idle' as Stage,
    asking: false,
    left: '',
    level: 0,
    bare: true,
    hint: '',
    good: true,
    taken: '',
    playing: false,
    blocked: '',
    denied: false,
  },

  lifetimes: {
    attached() {
      behind.set(this, { live: null, clock: null, drawn: 0, player: null })
    },

    detached() {
      void behind.get(this)?.live?.cancel()
      this.release()
      behind.get(this)?.player?.stop()
      wired().recorder.stop()
    },
  },

  pageLifetimes: {
    hide() {
      wired().recorder.stop() // WeChat would stop it by itself, and say nothing
    },
  },

  methods: {
    async begin() {
      if (!hasConsented(wx)) return this.setData({ asking: true })
      await this.open()
    },

    async agreed() {
      consent(wx)
      this.setData({ asking: false })
      await this.open()
    },

    disagreed() {
      this.setData({ asking: false })
    },

    async open() {
      const may = await microphone(wx)
      if (may === 'granted') return this.record()
      const { privacyNeeded, microphoneNeeded } = this.data.t
      const denied = may === 'denied'
      this.setData({ denied, blocked: denied ? microphoneNeeded : privacyNeeded })
    },

    settings() {
      wx.openSetting({ success: () => this.setData({ blocked: '', denied: false }) })
    },

    record() {
      const { least, most } = this.data
      this.setData({ blocked: '', denied: false })
      wired().recorder.start(
        { least, most },
        {
          started: () => this.started(),
          frame: (bytes, level) => this.heard(bytes, level),
          stopped: (take) => void this.stopped(take),
          failed: () => this.failed(),
        },
      )
    },

    stop() {
      wired().recorder.stop()
    },

    again() {
      behind.get(this)?.player?.stop()
      this.setData({ stage: 'idle', hint: '' })
      this.triggerEvent('drop')
    },

    listen() {
      const held = behind.get(this)
      if (!held) return
      held.player ??= new Player(() => wx.createInnerAudioContext(), {
        playing: () => this.setData({ playing: true }),
        stopped: () => this.setData({ playing: false }),
        ended: () => undefined,
        failed: () => this.setData({ hint: this.data.t.cannotPlay }),
      })
      held.player.toggle(this.data.taken)
    },

    started() {
      const held = behind.get(this)
      if (!held) return
      const { bare } = wired().recorder
      const until = Date.now() + this.data.most * 1000
      const count = () => {
        const left = Math.max(0, Math.ceil((until - Date.now()) / 1000))
        this.setData({ left: filled(this.data.t.left, left) })
      }
      held.clock = setInterval(count, 250)
      held.live = this.data.live && bare ? wired().live() : null
      void held.live?.begin()
      this.setData({ stage: 'recording', bare, level: 0, hint: '' })
      count()
    },

    heard(bytes: ArrayBuffer, level: number) {
      const held = behind.get(this)
      if (!held) return
      held.live?.frame(bytes)
      if (Date.now() - held.drawn < EVERY) return
      held.drawn = Date.now()
      this.setData({ level: meter(level) })
    },

    async stopped(take: Take) {
      const live = behind.get(this)?.live ?? null
      this.release()
      const { t, least } = this.data
      const hint = filled(t[`verdict_${take.verdict}`], least)
      this.setData({ stage: 'taken', hint, good: take.verdict === 'good', taken: take.path, level: 0 })
      this.triggerEvent('take', { ...take, live: null })
      if (live) await this.arrived(take, live)
    },

    /** The take may be used meanwhile; that it lies at the relay already is told of one that is wanted still. */
    async arrived(take: Take, live: Live) {
      if (take.verdict !== 'good') return live.cancel()
      const upload = await live.end()
      if (!upload) return
      if (this.data.stage !== 'taken' || this.data.taken !== take.path) return live.cancel()
      this.triggerEvent('take', { ...take, live: { upload, pcm: { sample_rate: RATE } } })
    },

    failed() {
      void behind.get(this)?.live?.cancel()
      this.release()
      this.setData({ stage: 'idle', blocked: this.data.t.recordingFailed })
    },

    release() {
      const held = behind.get(this)
      if (!held) return
      if (held.clock) clearInterval(held.clock)
      held.clock = held.live = null
    },
  },
})

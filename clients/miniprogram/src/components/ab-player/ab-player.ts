/** Recording and result, one after the other as often as one likes. `heard`: the result was played. */

import { Player } from '../../services/player'
import { Texts } from '../../texts/index'

const players = new WeakMap<object, Player>()

Component({
  properties: {
    t: { type: Object, value: {} as Texts },
    /** Where the recording lies on this phone; empty where it does not. */
    recording: { type: String, value: '' },
    result: { type: String, value: '' },
  },

  data: { playing: '', failed: false },

  lifetimes: {
    attached() {
      const ears = {
        playing: (src: string) => this.started(src),
        stopped: () => this.setData({ playing: '' }),
        ended: () => undefined,
        failed: () => this.broke(),
      }
      players.set(this, new Player(() => wx.createInnerAudioContext(), ears))
    },

    detached() {
      players.get(this)?.stop()
    },
  },

  pageLifetimes: {
    hide() {
      players.get(this)?.stop()
    },
  },

  methods: {
    playRecording() {
      this.toggle(this.data.recording)
    },

    playResult() {
      this.toggle(this.data.result)
    },

    toggle(src: string) {
      this.setData({ failed: false })
      players.get(this)?.toggle(src)
    },

    started(src: string) {
      this.setData({ playing: src })
      if (src === this.data.result) this.triggerEvent('heard')
    },

    /** Its address may have expired: whoever holds the job can ask for another. */
    broke() {
      this.setData({ failed: true })
      this.triggerEvent('stale')
    },
  },
})

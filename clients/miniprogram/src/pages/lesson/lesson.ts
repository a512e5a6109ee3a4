/** One recording in several dialects, side by side: each followed to its end, and heard beside the others. */

import { Following } from '../../services/following'
import { Player } from '../../services/player'
import { Job } from '../../services/shown'
import { Texts } from '../../texts/index'
import { wired } from '../../wired'

/** As many as may listen at once: WeChat opens five lines, and one is for a recording. */
const LINES = 4

interface Row {
  id: string
  label: string
  job: Partial<Job>
  lost: boolean
}

interface Behind {
  following: Following[]
  player: Player
}

const behind = new WeakMap<object, Behind>()

Component({
  data: {
    t: {} as Texts,
    rows: [] as Row[],
    text: '',
    recording: '',
    playing: '',
    notice: '',
  },

  methods: {
    async onLoad(query: { ids?: string }) {
      const { texts, known, files } = wired()
      const ids = (query.ids ?? '').split(',').filter(Boolean)
      wx.setNavigationBarTitle({ title: texts.lesson })
      this.setData({ t: texts, rows: ids.map((id) => ({ id, label: '', job: {}, lost: false })) })
      const following = ids.map((id, at) => this.follow(id, at, ids.length <= LINES))
      const player = new Player(() => wx.createInnerAudioContext(), {
        playing: (src) => this.setData({ playing: src }),
        stopped: () => this.setData({ playing: '' }),
        ended: () => undefined,
        failed: (src) => void this.renew(src),
      })
      behind.set(this, { following, player })
      this.onShow()
      const recording = known.find(ids[0] ?? '')?.recording ?? ''
      if (recording && (await files.exists(recording))) this.setData({ recording })
      await this.call()
    },

    onShow() {
      behind.get(this)?.following.forEach((each) => each.start())
    },

    onHide() {
      const held = behind.get(this)
      held?.following.forEach((each) => each.rest())
      held?.player.stop()
    },

    onUnload() {
      this.onHide()
    },

    follow(id: string, at: number, listens: boolean): Following {
      const job = (shown: Job) => {
        if (shown.ended) wired().known.end(id)
        this.setData({ text: shown.text ?? '', [`rows[${at}].job`]: shown })
        void this.call()
      }
      const lost = () => {
        wired().known.end(id)
        this.setData({ [`rows[${at}].lost`]: true })
      }
      return wired().follow(id, { job, lost }, listens)
    },

    /** Dialects by the names that the catalogue has for them. */
    async call() {
      const { dialects } = await wired().catalogue()
      const { language } = wired()
      const label = (name: string) => dialects.find((each) => each.name === name)?.label[language] ?? name
      this.setData({ rows: this.data.rows.map((row) => ({ ...row, label: label(row.job.variant ?? '') })) })
    },

    listen(event: WechatMiniprogram.CustomEvent) {
      const src = event.currentTarget.dataset['src'] as string
      const id = event.currentTarget.dataset['id'] as string | undefined
      this.setData({ notice: '' })
      behind.get(this)?.player.toggle(src)
      if (id) void wired().relay.played(id).catch(() => undefined) // that nobody counts it is nobody's trouble
    },

    /** An address is good for some minutes: its job is asked for another. */
    async renew(src: string) {
      const { t, rows } = this.data
      const at = rows.findIndex(({ job }) => job.audio?.url === src)
      this.setData({ notice: t.cannotPlay })
      const job = at < 0 ? null : await wired().relay.job(rows[at]?.id ?? '').catch(() => null)
      if (job) this.setData({ [`rows[${at}].job`]: job })
    },

    open(event: WechatMiniprogram.CustomEvent) {
      wx.navigateTo({ url: `/pages/job/job?id=${event.currentTarget.dataset['id']}` })
    },
  },
})

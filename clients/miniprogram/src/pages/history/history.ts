/** What was asked for before, newest first, a page at a time. */

import { sentenceOf } from '../../services/errors'
import { Job } from '../../services/shown'
import { Texts } from '../../texts/index'
import { wired } from '../../wired'

interface Row {
  id: string
  text: string
  state: string
  at: string
}

Component({
  data: {
    t: {} as Texts,
    rows: [] as Row[],
    cursor: '',
    loaded: false,
    notice: '',
  },

  methods: {
    async onLoad() {
      const { texts } = wired()
      wx.setNavigationBarTitle({ title: texts.history })
      this.setData({ t: texts })
      await this.fetch([])
    },

    async onPullDownRefresh() {
      this.setData({ cursor: '' })
      await this.fetch([])
      wx.stopPullDownRefresh()
    },

    async onReachBottom() {
      if (this.data.cursor) await this.fetch(this.data.rows)
    },

    more() {
      return this.onReachBottom()
    },

    async fetch(before: Row[]) {
      try {
        const { jobs, cursor } = await wired().relay.jobs(this.data.cursor)
        const rows = [...before, ...jobs.map((job) => row(job, this.data.t))]
        this.setData({ rows, cursor: cursor ?? '', loaded: true, notice: '' })
      } catch (error) {
        this.setData({ notice: sentenceOf(error, this.data.t.unreachable) })
      }
    },

    open(event: WechatMiniprogram.CustomEvent) {
      wx.navigateTo({ url: `/pages/job/job?id=${event.currentTarget.dataset['id']}` })
    },
  },
})

function row(job: Job, t: Texts): Row {
  const at = new Date(job.accepted_at)
  const two = (n: number) => String(n).padStart(2, '0')
  const time = `${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}`
  return { id: job.job_id, text: job.text ?? '', state: t[`state_${job.state}`], at: time }
}

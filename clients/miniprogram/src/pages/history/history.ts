/** What was asked for before, newest first, a page at a time. */

import { sentenceOf } from '../../services/errors'
import { Catalogue, Job } from '../../services/shown'
import { Language, Texts } from '../../texts/index'
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
    fetching: false,
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
      if (this.data.fetching) return // or the end of the list and the button would both have it
      this.setData({ fetching: true })
      try {
        const { jobs, cursor } = await wired().relay.jobs(this.data.cursor)
        const offer = await wired().catalogue()
        const rows = [...before, ...jobs.map((job) => row(job, this.data.t, offer, wired().language))]
        this.setData({ rows, cursor: cursor ?? '', loaded: true, notice: '' })
      } catch (error) {
        this.setData({ notice: sentenceOf(error, this.data.t.notReached) })
      } finally {
        this.setData({ fetching: false })
      }
    },

    open(event: WechatMiniprogram.CustomEvent) {
      wx.navigateTo({ url: `/pages/job/job?id=${event.currentTarget.dataset['id']}` })
    },
  },
})

function row(job: Job, t: Texts, offer: Catalogue, language: Language): Row {
  const at = new Date(job.accepted_at)
  const two = (n: number) => String(n).padStart(2, '0')
  const time = `${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}`
  const dialect = offer.dialects.find((each) => each.name === job.variant)
  const manner = dialect?.label[language] ?? job.variant
  const under = [time, manner].filter(Boolean).join(' · ')
  return { id: job.job_id, text: job.text ?? '', state: t[`state_${job.state}`], at: under }
}

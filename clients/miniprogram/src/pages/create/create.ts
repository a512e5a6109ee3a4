/** The page that asks: a voice, a text, a manner; and shows what is on its way still. */

import { isRefused, sentenceOf } from '../../services/errors'
import { Pending } from '../../services/outbox'
import { Take } from '../../services/recorder'
import { Catalogue } from '../../services/shown'
import { Manner } from '../../services/wish'
import { filled, Texts } from '../../texts/index'
import { wired } from '../../wired'

type LiveTake = Take & { live: Pick<Pending, 'upload' | 'pcm'> | null }

/** What the microphone is opened for at most, whatever the relay would take. */
const LONGEST = 10

/** The shortest of which a voice can be made well. */
const SHORTEST = 3

Component({
  data: {
    t: {} as Texts,
    language: 'zh',
    offer: {} as Catalogue,
    limit: 500,
    least: SHORTEST,
    most: LONGEST,
    live: false,
    start: '',
    text: '',
    over: false,
    take: null as LiveTake | null,
    manner: {} as Manner,
    busy: false,
    percent: '',
    notice: '',
    pending: false,
    running: '',
  },

  methods: {
    async onLoad(query: { again?: string }) {
      const { texts, language, known } = wired()
      wx.setNavigationBarTitle({ title: texts.create })
      this.setData({ t: texts, language })
      const former = query.again ? known.find(query.again) : undefined
      if (former) this.setData({ start: former.wish.text })
      const offer = await wired().catalogue()
      const { text, recording_seconds: seconds } = offer.limits
      const most = Math.min(LONGEST, seconds.most)
      const least = Math.max(SHORTEST, seconds.least)
      this.setData({ offer, limit: text, most, least, live: await wired().takesParts() })
    },

    async onShow() {
      this.look()
      if (this.data.pending) await this.send(false)
    },

    look() {
      const { outbox, known } = wired()
      this.setData({ pending: outbox.pending() !== null, running: known.running()?.id ?? '' })
    },

    onShareAppMessage() {
      return { title: wired().texts.create, path: '/pages/create/create' }
    },

    typed(event: WechatMiniprogram.CustomEvent<{ text: string; over: boolean }>) {
      this.setData({ ...event.detail, notice: '' })
    },

    taken(event: WechatMiniprogram.CustomEvent<LiveTake>) {
      this.setData({ take: event.detail, notice: '' })
    },

    async dropped() {
      const { take } = this.data
      this.setData({ take: null })
      if (take) await wired().forget(take.path)
    },

    picked(event: WechatMiniprogram.CustomEvent<Manner>) {
      this.setData({ manner: event.detail })
    },

    async submit() {
      const { t, text, over, take, manner, limit } = this.data
      if (!take) return this.setData({ notice: t.needRecording })
      if (!text) return this.setData({ notice: t.needText })
      if (over) return this.setData({ notice: filled(t.textOver, [...text].length - limit) })
      wired().outbox.put({ text, format: 'mp3', ...manner }, take.path, take.live)
      await this.send(true)
    },

    sendNow() {
      return this.send(true)
    },

    /** `go`: to the page of the job, which somebody who just comes back has not asked for. */
    async send(go: boolean) {
      if (this.data.busy) return
      const { outbox } = wired()
      this.setData({ busy: true, notice: '', percent: filled(this.data.t.sending, 0) })
      try {
        const { limits } = await wired().catalogue()
        const told = (percent: number) => this.setData({ percent: filled(this.data.t.sending, percent) })
        const job = await outbox.send(limits.part_bytes, told)
        if (go) wx.navigateTo({ url: `/pages/job/job?id=${job.job_id}` })
      } catch (error) {
        this.setData({ notice: this.words(error) })
      } finally {
        this.setData({ busy: false, percent: '' })
        this.look()
      }
    },

    words(error: unknown): string {
      const { t } = this.data
      const wait = isRefused(error) && error.retryAfter ? filled(t.retryAfter, error.retryAfter) : ''
      return [sentenceOf(error, t.unreachable), wait].filter(Boolean).join(' ')
    },

    discard() {
      wired().outbox.discard()
      this.setData({ pending: false, notice: '' })
    },

    open() {
      wx.navigateTo({ url: `/pages/job/job?id=${this.data.running}` })
    },

    history() {
      wx.navigateTo({ url: '/pages/history/history' })
    },
  },
})

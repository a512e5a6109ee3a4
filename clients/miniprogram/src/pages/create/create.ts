/** The page that asks: a voice, a text, a manner; and shows what is on its way still. */

import { isRefused, isUnreachable, sentenceOf } from '../../services/errors'
import { Pending } from '../../services/outbox'
import { Take } from '../../services/recorder'
import { Catalogue, Voice } from '../../services/shown'
import { Keeping, usable } from '../../services/voices'
import { pageOf } from '../../services/where'
import { Manner } from '../../services/wish'
import { filled, Texts } from '../../texts/index'
import { wired } from '../../wired'

type LiveTake = Take & { live: Pick<Pending, 'upload' | 'pcm'> | null }

/** What the microphone is opened for at most, whatever the relay would take. */
const LONGEST = 10

/** The shortest of which a voice can be made well. */
const SHORTEST = 3

/** Before what nobody answered is sent again by itself: the first time, and at most. */
const RETRY = { first: 2_000, longest: 30_000 }

/** When it is sent again by itself. */
const later = new WeakMap<object, ReturnType<typeof setTimeout>>()

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
    /** Whether this relay keeps voices, which there are, and which is spoken in; empty for a recording. */
    keeps: false,
    voices: [] as Voice[],
    voice: '',
    keeping: false,
    saving: false,
    keepNotice: '',
  },

  methods: {
    async onLoad(query: { again?: string; voice?: string }) {
      const { texts, language, known } = wired()
      wx.setNavigationBarTitle({ title: texts.create })
      this.setData({ t: texts, language })
      const former = query.again ? known.find(query.again) : undefined
      this.setData({ start: former?.wish.text ?? '', voice: query.voice ?? former?.wish.voice ?? '' })
      const offer = await wired().catalogue()
      const { text, recording_seconds: seconds } = offer.limits
      const most = Math.min(LONGEST, seconds.most)
      const least = Math.max(SHORTEST, seconds.least)
      this.setData({ offer, limit: text, most, least, live: await wired().takesParts() })
    },

    async onShow() {
      this.look()
      await Promise.all([this.fetchVoices(), this.data.pending && this.send(false)])
    },

    onHide() {
      this.rest()
    },

    onUnload() {
      this.rest()
    },

    rest() {
      const timer = later.get(this)
      if (timer !== undefined) clearTimeout(timer)
    },

    look() {
      const { outbox, known } = wired()
      const running = known.running()
      const where = running ? pageOf(running.lesson ?? [running.id]) : ''
      this.setData({ pending: outbox.pending() !== null, running: where })
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
      if (take) await wired().forget(take.path, take.live?.upload)
    },

    picked(event: WechatMiniprogram.CustomEvent<Manner>) {
      this.setData({ manner: event.detail })
    },

    // Voices

    /** A voice that was taken back meanwhile is picked no more; where nobody answers all stays as it is. */
    async fetchVoices() {
      const all = await wired().voices.all().catch(() => undefined)
      if (all === undefined) return
      const voices = usable(all ?? [])
      const still = voices.some(({ id }) => id === this.data.voice)
      this.setData({ keeps: all !== null, voices, voice: still ? this.data.voice : '' })
    },

    pickVoice(event: WechatMiniprogram.CustomEvent<{ id: string }>) {
      this.setData({ voice: event.detail.id, notice: '' })
    },

    manage() {
      wx.navigateTo({ url: '/pages/voices/voices' })
    },

    keep() {
      this.setData({ keeping: true, keepNotice: '' })
    },

    close() {
      this.setData({ keeping: false })
    },

    async save(event: WechatMiniprogram.CustomEvent<Omit<Keeping, 'recording'>>) {
      const { take, t, saving } = this.data
      if (!take || saving) return
      this.setData({ saving: true, keepNotice: '' })
      try {
        const { id } = await wired().voices.save({ ...event.detail, recording: take.path })
        this.setData({ keeping: false, voice: id })
        await this.fetchVoices()
      } catch (error) {
        this.setData({ keepNotice: sentenceOf(error, t.notReached) })
      } finally {
        this.setData({ saving: false })
      }
    },

    // Sending

    async submit() {
      const { t, text, over, take, voice, manner, limit } = this.data
      if (!take && !voice) return this.setData({ notice: t.needRecording })
      if (!text) return this.setData({ notice: t.needText })
      if (over) return this.setData({ notice: filled(t.textOver, [...text].length - limit) })
      const wish = { text, format: 'mp3' as const, ...manner }
      if (voice) wired().outbox.put({ ...wish, voice }, '')
      else if (take) wired().outbox.put(wish, take.path, take.live)
      await this.send(true)
    },

    sendNow() {
      return this.send(true)
    },

    /**
     * `go`: to the page of the job, which somebody who just comes back has not asked for. Where nobody
     * answers, as while the relay is started anew, it is sent again `after` a while, as long as one looks.
     */
    async send(go: boolean, after: number = RETRY.first) {
      if (this.data.busy) return
      this.rest()
      const { outbox } = wired()
      this.setData({ busy: true, notice: '', percent: filled(this.data.t.sending, 0) })
      try {
        const { limits } = await wired().catalogue()
        const told = (percent: number) => this.setData({ percent: filled(this.data.t.sending, percent) })
        const sent = await outbox.send(limits.part_bytes, told)
        if (go) wx.navigateTo({ url: pageOf((sent.variants ?? [sent]).map((job) => job.job_id)) })
      } catch (error) {
        this.setData({ notice: this.words(error) })
        const again = () => void this.send(go, Math.min(RETRY.longest, 2 * after))
        if (isUnreachable(error)) later.set(this, setTimeout(again, after))
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
      this.rest()
      wired().outbox.discard()
      this.setData({ pending: false, notice: '' })
    },

    open() {
      wx.navigateTo({ url: this.data.running })
    },

    history() {
      wx.navigateTo({ url: '/pages/history/history' })
    },
  },
})

/** One job: followed to its end, then heard, kept, handed on, and said something of. */

import { TEMPLATE } from '../../config'
import { sentenceOf } from '../../services/errors'
import { Following } from '../../services/following'
import { fileName, title } from '../../services/sharing'
import { Complaint, Job, Reason } from '../../services/shown'
import { pageOf } from '../../services/where'
import { another } from '../../services/wish'
import { Texts } from '../../texts/index'
import { wired } from '../../wired'

const following = new WeakMap<object, Following>()

/** Where the result lies that was fetched to be sent. */
const fetched = new WeakMap<object, string>()

Component({
  data: {
    t: {} as Texts,
    id: '',
    job: {} as Partial<Job>,
    recording: '',
    /** Where the result lies on this phone; empty where it was not kept. */
    kept: '',
    notice: '',
    told: false,
    /** What was complained of before, and what came of it. */
    complaints: [] as string[],
    /** Doors that this relay has, as far as is known: what it lacks is not shown. */
    feedback: true,
    linkable: true,
    heard: false,
    busy: false,
    askable: false,
    canRetry: false,
  },

  methods: {
    async onLoad(query: { id?: string }) {
      const { texts, known, files, kept } = wired()
      const id = query.id ?? ''
      const former = known.find(id)
      this.setData({ t: texts, id, askable: TEMPLATE !== '', canRetry: former !== undefined })
      const job = (shown: Job) => this.show(shown)
      following.set(this, wired().follow(id, { job, lost: (error) => this.lose(error) }))
      following.get(this)?.start()
      if (former?.recording && (await files.exists(former.recording))) this.setData({ recording: former.recording })
      if (kept.path(id) && (await files.exists(kept.path(id)))) this.setData({ kept: kept.path(id) })
    },

    /** WeChat shows a page once before it has loaded anything, and again after the background. */
    onShow() {
      following.get(this)?.start()
    },

    onHide() {
      following.get(this)?.rest()
    },

    onUnload() {
      following.get(this)?.rest()
    },

    onShareAppMessage() {
      const { t, job } = this.data
      return { title: title(t.label, job.text ?? ''), path: '/pages/create/create' }
    },

    show(job: Job) {
      if (job.ended) wired().known.end(job.job_id)
      const complaints = (job.complaints ?? []).map((each) => complained(each, this.data.t))
      this.setData({ job, complaints })
    },

    lose(error: unknown) {
      wired().known.end(this.data.id)
      this.setData({ notice: sentenceOf(error, this.data.t.lost) })
    },

    // What the player says

    async heard() {
      if (this.data.heard) return
      this.setData({ heard: true })
      // That nobody counts it is nobody's trouble; that there is no such door says what else there is not.
      const feedback = await wired().relay.played(this.data.id).catch(() => true)
      this.setData({ feedback })
    },

    /** Addresses are good for some minutes: the job is asked for others. */
    async stale() {
      try {
        this.setData({ job: await wired().relay.job(this.data.id) })
      } catch (error) {
        this.setData({ notice: sentenceOf(error, this.data.t.cannotPlay) })
      }
    },

    // What its listener says

    async rate(event: WechatMiniprogram.CustomEvent<{ stars: number }>) {
      await this.say(wired().relay.rate(this.data.id, event.detail.stars))
    },

    async report(event: WechatMiniprogram.CustomEvent<{ reason: Reason; note: string }>) {
      const { reason, note } = event.detail
      await this.say(wired().relay.report(this.data.id, reason, note))
    },

    async appeal(event: WechatMiniprogram.CustomEvent<{ note: string }>) {
      await this.say(wired().relay.appeal(this.data.id, event.detail.note))
    },

    async say(telling: Promise<boolean>) {
      try {
        const feedback = await telling
        this.setData({ feedback, told: feedback, notice: '' })
      } catch (error) {
        this.setData({ notice: sentenceOf(error, this.data.t.notReached) })
      }
    },

    // Handing on

    /** What is on the phone goes at once: WeChat takes it in answer to a tap, and fetching may outlast one. */
    async shareFile() {
      const { job, kept } = this.data
      const held = kept || fetched.get(this)
      if (held) return this.hand(held)
      if (!job.audio) return
      try {
        const path = await wired().files.fetch(job.audio.url)
        fetched.set(this, path)
        this.hand(path)
      } catch {
        await this.stale()
      }
    },

    hand(filePath: string) {
      const { t, job, id } = this.data
      const fail = ({ errMsg }: { errMsg: string }) => {
        if (!/cancel/.test(errMsg)) this.setData({ notice: t.tapAgain })
      }
      wx.shareFileMessage({ filePath, fileName: fileName(t.label, id, job.audio?.format ?? 'mp3'), fail })
    },

    async keep() {
      const { t, job, id } = this.data
      if (!job.audio) return
      try {
        this.setData({ kept: await wired().kept.keep(id, job.audio.url), notice: t.kept })
      } catch {
        await this.stale()
      }
    },

    async link() {
      try {
        const url = await wired().relay.share(this.data.id)
        this.setData({ linkable: url !== null })
        if (url) wx.setClipboardData({ data: url })
      } catch (error) {
        this.setData({ notice: sentenceOf(error, this.data.t.notReached) })
      }
    },

    /** WeChat shows its question only in answer to a tap. */
    notify() {
      wx.requestSubscribeMessage({
        tmplIds: [TEMPLATE],
        success: (result) => {
          if (result[TEMPLATE] === 'accept') this.setData({ askable: false, notice: this.data.t.notified })
        },
      })
    },

    // Again

    async retry() {
      const { outbox, known } = wired()
      const former = known.find(this.data.id)
      if (!former || this.data.busy) return
      if (outbox.pending()) return this.setData({ notice: this.data.t.pending })
      this.setData({ busy: true })
      try {
        outbox.put(another(former.wish), former.recording)
        const job = await outbox.send((await wired().catalogue()).limits.part_bytes)
        wx.redirectTo({ url: pageOf([job.job_id]) })
      } catch (error) {
        this.setData({ notice: sentenceOf(error, this.data.t.unreachable) })
      } finally {
        this.setData({ busy: false })
      }
    },

    edit() {
      wx.reLaunch({ url: `/pages/create/create?again=${this.data.id}` })
    },
  },
})

function complained({ kind, reason, upheld }: Complaint, t: Texts): string {
  const outcome = upheld === true ? t.upheld : upheld === false ? t.notUpheld : t.undecided
  return [t[kind], reason && t[`reason_${reason}`], outcome].filter(Boolean).join(' · ')
}

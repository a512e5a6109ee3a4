/** The voices one has saved, and those of others: to use, to name, to share, to take back. */

import { sentenceOf } from '../../services/errors'
import { Share, Voice } from '../../services/shown'
import { usable } from '../../services/voices'
import { filled, Texts } from '../../texts/index'
import { wired } from '../../wired'

interface Row {
  id: string
  name: string
  standing: string
  usable: boolean
  mine: boolean
}

Component({
  data: {
    t: {} as Texts,
    rows: [] as Row[],
    loaded: false,
    notice: '',
    code: '',
    /** Of a share that was just made: it is shown this once. */
    made: '',
    /** The voice of which is shown who else may use it. */
    open: '',
    shares: [] as { id: string; standing: string }[],
  },

  methods: {
    async onLoad() {
      const { texts } = wired()
      wx.setNavigationBarTitle({ title: texts.voices })
      this.setData({ t: texts })
      await this.doing(async () => undefined)
    },

    use(event: WechatMiniprogram.CustomEvent) {
      wx.reLaunch({ url: `/pages/create/create?voice=${idOf(event)}` })
    },

    async share(event: WechatMiniprogram.CustomEvent) {
      await this.doing(async () => this.setData({ made: await wired().voices.share(idOf(event)) }))
    },

    /** Shows who else may use it, or no more. */
    async toggle(event: WechatMiniprogram.CustomEvent) {
      const id = idOf(event)
      const open = this.data.open === id ? '' : id
      await this.doing(async () => this.setData({ open, shares: [] }))
    },

    async unshare(event: WechatMiniprogram.CustomEvent) {
      await this.doing(() => wired().voices.unshare(this.data.open, idOf(event)))
    },

    async rename(event: WechatMiniprogram.CustomEvent) {
      const { rows, t } = this.data
      const row = rows.find(({ id }) => id === idOf(event))
      const name = row && (await asked(t.rename, row.name))
      if (!row || !name || name === row.name) return
      await this.doing(() => wired().voices.rename(row.id, name))
    },

    copy() {
      wx.setClipboardData({ data: this.data.made })
    },

    async revoke(event: WechatMiniprogram.CustomEvent) {
      const row = this.data.rows.find(({ id }) => id === idOf(event))
      if (!row || !(await sure(filled(this.data.t.revokeSure, row.name)))) return
      await this.doing(() => wired().voices.revoke(row.id))
    },

    type(event: WechatMiniprogram.CustomEvent<{ value: string }>) {
      this.setData({ code: event.detail.value })
    },

    async accept() {
      const code = this.data.code.trim()
      if (!code) return
      await this.doing(async () => {
        await wired().voices.accept(code)
        this.setData({ code: '' })
      })
    },

    /** Does it, and shows how things stand then; or why it was not to be. */
    async doing(work: () => Promise<unknown>) {
      const { t } = this.data
      try {
        await work()
        const voices = (await wired().voices.all()) ?? []
        const { open } = this.data
        const shares = voices.some(({ id, mine }) => mine && id === open) ? await wired().voices.shares(open) : []
        if (open !== this.data.open) return // another was opened meanwhile, and shows itself
        const shared = shares.map((share) => ({ id: share.id, standing: standing(share, t) }))
        this.setData({ rows: voices.map((voice) => row(voice, t)), shares: shared, loaded: true, notice: '' })
      } catch (error) {
        this.setData({ notice: sentenceOf(error, t.notReached) })
      }
    },
  },
})

function row(voice: Voice, t: Texts): Row {
  const { id, name, mine } = voice
  return { id, name, standing: mine ? t.voiceMine : t.voiceShared, usable: usable([voice]).length > 0, mine }
}

function standing({ person, created_at: since }: Share, t: Texts): string {
  return `${person ? t.shareTaken : t.shareWaits} · ${since.slice(0, 10)}`
}

function idOf(event: WechatMiniprogram.CustomEvent): string {
  return event.currentTarget.dataset['id'] as string
}

function sure(content: string): Promise<boolean> {
  return new Promise((resolve) => {
    wx.showModal({ content, success: ({ confirm }) => resolve(confirm), fail: () => resolve(false) })
  })
}

/** What the user writes in place of `content`; empty where they think better of it. */
function asked(title: string, content: string): Promise<string> {
  return new Promise((resolve) => {
    const success = (said: { confirm: boolean; content?: string }) => resolve(said.confirm ? (said.content ?? '').trim() : '')
    wx.showModal({ title, content, editable: true, success, fail: () => resolve('') })
  })
}

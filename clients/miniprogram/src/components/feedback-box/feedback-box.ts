/** What its listener says of a result: `rate`, `report`; and of a rejection: `appeal`. */

import { Reason } from '../../services/shown'
import { Texts } from '../../texts/index'

const REASONS: Reason[] = ['not_my_voice', 'offensive', 'fraud', 'quality', 'other']

Component({
  properties: {
    t: { type: Object, value: {} as Texts },
    /** What may be said: `result`, or `rejection`. */
    of: { type: String, value: 'result' },
    /** It was taken. */
    done: { type: Boolean, value: false },
  },

  data: { reasons: REASONS, stars: 0, open: false, reason: '' as Reason | '', note: '' },

  methods: {
    rate(event: WechatMiniprogram.CustomEvent<{ value: number }>) {
      this.setData({ stars: event.detail.value })
      this.triggerEvent('rate', { stars: event.detail.value })
    },

    toggle() {
      this.setData({ open: !this.data.open })
    },

    pick(event: WechatMiniprogram.CustomEvent) {
      this.setData({ reason: event.currentTarget.dataset['reason'] as Reason })
    },

    type(event: WechatMiniprogram.CustomEvent<{ value: string }>) {
      this.setData({ note: event.detail.value })
    },

    report() {
      const { reason, note } = this.data
      if (!reason) return
      this.triggerEvent('report', { reason, note: note.trim() })
      this.setData({ open: false })
    },

    appeal() {
      const note = this.data.note.trim()
      if (note) this.triggerEvent('appeal', { note })
    },
  },
})

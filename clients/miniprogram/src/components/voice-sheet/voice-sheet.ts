/**
 * What a recording is saved under, and what its speaker agrees to. Goes out as `save`: the words of the
 * consent are those that were shown; `close`: it was thought better of.
 */

import { Keeping } from '../../services/voices'
import { Texts } from '../../texts/index'

type Whose = Keeping['of']

Component({
  properties: {
    t: { type: Object, value: {} as Texts },
    visible: { type: Boolean, value: false },
    busy: { type: Boolean, value: false },
    notice: { type: String, value: '' },
  },

  data: { name: '', of: 'self' as Whose },

  methods: {
    type(event: WechatMiniprogram.CustomEvent<{ value: string }>) {
      this.setData({ name: event.detail.value })
    },

    pick(event: WechatMiniprogram.CustomEvent) {
      this.setData({ of: event.currentTarget.dataset['of'] as Whose })
    },

    save() {
      const { of, t } = this.data
      const name = this.data.name.trim()
      if (!name || this.data.busy) return
      const statement = of === 'self' ? t.agreeSelf : t.agreeOther
      this.triggerEvent('save', { name, of, statement })
    },

    close() {
      this.triggerEvent('close')
    },
  },
})

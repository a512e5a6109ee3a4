/** Whose voice: one that is recorded now, or one that was saved. Goes out as `change`; `manage`: to the voices. */

import { Voice } from '../../services/shown'
import { Texts } from '../../texts/index'

Component({
  properties: {
    t: { type: Object, value: {} as Texts },
    voices: { type: Array, value: [] as Voice[] },
    /** The id of the voice that is picked; empty for a recording. */
    value: { type: String, value: '' },
  },

  methods: {
    pick(event: WechatMiniprogram.CustomEvent) {
      this.triggerEvent('change', { id: event.currentTarget.dataset['id'] as string })
    },

    manage() {
      this.triggerEvent('manage')
    },
  },
})

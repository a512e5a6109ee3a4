/** How it is to be spoken: a style, a dialect, or both, and how fast; goes out as `change`. */

import { Catalogue } from '../../services/shown'
import { mannerOf } from '../../services/wish'
import { Texts } from '../../texts/index'

Component({
  properties: {
    t: { type: Object, value: {} as Texts },
    language: { type: String, value: 'zh' },
    offer: { type: Object, value: {} as Catalogue },
  },

  data: {
    style: '',
    dialect: '',
    /** In hundredths: the slider knows whole numbers. */
    speed: 100,
  },

  methods: {
    pickStyle(event: WechatMiniprogram.CustomEvent) {
      this.pick('style', event)
    },

    pickDialect(event: WechatMiniprogram.CustomEvent) {
      this.pick('dialect', event)
    },

    slide(event: WechatMiniprogram.CustomEvent<{ value: number }>) {
      this.setData({ speed: event.detail.value })
      this.tell()
    },

    /** What is tapped a second time is let go. */
    pick(what: 'style' | 'dialect', event: WechatMiniprogram.CustomEvent) {
      const name = event.currentTarget.dataset['name'] as string
      this.setData({ [what]: this.data[what] === name ? '' : name })
      this.tell()
    },

    tell() {
      const { style, dialect, speed, offer } = this.data
      this.triggerEvent('change', mannerOf(offer, style, dialect, speed / 100))
    },
  },
})

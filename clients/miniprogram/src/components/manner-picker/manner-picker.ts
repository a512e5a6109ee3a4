/**
 * How it is to be spoken: a style, a dialect, or both; or, for a lesson, several dialects; and how fast.
 * Goes out as `change`.
 */

import { Catalogue } from '../../services/shown'
import { lessonOf, mannerOf } from '../../services/wish'
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
    lesson: false,
    /** Of a lesson: the dialects that are picked. */
    taught: {} as Record<string, boolean>,
    /** In hundredths: the slider knows whole numbers. */
    speed: 100,
  },

  methods: {
    pickStyle(event: WechatMiniprogram.CustomEvent) {
      this.pick('style', event)
    },

    pickDialect(event: WechatMiniprogram.CustomEvent) {
      if (this.data.lesson) this.teach(event.currentTarget.dataset['name'] as string)
      else this.pick('dialect', event)
    },

    turn() {
      this.setData({ lesson: !this.data.lesson, taught: {} })
      this.tell()
    },

    /** One dialect more, as long as the relay takes it; or one less. */
    teach(name: string) {
      const taken = this.dialects().length < this.data.offer.limits.variants
      const taught = { ...this.data.taught, [name]: !this.data.taught[name] && taken }
      this.setData({ taught })
      this.tell()
    },

    /** Those of the lesson, in the catalogue's order. */
    dialects(): string[] {
      const { offer, taught } = this.data
      return offer.dialects.map(({ name }) => name).filter((name) => taught[name])
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
      const { style, dialect, speed, offer, lesson } = this.data
      const dialects = lesson ? this.dialects() : []
      const manner = dialects.length > 0 ? lessonOf(dialects, speed / 100) : mannerOf(offer, style, dialect, speed / 100)
      this.triggerEvent('change', manner)
    },
  },
})

/**
 * The text, how long it is, and how its polyphones are read. What is sent, marks and all, goes out as
 * `change`; it is what the relay counts, so it is what is counted here.
 */

import { chosen, marked, Piece, pieces } from '../../services/polyphones'
import { filled, Texts } from '../../texts/index'

const row = new WeakMap<object, Piece[]>()

Component({
  properties: {
    t: { type: Object, value: {} as Texts },
    limit: { type: Number, value: 500 },
    value: { type: String, value: '' },
  },

  data: {
    typed: '',
    shown: [] as Piece[],
    open: -1,
    count: 0,
    over: '',
  },

  observers: {
    value(value: string) {
      if (value !== this.data.typed) this.read(value)
    },
  },

  methods: {
    typing(event: WechatMiniprogram.CustomEvent<{ value: string }>) {
      this.read(event.detail.value)
    },

    tap(event: WechatMiniprogram.TouchEvent) {
      const index = Number(event.currentTarget.dataset['index'])
      this.setData({ open: index === this.data.open ? -1 : index })
    },

    choose(event: WechatMiniprogram.TouchEvent) {
      const reading = event.currentTarget.dataset['reading'] as string | undefined
      this.show(chosen(row.get(this) ?? [], this.data.open, reading || undefined))
      this.setData({ open: -1 })
    },

    read(text: string) {
      this.setData({ typed: text, open: -1 })
      this.show(pieces(text, row.get(this)))
    },

    show(pieces: Piece[]) {
      row.set(this, pieces)
      const text = marked(pieces).trim()
      const count = [...text].length
      const beyond = count - this.data.limit
      const over = beyond > 0 ? filled(this.data.t.textOver, beyond) : ''
      const polyphones = pieces.some((piece) => piece.readings.length > 1)
      this.setData({ shown: polyphones ? pieces : [], count, over })
      this.triggerEvent('change', { text, over: beyond > 0 })
    },
  },
})

/** Whose voice it is and what becomes of it, agreed to before the first recording. */

Component({
  properties: {
    t: { type: Object, value: {} },
    visible: { type: Boolean, value: false },
  },

  methods: {
    agree() {
      this.triggerEvent('agree')
    },

    disagree() {
      this.triggerEvent('disagree')
    },

    guide() {
      wx.openPrivacyContract?.({})
    },
  },
})

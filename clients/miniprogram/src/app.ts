/** The mini-program itself: what waits to be sent is sent as soon as it can be. */

import { wired } from './wired'

App({
  onLaunch() {
    void wired().tidy()
    // A phone that is set to silent should still let its owner hear what they asked for.
    wx.setInnerAudioOption?.({ obeyMuteSwitch: false })
    wx.onNetworkStatusChange(({ isConnected }) => {
      if (isConnected) void sendWaiting()
    })
  },

  onShow() {
    void sendWaiting()
  },
})

async function sendWaiting(): Promise<void> {
  const { outbox } = wired()
  if (!outbox.pending()) return
  const { limits } = await wired().catalogue()
  await outbox.send(limits.part_bytes).catch(() => undefined) // the page that shows it says why
}

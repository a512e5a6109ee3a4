/**
 * One line to the relay over WebSocket, with the token in its head. Knows JSON and bytes. Refuses to
 * reconnect: whoever needs a line that lasts decides when to open another.
 */

import { Http } from './http'
import { Port } from './port'

export type Said = { type: string } & Record<string, unknown>

export interface Ears {
  open(): void
  said(message: Said): void
  /** Once, however it came about. */
  gone(): void
}

export interface Line {
  say(message: object | ArrayBuffer): void
  close(): void
}

export function line(port: Port, http: Http, path: string, token: string | null, ears: Ears): Line {
  let over = false
  const gone = () => {
    if (over) return
    over = true
    ears.gone()
  }
  const task = port.connectSocket({
    url: http.base.replace(/^http/, 'ws') + path,
    header: http.headers(token),
    fail: gone,
  })
  task.onOpen(() => over || ears.open())
  task.onMessage(({ data }) => {
    if (!over && typeof data === 'string') ears.said(JSON.parse(data) as Said)
  })
  task.onError(gone)
  task.onClose(gone)
  return {
    say: (message) => {
      if (over) return
      task.send({ data: message instanceof ArrayBuffer ? message : JSON.stringify(message), fail: gone })
    },
    close: () => {
      over = true
      task.close({})
    },
  }
}

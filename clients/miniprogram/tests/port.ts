/**
 * `wx` as Node can be it: real HTTP, real WebSockets, real files, a storage in memory.
 *
 * What only a phone has (microphone, loudspeaker, WeChat's own questions) is not here; a test that
 * needs it brings it. `login` gives the codes it was given, each once, as WeChat's server wants it.
 */

import * as fs from 'fs'
import * as os from 'os'
import * as path from 'path'
import { WebSocket } from 'ws'
import { Port } from '../src/services/port'

type Network = (change: { isConnected: boolean; networkType: string }) => void

export interface Traffic {
  method: string
  path: string
  headers: Record<string, string>
}

export class NodePort {
  readonly storage = new Map<string, string>()
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), 'voxrelay-'))
  readonly traffic: Traffic[] = []
  readonly sockets: WebSocket[] = []
  /** What was said to us over any of them. */
  readonly heard: string[] = []
  /** What becomes of a request: an error before it, or after its answer, is one of the line's. */
  before: (traffic: Traffic) => void = () => undefined
  after: (traffic: Traffic) => void = () => undefined
  socketsAllowed = true
  /** Doors that the relay is to lack, by how their paths begin. */
  lacking: string[] = []
  private networks = new Set<Network>()

  constructor(readonly codes: string[] = []) {}

  get port(): Port {
    return this as unknown as Port
  }

  request(option: WechatMiniprogram.RequestOption): unknown {
    void this.fetched(option.url, {
      method: option.method ?? 'GET',
      headers: option.header as Record<string, string>,
      body: option.data as string | ArrayBuffer | undefined,
    }).then(
      async (response) => {
        const text = await response.text()
        const header = Object.fromEntries(response.headers)
        option.success?.({ statusCode: response.status, header, data: json(text) } as never)
      },
      (error: Error) => option.fail?.({ errMsg: `request:fail ${error.message}` } as never),
    )
    return {}
  }

  uploadFile(option: WechatMiniprogram.UploadFileOption): unknown {
    const form = new FormData()
    Object.entries(option.formData ?? {}).forEach(([name, value]) => form.append(name, value as string))
    form.append(option.name, new Blob([fs.readFileSync(option.filePath)]), path.basename(option.filePath))
    const headers = option.header as Record<string, string>
    void this.fetched(option.url, { method: 'POST', headers, body: form }).then(
      async (response) => {
        const header = Object.fromEntries(response.headers)
        option.success?.({ statusCode: response.status, data: await response.text(), header } as never)
      },
      (error: Error) => option.fail?.({ errMsg: `uploadFile:fail ${error.message}` } as never),
    )
    return {}
  }

  downloadFile(option: WechatMiniprogram.DownloadFileOption): unknown {
    void this.fetched(option.url, { method: 'GET', headers: {} }).then(
      async (response) => {
        const tempFilePath = path.join(this.folder, `tmp-${this.traffic.length}`)
        fs.writeFileSync(tempFilePath, Buffer.from(await response.arrayBuffer()))
        option.success?.({ statusCode: response.status, tempFilePath } as never)
      },
      (error: Error) => option.fail?.({ errMsg: `downloadFile:fail ${error.message}` } as never),
    )
    return {}
  }

  connectSocket(option: WechatMiniprogram.ConnectSocketOption): unknown {
    const path = new URL(option.url).pathname
    const lacks = this.lacking.some((door) => path.startsWith(door))
    const url = this.socketsAllowed && !lacks ? option.url : 'ws://127.0.0.1:9/'
    const socket = new WebSocket(url, { headers: option.header as Record<string, string> })
    this.sockets.push(socket)
    socket.on('error', () => undefined) // without a listener it would end the process
    return {
      onOpen: (act: () => void) => socket.on('open', act),
      onMessage: (act: (message: { data: string }) => void) =>
        socket.on('message', (data) => {
          this.heard.push(String(data))
          act({ data: String(data) })
        }),
      onError: (act: () => void) => socket.on('error', act),
      onClose: (act: () => void) => socket.on('close', act),
      send: ({ data, fail }: { data: string | ArrayBuffer; fail?: () => void }) =>
        socket.readyState === WebSocket.OPEN ? socket.send(data) : fail?.(),
      close: () => socket.close(),
    }
  }

  login(option: WechatMiniprogram.LoginOption): void {
    const code = this.codes.shift()
    if (code) option.success?.({ code, errMsg: 'login:ok' })
    else option.fail?.({ errMsg: 'login:fail', errno: 0 } as never)
  }

  getStorageSync(key: string): unknown {
    const held = this.storage.get(key)
    return held === undefined ? '' : JSON.parse(held)
  }

  setStorageSync(key: string, value: unknown): void {
    this.storage.set(key, JSON.stringify(value))
  }

  removeStorageSync(key: string): void {
    this.storage.delete(key)
  }

  onNetworkStatusChange(act: Network): void {
    this.networks.add(act)
  }

  offNetworkStatusChange(act: Network): void {
    this.networks.delete(act)
  }

  /** The network goes, or comes back. */
  network(isConnected: boolean): void {
    if (!isConnected) this.sockets.forEach((socket) => socket.terminate())
    this.networks.forEach((act) => act({ isConnected, networkType: isConnected ? 'wifi' : 'none' }))
  }

  getFileSystemManager(): unknown {
    return {
      writeFile: act((o) => fs.writeFileSync(o.filePath, Buffer.from(o.data as ArrayBuffer))),
      readFile: act((o) => ({ data: bytesOf(o.filePath, o.position, o.length) })),
      getFileInfo: act((o) => ({ size: fs.statSync(o.filePath).size })),
      saveFile: act((o) => {
        const savedFilePath = path.join(this.folder, `saved-${this.traffic.length}`)
        fs.renameSync(o.tempFilePath, savedFilePath)
        return { savedFilePath }
      }),
      readdir: act((o) => ({ files: fs.readdirSync(o.dirPath) })),
      unlink: act((o) => fs.unlinkSync(o.filePath)),
    }
  }

  private async fetched(
    url: string,
    init: { method: string; headers: Record<string, string>; body?: string | ArrayBuffer | FormData },
  ): Promise<Response> {
    const traffic = { method: init.method, path: new URL(url).pathname, headers: init.headers }
    this.traffic.push(traffic)
    this.before(traffic)
    const lacks = this.lacking.some((door) => traffic.path.startsWith(door))
    // A connection for each request: one that Node keeps, the relay may be closing just then.
    const headers = { ...init.headers, connection: 'close' }
    const where = lacks ? new URL('/v1/nowhere', url) : url
    const response = await fetch(where, { ...init, headers } as RequestInit)
    this.after(traffic)
    return response
  }
}

interface FileOption {
  filePath: string
  tempFilePath: string
  dirPath: string
  data?: unknown
  position?: number
  length?: number
  success?(result: object): void
  fail?(result: object): void
  complete?(): void
}

/** A file operation with WeChat's callbacks. */
function act(work: (option: FileOption) => object | void): (option: FileOption) => void {
  return (option) => {
    let found: object
    try {
      found = work(option) ?? {}
    } catch (error) {
      option.fail?.({ errMsg: String(error) })
      option.complete?.()
      return
    }
    option.success?.(found)
    option.complete?.()
  }
}

function bytesOf(file: string, position?: number, length?: number): ArrayBuffer {
  const all = fs.readFileSync(file)
  const found = all.subarray(position ?? 0, length === undefined ? undefined : (position ?? 0) + length)
  return new Uint8Array(found).buffer
}

function json(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/**
 * One request, one answer. Knows how the relay spells its refusals (RFC 9457, `code` is stable) and
 * that the case of a header's name depends on the phone. Refuses to know sessions and to try again.
 */

import { Refused, Unreachable } from './errors'
import { Port } from './port'

export interface Ask {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE' | 'HEAD' | 'OPTIONS'
  path: string
  /** Sent as JSON, or as it is where it is bytes. */
  body?: object
  headers?: Record<string, string>
}

export interface Sending {
  path: string
  /** Where the file lies. */
  file: string
  /** Fields beside the file, which is called `recording`. */
  fields: Record<string, string>
  headers?: Record<string, string>
}

export interface Answer {
  status: number
  headers: Record<string, string>
  body: unknown
}

type Headers = Record<string, string>

export class Http {
  constructor(
    private readonly port: Port,
    readonly base: string,
    private readonly language: () => string,
  ) {}

  ask(ask: Ask, token: string | null): Promise<Answer> {
    const bytes = ask.body instanceof ArrayBuffer
    // wx.request has no PATCH: the relay takes the method from this header, as tus provides.
    const patch = ask.method === 'PATCH'
    return new Promise((resolve, reject) => {
      this.port.request({
        url: this.base + ask.path,
        method: patch ? 'POST' : (ask.method as Exclude<Ask['method'], 'PATCH'>),
        data: bytes ? (ask.body as ArrayBuffer) : ask.body && JSON.stringify(ask.body),
        header: {
          ...this.headers(token),
          ...(ask.body && !bytes && { 'Content-Type': 'application/json' }),
          ...(patch && { 'X-HTTP-Method-Override': 'PATCH' }),
          ...ask.headers,
        },
        success: ({ statusCode, header, data }) =>
          settle({ status: statusCode, headers: lowered(header), body: data }, resolve, reject),
        fail: ({ errMsg }) => reject(new Unreachable(errMsg)),
      })
    })
  }

  upload(sending: Sending, token: string | null, progress?: (percent: number) => void): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const task = this.port.uploadFile({
        url: this.base + sending.path,
        filePath: sending.file,
        name: 'recording',
        formData: sending.fields,
        header: { ...this.headers(token), ...sending.headers },
        success: (result) => {
          const headers = lowered((result as unknown as { header?: Headers }).header)
          settle({ status: result.statusCode, headers, body: result.data }, resolve, reject)
        },
        fail: ({ errMsg }) => reject(new Unreachable(errMsg)),
      })
      if (progress) task?.onProgressUpdate?.((update) => progress(update.progress))
    })
  }

  headers(token: string | null): Headers {
    return {
      'Accept-Language': this.language(),
      ...(token && { Authorization: `Bearer ${token}` }),
    }
  }
}

function settle(answer: Answer, resolve: (answer: Answer) => void, reject: (error: Error) => void): void {
  const body = parsed(answer.body)
  if (answer.status >= 200 && answer.status < 300) resolve({ ...answer, body })
  else reject(refusal({ ...answer, body }))
}

function refusal({ status, headers, body }: Answer): Error {
  const said = (body ?? {}) as { code?: string; detail?: string }
  const detail = said.detail ?? `HTTP ${status}`
  if (status >= 500) return new Unreachable(detail)
  const wait = Number(headers['retry-after'])
  return new Refused(status, said.code ?? `http_${status}`, detail, wait > 0 ? wait : null)
}

/** The JSON that an answer is, whoever parsed it; null where it is none: a proxy said it, not we. */
function parsed(body: unknown): unknown {
  if (typeof body !== 'string') return body
  try {
    return JSON.parse(body)
  } catch {
    return null
  }
}

function lowered(headers: Headers | undefined): Headers {
  const named = Object.entries(headers ?? {}).map(([name, value]) => [name.toLowerCase(), value])
  return Object.fromEntries(named)
}

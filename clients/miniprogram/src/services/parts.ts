/**
 * A recording sent in parts, by tus 1.0.0: what has arrived is never sent again.
 *
 * Knows offsets, and that a part whose answer was lost may have arrived. Refuses to know what the
 * upload is for, and to remember: the caller keeps the id.
 */

import { isAbsent, isRefused, isUnreachable } from './errors'
import { pause } from './port'
import { Relay } from './relay'

const TUS = { 'Tus-Resumable': '1.0.0' }
const TRIES = 4
const WAIT = 500

/** Bytes from `position` on, `length` of them. */
export type Read = (position: number, length: number) => Promise<ArrayBuffer>

export interface File {
  bytes: number
  read: Read
}

/** Whether this relay takes parts. */
export async function takesParts(relay: Relay): Promise<boolean> {
  try {
    const { headers } = await relay.ask({ method: 'OPTIONS', path: '/v1/uploads', headers: TUS })
    return 'tus-version' in headers
  } catch (error) {
    if (isAbsent(error)) return false
    throw error
  }
}

/** Opens an upload of so many bytes; its id. */
export async function begun(relay: Relay, bytes: number): Promise<string> {
  const headers = { ...TUS, 'Upload-Length': String(bytes) }
  const made = await relay.ask({ method: 'POST', path: '/v1/uploads', headers })
  return (made.headers['location'] ?? '').replace(/\/+$/, '').split('/').pop() ?? ''
}

/** Removes an upload that nothing is made of; where nobody answers, the relay removes it in a day. */
export async function dropped(relay: Relay, upload: string): Promise<void> {
  await relay.ask({ method: 'DELETE', path: `/v1/uploads/${upload}`, headers: TUS }).catch(() => undefined)
}

/** Sends what is missing of `file`; how far it is goes to `progress`, in bytes. */
export async function finished(
  relay: Relay,
  upload: string,
  file: File,
  partBytes: number,
  progress: (bytes: number) => void = () => undefined,
): Promise<void> {
  let at = await offset(relay, upload)
  let failures = 0
  while (at < file.bytes) {
    progress(at)
    try {
      at = await part(relay, upload, at, await file.read(at, Math.min(partBytes, file.bytes - at)))
      failures = 0
    } catch (error) {
      failures += 1
      if (failures >= TRIES || !mended(error)) throw error
      await pause(WAIT * failures)
      at = await offset(relay, upload)
    }
  }
  progress(at)
}

const GONE = ['upload_unknown', 'upload_expired', 'upload_incomplete']

/**
 * Whether an upload will never be whole, so that the recording has to be sent anew. The answer to a
 * HEAD has no body and so no code of ours: there the status says it.
 */
export function isGone(error: unknown): boolean {
  return isRefused(error) && (GONE.includes(error.code) || ['http_404', 'http_410'].includes(error.code))
}

/** Whether asking how far it is, and going on from there, may help. */
function mended(error: unknown): boolean {
  return isUnreachable(error) || (isRefused(error) && error.code === 'offset_mismatch')
}

async function offset(relay: Relay, upload: string): Promise<number> {
  const { headers } = await relay.ask({ method: 'HEAD', path: `/v1/uploads/${upload}`, headers: TUS })
  return Number(headers['upload-offset'])
}

async function part(relay: Relay, upload: string, at: number, body: ArrayBuffer): Promise<number> {
  const sent = await relay.ask({
    method: 'PATCH',
    path: `/v1/uploads/${upload}`,
    body,
    headers: {
      ...TUS,
      'Content-Type': 'application/offset+octet-stream',
      'Upload-Offset': String(at),
    },
  })
  return Number(sent.headers['upload-offset'] ?? at + body.byteLength)
}

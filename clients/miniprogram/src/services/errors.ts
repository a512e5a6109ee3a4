/**
 * What can go wrong, by what is done about it.
 *
 *   Refused       the relay said no: show its sentence, mend the request, or wait `retryAfter` seconds
 *   Unreachable   nobody answered, or only that they cannot just now: send the same again later
 *
 * They are told apart by `kind`, not by class: what DevTools makes of a class that extends Error does
 * not always know its own instances.
 */

export class Refused extends Error {
  readonly kind = 'refused'

  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    readonly retryAfter: number | null = null,
  ) {
    super(`${code}: ${detail}`)
  }
}

export class Unreachable extends Error {
  readonly kind = 'unreachable'
}

export function isRefused(error: unknown): error is Refused {
  return (error as Partial<Refused> | null)?.kind === 'refused'
}

export function isUnreachable(error: unknown): error is Unreachable {
  return (error as Partial<Unreachable> | null)?.kind === 'unreachable'
}

/**
 * Whether the relay has said no for good. Whoever stands before it says so without a code of ours; a
 * body that came too slowly, a session and a quota are over by themselves.
 */
export function isFinal(error: unknown): boolean {
  return isRefused(error) && !error.code.startsWith('http_') && ![401, 408, 429].includes(error.status)
}

/** Whether it is the door that is not there, rather than what was looked for behind it. */
export function isAbsent(error: unknown): boolean {
  return isRefused(error) && ['not_found', 'method_not_allowed', 'voices_elsewhere'].includes(error.code)
}

/** A sentence for the user. */
export function sentenceOf(error: unknown, unreachable: string): string {
  return isRefused(error) ? error.detail : unreachable
}

/** A key nobody else has, for a request that may be sent again; Math.random is all that a phone of any age offers. */
export function freshKey(): string {
  const part = () => Math.random().toString(36).slice(2).padEnd(11, '0')
  return `mp-${Date.now().toString(36)}-${part()}${part()}`
}

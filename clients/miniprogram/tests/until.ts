/** Waits for what should come about; fails where it does not within bounds that are generous. */
export async function until<T>(look: () => T | null | undefined | false, within = 20_000): Promise<T> {
  const over = Date.now() + within
  for (;;) {
    const found = look()
    if (found) return found
    if (Date.now() > over) throw new Error(`this did not come about: ${look}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

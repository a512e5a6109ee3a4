/**
 * What leaves the mini-program says of itself that it is synthetic: a file by its name, a card by its
 * title. (The sound itself bears the label that the relay put into it.)
 */

const LONGEST = 20

/** What a file is called when it is handed on. */
export function fileName(label: string, id: string, format: string): string {
  return `${label}-${id.slice(0, 8)}.${format}`
}

/** The title of a card in a chat. */
export function title(label: string, text: string): string {
  const bare = text.replace(/\s+/g, ' ').trim()
  const short = bare.length > LONGEST ? `${bare.slice(0, LONGEST)}…` : bare
  return `[${label}] ${short}`.trim()
}

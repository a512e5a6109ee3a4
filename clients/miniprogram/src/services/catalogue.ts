/**
 * What is on offer: styles, dialects, limits. Knows what a relay takes that does not say so itself.
 */

import { Relay } from './relay'
import { Catalogue, Style } from './shown'

const PLAIN: Style[] = [
  { name: 'excited', label: { zh: '兴奋', en: 'Excited' } },
  { name: 'gentle', label: { zh: '温柔', en: 'Gentle' } },
  { name: 'serious', label: { zh: '严肃', en: 'Serious' } },
]

/** Of a relay without a catalogue. */
export const USUAL: Catalogue = {
  styles: PLAIN,
  dialects: [],
  formats: ['mp3', 'm4a'],
  limits: {
    text: 500,
    recording_seconds: { least: 1, most: 30 },
    recording_bytes: 10 * 1024 * 1024,
    variants: 1,
    part_bytes: 1024 * 1024,
  },
  engine: { clones: true },
}

export async function catalogue(relay: Relay): Promise<Catalogue> {
  return (await relay.catalogue()) ?? USUAL
}

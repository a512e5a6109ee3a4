// What can be told of a sound before anybody hears it: its form, and whether it will do.

const FRAME_S = 0.05;
const SILENT_PEAK = 0.01, QUIET_DB = -38, CLIPPED = 0.985, CLIPPED_SHARE = 0.002;

let context = null;

// One context a page; it may be made before anybody has tapped, it plays nothing.
function contextOf() {
  context ??= new (window.AudioContext ?? window.webkitAudioContext)();
  return context;
}

// The decoded sound; null where this browser cannot read it, though the relay may.
export async function decoded(blob) {
  const bytes = await blob.arrayBuffer();
  try {
    return await contextOf().decodeAudioData(bytes);
  } catch (wrong) {
    if (wrong instanceof DOMException) return null;
    throw wrong;
  }
}

// The greatest swing in each of `count` stretches, of 1.
export function peaks(sound, count) {
  const samples = sound.getChannelData(0), step = samples.length / count;
  return Float32Array.from({ length: count }, (_, n) => {
    let most = 0;
    for (let at = Math.floor(n * step); at < Math.floor((n + 1) * step); at++) most = Math.max(most, Math.abs(samples[at]));
    return most;
  });
}

export const decibels = amplitude => 20 * Math.log10(Math.max(amplitude, 1e-5));

export function rms(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return Math.sqrt(sum / Math.max(samples.length, 1));
}

// "good", or what is wrong with a recording: short, long, silent, quiet, loud.
export function verdict(sound, { least, most }) {
  if (sound.duration < least) return "short";
  if (sound.duration > most) return "long";
  const samples = sound.getChannelData(0);
  let peak = 0, clipped = 0;
  for (const sample of samples) {
    peak = Math.max(peak, Math.abs(sample));
    clipped += Math.abs(sample) > CLIPPED;
  }
  if (peak < SILENT_PEAK) return "silent";
  if (clipped / samples.length > CLIPPED_SHARE) return "loud";
  return decibels(spoken(samples, sound.sampleRate)) < QUIET_DB ? "quiet" : "good";
}

// How loud the louder third is: the pauses between words say nothing of the voice.
function spoken(samples, rate) {
  const frame = Math.round(rate * FRAME_S);
  const levels = [];
  for (let at = 0; at + frame <= samples.length; at += frame) levels.push(rms(samples.subarray(at, at + frame)));
  levels.sort((a, b) => b - a);
  return levels[Math.floor(levels.length / 3)] ?? 0;
}

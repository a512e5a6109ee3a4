// The microphone: a recording of some seconds, and how loud it is meanwhile. Knows no element.

import { decibels, rms } from "./sound.js";

const FLOOR_DB = -60;

export function canRecord() {
  return Boolean(navigator.mediaDevices?.getUserMedia && window.MediaRecorder);
}

// Starts at once. `told` hears the level (0 to 1) and the seconds left, `done` gets the sound.
// Rejects where the microphone is refused or there is none.
export async function record({ most, told, done }) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: false } });
  const recorder = new MediaRecorder(stream);
  const meter = new Meter(stream), parts = [], begun = performance.now();
  let cancelled = false;
  const watch = () => {
    if (recorder.state !== "recording") return;
    const left = most - (performance.now() - begun) / 1000;
    told(meter.level(), Math.max(left, 0));
    if (left <= 0) recorder.stop();
  };
  const ticking = setInterval(watch, 50); // in a hidden tab too, where no frame is drawn
  recorder.addEventListener("dataavailable", event => parts.push(event.data));
  recorder.addEventListener("stop", () => {
    clearInterval(ticking);
    meter.close();
    for (const track of stream.getTracks()) track.stop();
    if (!cancelled) done(new Blob(parts, { type: recorder.mimeType }));
  });
  recorder.start();
  const stop = () => recorder.state === "recording" && recorder.stop();
  return { stop, cancel: () => { cancelled = true; stop(); } };
}

class Meter {
  constructor(stream) {
    this.context = new AudioContext();
    this.analyser = this.context.createAnalyser();
    this.samples = new Float32Array(this.analyser.fftSize);
    this.context.createMediaStreamSource(stream).connect(this.analyser);
  }

  level() {
    this.analyser.getFloatTimeDomainData(this.samples);
    return Math.min(1, Math.max(0, 1 - decibels(rms(this.samples)) / FLOOR_DB));
  }

  close() {
    this.context.close();
  }
}

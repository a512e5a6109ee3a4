// Sounds with their waveforms, one at a time; two of them to be compared. Knows no job.

import { button, make } from "./dom.js";
import { decoded, peaks } from "./sound.js";
import { t } from "./words.js";

const BAR = 3, GAP = 2, STEP_S = 1;

let playing = null;

export class Track {
  // `fetched` gives the sound as a blob, once it is needed for its waveform.
  constructor(label, address, fetched, seconds = 0) {
    this.label = label;
    this.seconds = seconds;
    this.bars = new Float32Array();
    this.audio = make("audio", { src: address, preload: "metadata" });
    this.canvas = make("canvas", { "aria-hidden": "true" });
    this.play = button("", () => this.toggle(), { class: "play" });
    this.wave = make("div", { class: "wave", role: "slider", tabindex: "0", "aria-label": t("position", { label }),
      "aria-valuemin": "0" }, this.canvas);
    this.clock = make("span", { class: "clock" });
    this.element = make("div", { class: "track" }, this.play,
      make("div", { class: "grow" }, make("div", { class: "label" }, label), this.wave), this.clock, this.audio);
    this.listen();
    this.show();
    fetched().then(blob => this.look(blob));
  }

  get ratio() {
    return this.seconds ? Math.min(this.audio.currentTime / this.seconds, 1) : 0;
  }

  async look(blob) {
    const sound = blob && await decoded(blob);
    if (!sound) return; // it plays without a picture
    this.sound = sound;
    this.seconds = sound.duration;
    this.show();
  }

  listen() {
    for (const name of ["play", "pause", "ended", "timeupdate", "seeked"]) this.audio.addEventListener(name, () => this.show());
    this.audio.addEventListener("play", () => this.alone());
    this.audio.addEventListener("durationchange", () => {
      if (!this.seconds && Number.isFinite(this.audio.duration)) this.seconds = this.audio.duration;
      this.show();
    });
    this.wave.addEventListener("pointerdown", event => this.seek(event.offsetX / this.wave.clientWidth * this.seconds));
    this.wave.addEventListener("keydown", event => this.key(event));
    new ResizeObserver(() => this.draw()).observe(this.wave);
    document.addEventListener("theme", () => this.draw());
  }

  alone() {
    if (playing !== this) playing?.audio.pause();
    playing = this;
    const frame = () => { this.draw(); if (!this.audio.paused) requestAnimationFrame(frame); };
    frame();
  }

  toggle() {
    if (this.audio.paused) this.audio.play().catch(() => this.show()); // the browser's own message is enough
    else this.audio.pause();
  }

  seek(to) {
    this.audio.currentTime = Math.min(Math.max(to, 0), this.seconds);
  }

  key(event) {
    const by = { ArrowRight: STEP_S, ArrowUp: STEP_S, ArrowLeft: -STEP_S, ArrowDown: -STEP_S }[event.key];
    const to = { Home: 0, End: this.seconds }[event.key];
    if (event.key === " ") this.toggle();
    else if (by !== undefined || to !== undefined) this.seek(to ?? this.audio.currentTime + by);
    else return;
    event.preventDefault();
  }

  show() {
    const going = !this.audio.paused;
    this.play.classList.toggle("on", going);
    this.play.setAttribute("aria-label", t(going ? "pause" : "play", { label: this.label }));
    const at = this.audio.currentTime, shown = at > 0 ? at : this.seconds;
    this.clock.textContent = spelled(shown);
    this.wave.setAttribute("aria-valuemax", this.seconds.toFixed(1));
    this.wave.setAttribute("aria-valuenow", at.toFixed(1));
    this.wave.setAttribute("aria-valuetext", t("of_seconds", { at: at.toFixed(1), seconds: this.seconds.toFixed(1) }));
    this.draw();
  }

  draw() {
    const { clientWidth: wide, clientHeight: high } = this.wave, ratio = window.devicePixelRatio;
    if (!wide) return;
    const count = Math.floor(wide / (BAR + GAP));
    if (this.sound && this.bars.length !== count) this.bars = scaled(peaks(this.sound, count));
    this.canvas.width = wide * ratio;
    this.canvas.height = high * ratio;
    const pen = this.canvas.getContext("2d"), style = getComputedStyle(this.wave);
    pen.scale(ratio, ratio);
    for (let n = 0; n < count; n++) {
      pen.fillStyle = style.getPropertyValue(n < this.ratio * count ? "--accent" : "--bar");
      const tall = Math.max(BAR, (this.bars[n] ?? 0) * high);
      pen.fillRect(n * (BAR + GAP), (high - tall) / 2, BAR, tall);
    }
  }

  release() {
    this.audio.pause();
    this.audio.removeAttribute("src");
  }
}

// Two tracks, and a button that goes on in the other one from its beginning.
export function compared(a, b) {
  const other = () => {
    const next = playing === a ? b : a;
    next.seek(0);
    next.toggle();
  };
  return make("div", { class: "compared", role: "group", "aria-label": t("compare") }, a.element, b.element,
    button(t("switch"), other, { class: "tinted" }));
}

export function spelled(seconds) {
  const whole = Math.floor(seconds);
  return seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

// A quiet sound is drawn as tall as a loud one: the picture is to find one's way by.
function scaled(bars) {
  const most = Math.max(...bars, 0.01);
  return bars.map(bar => bar / most);
}

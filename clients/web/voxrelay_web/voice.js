// Whose voice: consent first, then the microphone, a file, or one that was saved. Knows no text.

import { Refused, Unreached, ask, freshKey, get, has } from "./api.js";
import { $, announce, complain, make, question } from "./dom.js";
import { Track } from "./player.js";
import { canRecord, record } from "./recorder.js";
import { decoded, verdict } from "./sound.js";
import { language, t } from "./words.js";

const RING = 276; // the way round the button, as the style draws it

export class Voice {
  constructor(limits) {
    this.limits = limits;
    this.most = Math.min(10, limits.recording_seconds.most);
    this.blob = null;
    this.saved = "";
    this.taking = null;
    this.track = null;
    this.kept = null;
    $("record").addEventListener("click", () => this.toggle());
    $("choose").addEventListener("click", () => this.agreed() && $("file").click());
    $("file").addEventListener("change", () => this.take($("file").files[0]));
    $("save-voice").addEventListener("click", () => this.keep());
    $("saved").addEventListener("change", () => this.pickSaved());
    document.addEventListener("language", () => this.anew());
    this.dropped();
    this.look(false);
    $("record").hidden = !canRecord();
    $("no-microphone").hidden = canRecord();
  }

  // Why it cannot be sent as it is; empty where it can.
  get wrong() {
    if (!this.blob && !this.saved) return t("need_voice");
    if (!$("consent").checked) return t("need_consent");
    const most = (has("POST /v1/uploads") && this.limits.upload_bytes) || this.limits.recording_bytes;
    return this.blob && this.blob.size > most ? t("file_large", { most: (most / 1e6).toFixed(0) }) : "";
  }

  // Nobody's voice is taken before they have agreed.
  agreed() {
    if ($("consent").checked) return true;
    complain($("voice-error"), t("need_consent"));
    $("consent").focus();
    return false;
  }

  async toggle() {
    if (this.taking) return this.taking.stop();
    if (!this.agreed()) return;
    complain($("voice-error"));
    $("record").disabled = true;
    try {
      this.taking = await record({ most: this.most, told: (level, left) => this.meter(level, left), done: blob => this.done(blob) });
      this.look(true);
      announce(t("recording_now"));
    } catch (refused) {
      if (!(refused instanceof DOMException)) throw refused;
      complain($("voice-error"), t(refused.name === "NotFoundError" ? "microphone_none" : "microphone_refused"));
      $("choose").focus();
    } finally {
      $("record").disabled = false;
    }
  }

  look(recording) {
    $("record").setAttribute("aria-pressed", String(recording));
    $("record").setAttribute("aria-label", t(recording ? "stop" : "record"));
    $("record-words").textContent = t(recording ? "stop" : this.blob ? "record_again" : "record");
    $("level").hidden = !recording;
    $("left").textContent = "";
    $("ring").style.strokeDashoffset = RING;
  }

  anew() {
    this.look(Boolean(this.taking));
    if (this.blob) this.judge(this.blob);
  }

  meter(level, left) {
    $("level-bar").style.transform = `scaleX(${level.toFixed(3)})`;
    $("level").setAttribute("aria-valuenow", String(Math.round(level * 100)));
    $("left").textContent = left.toFixed(1);
    $("ring").style.strokeDashoffset = (RING * left / this.most).toFixed(1);
    $("level").classList.toggle("hot", level > 0.92);
  }

  done(blob) {
    this.taking = null;
    this.take(blob, t("my_recording"));
    this.look(false);
  }

  dropped() {
    const card = $("voice-card");
    const over = on => event => { event.preventDefault(); card.classList.toggle("over", on); };
    card.addEventListener("dragover", over(true));
    card.addEventListener("dragleave", over(false));
    card.addEventListener("drop", event => {
      over(false)(event);
      const [file] = event.dataTransfer.files;
      if (file && this.agreed()) this.take(file);
    });
  }

  // The sound to be used from now on, and what can be said of it before it is sent.
  async take(blob, name = blob?.name) {
    if (!blob) return;
    this.blob = blob;
    this.saved = $("saved").value = "";
    this.track?.release();
    this.track = new Track(name, URL.createObjectURL(blob), async () => blob);
    $("mine").replaceChildren(this.track.element);
    complain($("voice-error"), this.wrong);
    $("save-voice").hidden = !has("POST /v1/voices");
    await this.judge(blob);
  }

  async judge(blob) {
    const sound = await decoded(blob);
    if (blob !== this.blob) return;
    const found = sound ? verdict(sound, this.limits.recording_seconds) : "unread";
    $("verdict").textContent = t(`voice_${found}`, this.limits.recording_seconds);
    $("verdict").className = `verdict ${found === "good" ? "good" : "warm"}`;
    $("verdict").hidden = false;
  }

  // Voices that were saved or shared, to be picked in place of a recording.
  async offerSaved() {
    if (!has("GET /v1/voices")) return;
    const { voices } = await get("/v1/voices");
    const usable = voices.filter(voice => !voice.revoked_at && (voice.mine || voice.scopes.includes("speak")));
    $("saved").replaceChildren(new Option(t("saved_none"), ""), ...usable.map(voice => new Option(voice.name, voice.id)));
    $("saved").value = this.saved;
    this.saved = $("saved").value; // it may have been taken back
    $("saved-part").hidden = !usable.length;
  }

  pickSaved() {
    this.saved = $("saved").value;
    if (!this.saved) return;
    this.blob = null;
    this.track?.release();
    $("mine").replaceChildren();
    $("verdict").hidden = $("save-voice").hidden = true;
  }

  async keep() {
    if (!this.agreed()) return;
    const asked = await this.named();
    if (!asked) return;
    const form = new FormData();
    form.set("name", asked.name);
    form.set("recording", this.blob, "recording");
    form.set("consent", JSON.stringify({ statement: t("consent"), of: asked.of }));
    try {
      await ask("/v1/voices", { method: "POST", body: form, headers: { "Idempotency-Key": this.keyOf(asked) } });
      this.kept = null;
      announce(t("voice_saved", asked));
      await this.offerSaved();
    } catch (wrong) {
      if (!(wrong instanceof Refused || wrong instanceof Unreached)) throw wrong;
      complain($("voice-error"), wrong.message);
    }
  }

  // Asked again after an answer that never came, it is the same voice.
  keyOf({ name, of }) {
    const asked = [name, of, language()].join("\n");
    if (this.kept?.asked !== asked || this.kept.blob !== this.blob) this.kept = { asked, blob: this.blob, key: freshKey() };
    return this.kept.key;
  }

  named() {
    const name = make("input", { type: "text", required: true, maxlength: "60", autocomplete: "off" });
    const of = make("select", {}, new Option(t("of_self"), "self"), new Option(t("of_other"), "other"));
    return question(t("save_voice"), [
      make("label", { class: "field" }, make("span", {}, t("voice_name")), name),
      make("label", { class: "field" }, make("span", {}, t("whose")), of),
      make("p", { class: "hint" }, t("consent")),
    ], t("save"), t("cancel"), () => ({ name: name.value.trim(), of: of.value }));
  }
}

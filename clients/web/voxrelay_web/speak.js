// The form: a voice, a text and a manner become a request, sent once however often it is tried.

import { Refused, Unreached, ask, freshKey, get, has, patiently, soundAt } from "./api.js";
import { $, announce, complain } from "./dom.js";
import { t } from "./words.js";
import { upload } from "./uploads.js";

const MOST_SEED = 2 ** 31;

export class Form {
  constructor({ voice, words, manner, limits, sent }) {
    Object.assign(this, { voice, words, manner, limits, sent });
    this.last = null;
    $("send").addEventListener("click", () => this.send());
  }

  async send() {
    const wrong = this.voice.wrong || this.words.wrong;
    complain($("error"), wrong);
    if (wrong) return (this.voice.wrong ? $("voice-card") : $("text")).focus();
    const { blob, saved } = this.voice;
    await this.busy(() => this.submit({ blob, saved }, { text: this.words.text, ...this.manner.fields }));
  }

  // The same once more, said anew: another seed is another reading.
  async again(job, manner) {
    await this.busy(async () => {
      const source = manner.voice ? { saved: manner.voice } : { blob: await recordingOf(job) };
      await this.submit(source, { ...manner, text: job.text, seed: Math.floor(Math.random() * MOST_SEED) });
    });
  }

  async busy(work) {
    $("send").disabled = true;
    $("send").setAttribute("aria-busy", "true");
    try {
      await work();
    } catch (wrong) {
      if (!(wrong instanceof Refused || wrong instanceof Unreached)) throw wrong;
      if ([404, 410].includes(wrong.status)) this.arrived = null; // an upload lives for a day
      complain($("error"), wrong.message);
    } finally {
      $("send").disabled = false;
      $("send").removeAttribute("aria-busy");
      $("sending").hidden = true;
    }
  }

  async submit(source, fields) {
    const key = this.keyOf(source, fields);
    const body = await this.body(source, fields);
    announce(t("sending"));
    const send = () => ask("/v1/jobs", { method: "POST", body, headers: { "Idempotency-Key": key } });
    const accepted = await (await patiently(send)).json();
    this.last = null;
    this.sent(accepted, { ...fields, text: undefined, ...(source.saved && { voice: source.saved }) });
  }

  // A request whose answer never came is the same request when it is sent again by hand.
  keyOf({ blob, saved }, fields) {
    const asked = JSON.stringify([fields, saved]);
    if (this.last?.asked !== asked || this.last.blob !== blob) this.last = { asked, blob, key: freshKey() };
    return this.last.key;
  }

  async body({ blob, saved }, fields) {
    const form = new FormData();
    for (const [name, value] of Object.entries(fields)) {
      form.set(name, typeof value === "object" ? JSON.stringify(value) : String(value));
    }
    if (saved) form.set("voice", saved);
    else if (this.inParts(blob)) form.set("upload", await this.uploaded(blob));
    else form.set("recording", blob, "recording");
    return form;
  }

  inParts(blob) {
    return has("POST /v1/uploads") && this.limits.part_bytes && blob.size > this.limits.part_bytes;
  }

  // Parts that have arrived are not sent again with the next try.
  async uploaded(blob) {
    if (this.arrived?.blob === blob) return this.arrived.id;
    $("sending").hidden = false;
    $("sending").value = 0;
    const id = await upload(blob, this.limits.part_bytes, share => { $("sending").value = share; });
    this.arrived = { blob, id };
    return id;
  }
}

async function recordingOf(job) {
  const { recording } = await get(`/v1/jobs/${job.job_id}`);
  const blob = recording && await soundAt(recording.url);
  if (!blob) throw new Refused(404, { detail: t("recording_gone") });
  return blob;
}

// One job as it is shown: its stages while it moves, then the sound to compare and what can be done.

import { Refused, Unreached, get, has, post, soundAt } from "./api.js";
import { announce, button, complain, make, question } from "./dom.js";
import { PublicLink } from "./link.js";
import { compared, Track } from "./player.js";
import { stages, why } from "./stages.js";
import { locale, t } from "./words.js";

const REASONS = ["not_my_voice", "offensive", "fraud", "quality", "other"];

export class JobCard {
  // `again` is told that the job is wanted once more; `named` says which of several manners it is;
  // `shared` is told whether it has a public page.
  constructor({ again, named = () => "", shared = () => {} }) {
    this.again = again;
    this.link = new PublicLink(() => this.path, work => this.doing(work), share => {
      this.job.share = share;
      shared(Boolean(share));
    });
    this.tracks = [];
    this.title = make("h3", {});
    this.text = make("p", { class: "said", lang: "" });
    this.now = make("p", { class: "doing", role: "status" });
    this.way = make("ol", { class: "way" });
    this.wrong = make("p", { class: "error", role: "alert", hidden: true });
    this.result = make("div", { class: "result" });
    this.element = make("article", { class: "card job" }, this.title, this.text, this.now, this.way, this.wrong, this.result);
    this.named = named;
    document.addEventListener("language", () => this.job && this.anew());
  }

  show(job) {
    const before = this.job;
    this.job = job;
    this.element.dataset.state = job.state;
    this.element.dataset.job = job.job_id;
    this.text.textContent = job.text ?? "";
    this.title.textContent = this.named() || job.variant || t(job.ended ? `state_${job.state}` : "in_work");
    this.way.replaceChildren(...stages(job).map(stage => this.stage(stage)));
    const now = this.sentence();
    if (this.now.textContent !== now) this.now.textContent = now; // a screen reader says it once
    if (job.ended && !before?.ended) this.end();
  }

  anew() {
    this.show(this.job);
    if (this.job.ended) this.end();
  }

  stage({ state, at, is }) {
    const clock = at && make("time", { datetime: at }, new Date(at).toLocaleTimeString(locale(), { hour: "2-digit", minute: "2-digit", second: "2-digit" }));
    return make("li", { class: is, "data-state": state, "aria-current": is === "now" && "step" }, make("span", {}, t(`state_${state}`)), clock);
  }

  sentence() {
    const { state, queue, ended } = this.job;
    if (ended) return state === "delivered" ? t("done_sentence") : why(this.job) || t(`state_${state}`);
    const told = [t(`now_${state}`)];
    if (queue) told.push(queue.place ? t("before_you", { place: queue.place }) : t("next_in_line"));
    if (queue?.seconds) told.push(t("about", { seconds: Math.ceil(queue.seconds) })); // null: nobody can tell
    return told.join(" · ");
  }

  end() {
    const { state, audio } = this.job;
    this.now.classList.toggle("bad", state !== "delivered");
    this.result.replaceChildren(...(audio ? this.sounds() : []), ...this.complaints(), this.actions(), this.link.element);
    this.link.show(this.job.share);
    if (state === "delivered") announce(t("done_sentence"));
  }

  sounds() {
    const { spoken, recording, audio } = this.job;
    const label = make("span", { class: "badge" }, "AI 合成 / synthetic");
    const who = spoken && make("span", { class: "hint" }, `${t(spoken.cloned ? "cloned" : "standin")} · ${spoken.voice}`);
    const b = new Track(t("track_result"), audio.url, () => soundAt(audio.url), audio.seconds);
    b.audio.addEventListener("play", () => this.played(), { once: true });
    if (!recording) return [make("p", { class: "row" }, label, who), b.element];
    const a = new Track(t("track_recording"), recording.url, () => soundAt(recording.url), recording.seconds);
    this.tracks = [a, b];
    for (const track of this.tracks) track.audio.addEventListener("error", () => this.renewed(), { once: true });
    return [make("p", { class: "row" }, label, who), compared(a, b)];
  }

  // Addresses of sound are good for minutes: one that has run out is asked for anew, once.
  renewed() {
    return this.doing(async () => {
      this.job = await get(`/v1/jobs/${this.job.job_id}`);
      this.tracks.forEach((track, n) => { track.audio.src = this.job[n ? "audio" : "recording"].url; });
    });
  }

  played() {
    if (has("POST /v1/jobs/*/played")) this.doing(() => post(`${this.path}/played`));
  }

  get path() {
    return `/v1/jobs/${this.job.job_id}`;
  }

  complaints() {
    return (this.job.complaints ?? []).map(({ kind, upheld }) =>
      make("p", { class: "hint", "data-complaint": kind }, `${t(kind)} · ${t(upheld === null ? "undecided" : upheld ? "upheld" : "not_upheld")}`));
  }

  actions() {
    const { audio, state, complaints } = this.job, rejected = state === "rejected" && !complaints?.length;
    const can = door => has(`POST /v1/jobs/*/${door}`);
    return make("div", { class: "row actions" },
      audio && make("a", { class: "button", href: audio.url, download: `voxrelay-${this.job.job_id}.${audio.format}` }, t("download")),
      audio && can("share") && button(t("share"), () => this.link.open()),
      this.again && state !== "rejected" && button(t("again"), () => this.again(this.job)),
      audio && can("rating") && this.stars(),
      audio && can("report") && button(t("report"), () => this.report(), { class: "quiet" }),
      rejected && can("appeal") && button(t("appeal"), () => this.appeal()));
  }

  stars() {
    const group = make("fieldset", { class: "stars" }, make("legend", { class: "unseen" }, t("rate")));
    for (const stars of [1, 2, 3, 4, 5]) {
      const input = make("input", { type: "radio", name: `stars-${this.job.job_id}`, value: stars, "aria-label": t("of_stars", { stars }) });
      input.addEventListener("change", () => this.rate(group, stars));
      group.append(make("label", {}, input, make("span", { "aria-hidden": "true" }, "★")));
    }
    return group;
  }

  rate(group, stars) {
    [...group.querySelectorAll("label")].forEach((label, n) => label.classList.toggle("on", n < stars));
    return this.doing(() => post(`${this.path}/rating`, { stars }), t("thanks"));
  }

  async report() {
    const reason = make("select", {}, ...REASONS.map(code => new Option(t(`report_${code}`), code)));
    const note = make("textarea", { maxlength: "500", rows: "3" });
    const said = await question(t("report"), [
      make("label", { class: "field" }, make("span", {}, t("report_why")), reason),
      make("label", { class: "field" }, make("span", {}, t("note")), note),
    ], t("send_report"), t("cancel"), () => ({ reason: reason.value, ...(note.value.trim() && { note: note.value.trim() }) }));
    if (said) await this.doing(() => post(`${this.path}/report`, said), t("reported"));
  }

  async appeal() {
    const note = make("textarea", { maxlength: "500", rows: "3", required: true });
    const said = await question(t("appeal"), [make("p", {}, t("appeal_hint")),
      make("label", { class: "field" }, make("span", {}, t("note")), note)], t("send_appeal"), t("cancel"), () => ({ note: note.value.trim() }));
    if (said) await this.doing(() => post(`${this.path}/appeal`, said), t("appealed"));
  }

  async doing(work, thanks = "") {
    complain(this.wrong);
    try {
      await work();
      if (thanks) this.now.textContent = thanks;
    } catch (wrong) {
      if (!(wrong instanceof Refused || wrong instanceof Unreached)) throw wrong;
      complain(this.wrong, wrong.message);
    }
  }
}

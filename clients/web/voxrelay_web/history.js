// Jobs of before, newest first; one that is opened is shown whole. Knows no form.

import { get } from "./api.js";
import { $, button, complain, make } from "./dom.js";
import { JobCard } from "./job.js";
import { locale, t } from "./words.js";

export class History {
  constructor(again) {
    this.again = again;
    this.more = button(t("more"), () => this.page());
  }

  async open() {
    this.cursor = "";
    $("past").replaceChildren();
    await this.page();
  }

  async page() {
    const { jobs, cursor } = await get(`/v1/jobs?limit=20${this.cursor && `&cursor=${encodeURIComponent(this.cursor)}`}`);
    this.cursor = cursor ?? "";
    this.more.remove();
    $("past").append(...jobs.map(job => this.line(job)));
    if (this.cursor) $("past").after(this.more);
    complain($("past-none"), $("past").children.length ? "" : t("past_none"));
  }

  line(job) {
    const when = new Date(job.accepted_at).toLocaleString(locale(), { dateStyle: "medium", timeStyle: "short" });
    const kind = job.state === "delivered" ? "good" : ["rejected", "failed", "stuck"].includes(job.state) ? "bad" : "warm";
    const summary = make("summary", {}, make("span", { class: "grow cut" }, job.text ?? t("text_gone")),
      make("span", { class: `state ${kind}` }, t(`state_${job.state}`)), make("time", { datetime: job.accepted_at }, when));
    const line = make("details", { class: "card", "data-job": job.job_id }, summary);
    line.addEventListener("toggle", async () => {
      const card = new JobCard({ again: this.again });
      card.show(await get(`/v1/jobs/${job.job_id}`)); // its addresses of sound are fresh ones
      line.append(card.element);
    }, { once: true });
    return line;
  }
}

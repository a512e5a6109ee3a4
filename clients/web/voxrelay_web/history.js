// Jobs of before, newest first; one that is opened is shown whole. Knows no form.

import { get, has } from "./api.js";
import { $, button, complain, make } from "./dom.js";
import { JobCard } from "./job.js";
import { locale, t } from "./words.js";

export class History {
  // `showing` waits for a view, and says why where there is none.
  constructor(again, showing) {
    this.again = again;
    this.more = button(t("more"), () => showing(this.page()));
    $("past-shared-part").hidden = !has("DELETE /v1/jobs/*/share");
    $("past-shared").addEventListener("change", () => showing(this.open()));
  }

  async open() {
    this.cursor = "";
    $("past").replaceChildren();
    await this.page();
  }

  async page() {
    const asked = this.asked = new URLSearchParams({ limit: 20, shared: $("past-shared").checked });
    if (this.cursor) asked.set("cursor", this.cursor);
    const { jobs, cursor } = await get(`/v1/jobs?${asked}`);
    if (asked !== this.asked) return; // another view of it was asked for meanwhile
    this.cursor = cursor ?? "";
    this.more.remove();
    $("past").append(...jobs.map(job => this.line(job)));
    if (this.cursor) $("past").after(this.more);
    complain($("past-none"), $("past").children.length ? "" : t($("past-shared").checked ? "shared_none" : "past_none"));
  }

  line(job) {
    const when = new Date(job.accepted_at).toLocaleString(locale(), { dateStyle: "medium", timeStyle: "short" });
    const kind = job.state === "delivered" ? "good" : ["rejected", "failed", "stuck"].includes(job.state) ? "bad" : "warm";
    const badge = make("span", { class: "badge", hidden: !job.share }, t("shared"));
    const summary = make("summary", {}, make("span", { class: "grow cut" }, job.text ?? t("text_gone")), badge,
      make("span", { class: `state ${kind}` }, t(`state_${job.state}`)), make("time", { datetime: job.accepted_at }, when));
    const line = make("details", { class: "card", "data-job": job.job_id }, summary);
    line.addEventListener("toggle", async () => {
      const card = new JobCard({ again: this.again, shared: on => { badge.hidden = !on; } });
      card.show(await get(`/v1/jobs/${job.job_id}`)); // its addresses of sound are fresh ones
      line.append(card.element);
    }, { once: true });
    return line;
  }
}

// What an operator decides and sees: what waits for a person, dead letters, how the relay stands.
// Every door asks for its scope; what this caller may not do is not shown.

import { Refused, get, has, post, soundAt } from "./api.js";
import { $, announce, button, complain, make, question } from "./dom.js";
import { Track } from "./player.js";
import { locale, t } from "./words.js";

const MOST_DEAD = 200; // as the gateway gives at once

const PARTS = [
  { id: "review", scope: "review", door: "GET /v1/review", open: openReview },
  { id: "dead", scope: "dead", door: "GET /v1/dead", open: () => openDead() },
  { id: "figures", scope: "status", door: "GET /v1/status", open: openFigures },
];

export function mayOperate(scopes) {
  return PARTS.some(part => scopes.includes(part.scope) && has(part.door));
}

export async function openOperator(scopes) {
  for (const part of PARTS) {
    const shown = scopes.includes(part.scope) && has(part.door);
    $(`op-${part.id}`).hidden = !shown;
    if (shown) await doing(part.open);
  }
  $("audit-link").hidden = !scopes.includes("audit");
}

async function openReview() {
  $("review-list").replaceChildren();
  await reviewFrom("");
}

// A page of what waits, after those that are shown.
async function reviewFrom(cursor) {
  const { items, cursor: next } = await get(`/v1/review?limit=20${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
  $("review-list").append(...items.map(review));
  further($("review-list"), next && (() => reviewFrom(next)));
  complain($("review-none"), $("review-list").children.length ? "" : t("review_none"));
}

// A button under `list` that brings more of it; none where there is no more.
function further(list, more) {
  list.querySelector(":scope > .further")?.remove();
  if (more) list.append(button(t("more"), () => doing(more), { class: "further" }));
}

function review(item) {
  const reasons = item.reasons.map(reason => make("li", {}, item.kind === "report" ? t(`report_${reason}`) : reason));
  const heard = [["track_recording", item.recording_url], ["track_result", item.audio_url]].filter(([, url]) => url);
  const sounds = heard.map(([label, url]) => new Track(t(label), url, () => soundAt(url)).element);
  return make("article", { class: "card", "data-item": item.id },
    make("h3", {}, t(`kind_${item.kind}`)),
    make("p", { class: "said" }, item.text ?? ""),
    item.transcript && make("p", { class: "hint" }, t("heard", { transcript: item.transcript })),
    item.note && make("p", {}, item.note),
    reasons.length > 0 && make("ul", {}, ...reasons),
    ...sounds,
    make("p", { class: "hint" }, t("deadline", { since: when(item.since), deadline: when(item.deadline) })),
    make("div", { class: "row actions" },
      button(t("approve"), () => decide(item, true), { class: "main" }), button(t("reject"), () => decide(item, false))));
}

async function decide(item, approve) {
  const reason = make("textarea", { rows: "2", maxlength: "500", required: true });
  const said = await question(t(approve ? "approve" : "reject"),
    [make("label", { class: "field" }, make("span", {}, t("reason")), reason)], t(approve ? "approve" : "reject"), t("cancel"),
    () => ({ approve, reason: reason.value.trim() }));
  if (!said) return;
  await doing(async () => {
    await post(`/v1/review/${item.id}`, said);
    announce(t("decided"));
    await openReview();
  });
}

// Dead letters have no pages: more of them is the same list, longer.
async function openDead(limit = 50) {
  const { letters, more } = await get(`/v1/dead?limit=${limit}`);
  $("dead-list").replaceChildren(...letters.map(dead));
  further($("dead-list"), more && limit < MOST_DEAD && (() => openDead(Math.min(2 * limit, MOST_DEAD))));
  complain($("dead-none"), letters.length ? "" : t("dead_none"));
}

function dead(letter) {
  const facts = Object.entries(letter).filter(([, value]) => ["string", "number"].includes(typeof value));
  const decideOn = what => () => doing(async () => {
    await post(`/v1/dead/${letter.id}/${what}`);
    announce(t("decided"));
    await openDead();
  });
  return make("article", { class: "card", "data-letter": letter.id },
    make("dl", { class: "facts" }, ...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, String(value))])),
    make("div", { class: "row actions" }, button(t("redrive"), decideOn("redrive"), { class: "main" }), button(t("discard"), decideOn("discard"))));
}

async function openFigures() {
  const { at, ...standing } = await get("/v1/status");
  $("status-at").textContent = when(at);
  $("status-facts").replaceChildren(...facts(standing));
  const said = await figures();
  $("figures-facts").replaceChildren(...(said ? facts(said.total?.jobs ?? {}) : []));
  $("figures-part").hidden = !said;
}

// Figures of the last hour, where analytics answers under this address; null where it does not.
async function figures() {
  try {
    return await get("/v1/figures?size=minute&last=60");
  } catch (wrong) {
    if (wrong instanceof Refused && wrong.status === 404) return null;
    throw wrong;
  }
}

// Names and values of whatever is told, one level after the other.
function facts(told, before = "") {
  return Object.entries(told).flatMap(([name, value]) => {
    const path = before ? `${before} · ${name}` : name;
    if (value !== null && typeof value === "object") return facts(value, path);
    return [make("div", {}, make("dt", {}, path.replaceAll("_", " ")), make("dd", {}, shown(value)))];
  });
}

function shown(value) {
  if (typeof value === "boolean") return t(value ? "yes" : "no");
  return typeof value === "number" ? value.toLocaleString(locale(), { maximumFractionDigits: 2 }) : value ?? "–";
}

const when = text => text ? new Date(text).toLocaleString(locale(), { dateStyle: "medium", timeStyle: "short" }) : "–";

async function doing(work) {
  complain($("operator-error"));
  try {
    await work();
  } catch (wrong) {
    complain($("operator-error"), wrong.message);
  }
}

// The page: who is here, what this relay can do, which view is open, which jobs still move.

import { get, openDoors, Refused, Unreached, has, patiently, signIn, signOut, whenSignedOut } from "./api.js";
import { $, announce, complain } from "./dom.js";
import { History } from "./history.js";
import { JobCard } from "./job.js";
import { Manner, called } from "./manner.js";
import { mayOperate, openOperator } from "./operator.js";
import { Progress } from "./progress.js";
import { Form } from "./speak.js";
import { choice, choose, dropJob, endJob, jobs, keepJob, mannerOf, tokens } from "./store.js";
import { Words } from "./text.js";
import { openVoices, prepareVoices } from "./voices.js";
import { Voice } from "./voice.js";
import { language, speak, t } from "./words.js";

const VIEWS = ["speak", "history", "voices", "operator"];
// What a relay without a catalogue takes: its own words for how to speak, and no presets.
const BARE = { styles: [], dialects: [], formats: ["mp3", "m4a", "wav"],
  limits: { text: 5000, recording_seconds: { least: 1, most: 30 }, recording_bytes: 12e6 } };

let scopes = [], catalogue = BARE, voice, form, history;

const progress = new Progress(well => { $("lost").hidden = well; });

async function begin() {
  const link = location.hash.includes("sign-in=") ? location.hash : "";
  if (link) window.history.replaceState(null, "", location.pathname); // good once, and in no history
  whenSignedOut(wrong => needSignIn(wrong.message));
  const entered = !link || await enter(link); // else why not stays to be read
  await patiently(openDoors, Infinity);
  catalogue = has("GET /v1/catalogue") ? await get("/v1/catalogue") : BARE;
  build();
  if (entered && await known()) await opened();
}

function build() {
  const { limits } = catalogue;
  voice = new Voice(limits);
  const words = new Words(limits.text), manner = new Manner(catalogue);
  form = new Form({ voice, words, manner, limits, sent });
  history = new History(again, showing);
  prepareVoices();
}

async function known() {
  try {
    ({ scopes } = await get("/v1/session"));
    return true;
  } catch (wrong) {
    if (wrong instanceof Refused) return false; // and the sign-in is shown
    throw wrong;
  }
}

async function opened() {
  $("sign-in").hidden = true;
  $("sign-out").hidden = !tokens();
  $("tab-voices").hidden = !(has("GET /v1/voices") && scopes.includes("voices"));
  $("tab-operator").hidden = !mayOperate(scopes);
  document.body.dataset.ready = "yes";
  for (const { id, ended } of jobs().reverse()) if (!ended) follow(id);
  route();
}

function route() {
  const asked = location.hash.slice(1);
  const view = VIEWS.includes(asked) && !$(`tab-${asked}`).hidden ? asked : "speak";
  for (const name of VIEWS) {
    $(name).hidden = name !== view;
    if (name === view) $(`tab-${name}`).setAttribute("aria-current", "page");
    else $(`tab-${name}`).removeAttribute("aria-current");
  }
  if (view === "speak" && !$("tab-voices").hidden) showing(voice.offerSaved());
  if (view === "history") showing(history.open());
  if (view === "voices") showing(openVoices());
  if (view === "operator") showing(openOperator(scopes));
}

// A view that cannot be had says why, and is had by going there again.
async function showing(view) {
  try {
    await view;
  } catch (wrong) {
    if (!(wrong instanceof Refused || wrong instanceof Unreached)) throw wrong;
    complain($("notice"), wrong.message);
  }
}

function sent(accepted, manner) {
  const { variants, ...own } = manner;
  const all = (accepted.variants ?? [accepted]).map((job, n) => [job.job_id, { ...own, ...variants?.[n] }]);
  for (const [id, asked] of all.reverse()) { // each goes before those that are shown
    keepJob(id, asked);
    follow(id);
  }
  $("work").scrollIntoView({ behavior: "smooth", block: "start" });
}

function named(id) {
  const { style } = mannerOf(id);
  return style ? called(catalogue, style) : "";
}

function follow(id) {
  const card = new JobCard({ again, named: () => named(id) });
  $("jobs").prepend(card.element);
  $("work").hidden = false;
  progress.follow(id, job => {
    if (!job) return gone(id, card);
    card.show(job);
    if (job.ended) endJob(id);
  });
}

// It was another's, or is kept no more.
function gone(id, card) {
  dropJob(id);
  card.element.remove();
  $("work").hidden = !$("jobs").children.length;
}

function again(job) {
  location.hash = "#speak";
  return form.again(job, mannerOf(job.job_id));
}

function needSignIn(sentence) {
  for (const name of VIEWS) $(name).hidden = true;
  $("sign-in").hidden = false;
  complain($("sign-in-error"), sentence);
  $("proof").focus();
}

async function enter(proof) {
  try {
    await signIn(proof);
    announce(t("signed_in"));
    complain($("notice"), t("signed_in"));
    return true;
  } catch (wrong) {
    needSignIn(wrong.message);
    return false;
  }
}

function dress(theme) {
  $("dark").media = { dark: "all", light: "not all" }[theme] ?? "(prefers-color-scheme: dark)";
  document.documentElement.dataset.theme = theme;
  $("theme").setAttribute("aria-label", t("theme", { theme: t(`theme_${theme}`) }));
  document.dispatchEvent(new Event("theme"));
}

function controls() {
  $("language").addEventListener("click", () => speak(language() === "zh" ? "en" : "zh"));
  document.addEventListener("language", () => {
    dress(choice("theme") ?? "auto");
    if (document.body.dataset.ready) route();
  });
  $("theme").addEventListener("click", () => {
    const next = { auto: "dark", dark: "light", light: "auto" }[choice("theme") ?? "auto"];
    choose("theme", next);
    dress(next);
  });
  $("sign-out").addEventListener("click", async () => { await signOut(); location.reload(); });
  $("sign-in-form").addEventListener("submit", async event => {
    event.preventDefault();
    if (await enter($("proof").value) && await known()) await opened();
  });
  window.addEventListener("hashchange", () => {
    complain($("notice"));
    if (document.body.dataset.ready) route();
  });
}

speak(language());
dress(choice("theme") ?? "auto");
controls();
begin();

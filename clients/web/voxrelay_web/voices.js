// Saved voices: hear, rename, share, take back. Knows no job.

import { Refused, Unreached, get, has, post, soundAt } from "./api.js";
import { $, announce, button, complain, make, question } from "./dom.js";
import { Track } from "./player.js";
import { locale, t } from "./words.js";

export async function openVoices() {
  const { voices } = await get("/v1/voices");
  $("voices-list").replaceChildren(...voices.map(voice => line(voice)));
  complain($("voices-none"), voices.length ? "" : t("voices_none"));
  $("accept-voice").hidden = !has("POST /v1/voices/accept");
}

export function prepareVoices() {
  $("accept-voice").addEventListener("submit", event => {
    event.preventDefault();
    const code = $("share-code").value.trim();
    if (code) doing(() => post("/v1/voices/accept", { code }), t("voice_accepted"));
  });
}

function line(voice) {
  const since = day(voice.created_at);
  const track = voice.recording_url && new Track(voice.name, voice.recording_url, () => soundAt(voice.recording_url), voice.seconds);
  const ours = voice.mine && !voice.revoked_at;
  const others = ours && has("GET /v1/voices/*/shares") && shared(voice);
  const mine = ours && make("div", { class: "row actions" },
    button(t("rename"), () => rename(voice)), button(t("share"), () => share(voice, others)),
    button(t("revoke"), () => revoke(voice), { class: "quiet bad" }));
  return make("article", { class: "card", "data-voice": voice.id }, make("h3", {}, voice.name),
    make("p", { class: "hint" }, [t(voice.revoked_at ? "revoked" : voice.mine ? "voice_mine" : "voice_shared"), since].join(" · ")),
    track?.element, mine, others?.element);
}

// Who else may use it, asked for when somebody looks. A code is shown once, so nobody has a name here.
function shared(voice) {
  const list = make("ul", { class: "shares" });
  const all = make("details", {}, make("summary", {}, t("shares")), list);
  const path = `/v1/voices/${voice.id}/shares`;
  const show = async () => {
    const { shares } = await get(path);
    const end = id => trying(async () => {
      await post(`${path}/${id}`, {}, "DELETE");
      await show();
    });
    list.replaceChildren(...shares.map(share => make("li", { class: "row", "data-share": share.id },
      make("span", { class: "grow" }, [t(share.person ? "share_taken" : "share_waits"), day(share.created_at)].join(" · ")),
      button(t("unshare"), () => end(share.id), { class: "quiet bad" }))));
    if (!shares.length) list.replaceChildren(make("li", { class: "hint" }, t("shares_none")));
  };
  all.addEventListener("toggle", () => all.open && trying(show));
  return { element: all, show };
}

const day = text => new Date(text).toLocaleDateString(locale(), { dateStyle: "medium" });

async function rename(voice) {
  const name = make("input", { type: "text", required: true, maxlength: "60", value: voice.name });
  const said = await question(t("rename"), [make("label", { class: "field" }, make("span", {}, t("voice_name")), name)],
    t("save"), t("cancel"), () => name.value.trim());
  if (said) await doing(() => post(`/v1/voices/${voice.id}`, { name: said }, "PATCH"), t("renamed"));
}

// The voices stay as they are, and with them who is being looked at.
async function share(voice, others) {
  await trying(async () => {
    const { code } = await post(`/v1/voices/${voice.id}/shares`, { scopes: ["speak"] });
    const field = make("input", { type: "text", readonly: true, value: code, "aria-label": t("share_code") });
    await question(t("share"), [make("p", {}, t("share_voice_hint")), field], t("done"), t("close"), () => true);
    await others?.show();
  });
}

async function revoke(voice) {
  const sure = await question(t("revoke"), [make("p", {}, t("revoke_hint", { name: voice.name }))], t("revoke"), t("cancel"), () => true);
  if (sure) await doing(() => post(`/v1/voices/${voice.id}`, {}, "DELETE"), t("revoked"));
}

function doing(work, said) {
  return trying(async () => {
    await work();
    if (said) announce(said);
    await openVoices();
  });
}

async function trying(work) {
  complain($("voices-error"));
  try {
    await work();
  } catch (wrong) {
    if (!(wrong instanceof Refused || wrong instanceof Unreached)) throw wrong;
    complain($("voices-error"), wrong.message);
  }
}

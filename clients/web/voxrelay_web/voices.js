// Saved voices: hear, rename, share, take back. Knows no job.

import { get, has, post, soundAt } from "./api.js";
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
  const since = new Date(voice.created_at).toLocaleDateString(locale(), { dateStyle: "medium" });
  const track = voice.recording_url && new Track(voice.name, voice.recording_url, () => soundAt(voice.recording_url), voice.seconds);
  const mine = voice.mine && !voice.revoked_at && make("div", { class: "row actions" },
    button(t("rename"), () => rename(voice)), button(t("share"), () => share(voice)),
    button(t("revoke"), () => revoke(voice), { class: "quiet bad" }));
  return make("article", { class: "card", "data-voice": voice.id }, make("h3", {}, voice.name),
    make("p", { class: "hint" }, [t(voice.revoked_at ? "revoked" : voice.mine ? "voice_mine" : "voice_shared"), since].join(" · ")), track?.element, mine);
}

async function rename(voice) {
  const name = make("input", { type: "text", required: true, maxlength: "60", value: voice.name });
  const said = await question(t("rename"), [make("label", { class: "field" }, make("span", {}, t("voice_name")), name)],
    t("save"), t("cancel"), () => name.value.trim());
  if (said) await doing(() => post(`/v1/voices/${voice.id}`, { name: said }, "PATCH"), t("renamed"));
}

async function share(voice) {
  await doing(async () => {
    const { code } = await post(`/v1/voices/${voice.id}/shares`, { scopes: ["speak"] });
    const field = make("input", { type: "text", readonly: true, value: code, "aria-label": t("share_code") });
    await question(t("share"), [make("p", {}, t("share_voice_hint")), field], t("done"), t("close"), () => true);
  });
}

async function revoke(voice) {
  const sure = await question(t("revoke"), [make("p", {}, t("revoke_hint", { name: voice.name }))], t("revoke"), t("cancel"), () => true);
  if (sure) await doing(() => post(`/v1/voices/${voice.id}`, {}, "DELETE"), t("revoked"));
}

async function doing(work, said) {
  complain($("voices-error"));
  try {
    await work();
    if (said) announce(said);
    await openVoices();
  } catch (wrong) {
    complain($("voices-error"), wrong.message);
  }
}

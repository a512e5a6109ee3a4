// The public page of a job's speech: opened, handed on, withdrawn. Knows no sound.

import { post } from "./api.js";
import { announce, button, make, question } from "./dom.js";
import { locale, t } from "./words.js";

export class PublicLink {
  // `path` is the job's; `doing` runs work and says what went wrong; `changed` hears what is there.
  constructor(path, doing, changed) {
    Object.assign(this, { path, doing, changed });
    this.element = make("p", { class: "row", "data-public": "", hidden: true });
  }

  // `share` is what the relay tells of it; null where there is none.
  show(share) {
    this.element.hidden = !share;
    this.element.replaceChildren(...(share ? this.parts(share) : []));
    this.changed(share);
  }

  parts({ url, expires_at: until }) {
    return [make("span", { class: "grow hint" }, t("is_public", { end: new Date(until).toLocaleString(locale()) })),
      make("a", { href: url, target: "_blank", rel: "noopener" }, t("open_link")),
      button(t("withdraw"), () => this.withdraw(), { class: "quiet bad" })];
  }

  open() {
    return this.doing(async () => {
      const share = await post(`${this.path()}/share`);
      this.show(share);
      const field = make("input", { type: "text", readonly: true, value: share.url, "aria-label": t("share_link") });
      const end = new Date(share.expires_at).toLocaleString(locale());
      const inside = [make("p", {}, t("share_hint", { end })), make("label", { class: "field" }, field)];
      const on = Boolean(navigator.share);
      const done = await question(t("share"), inside, t(on ? "share_on" : "copy"), t("close"), () => on || copied(field));
      if (!done) return;
      if (on) await navigator.share({ url: share.url, title: t("share_title") }).catch(() => {}); // called off
      else announce(t("copied"));
    });
  }

  async withdraw() {
    const sure = await question(t("withdraw"), [make("p", {}, t("withdraw_hint"))], t("withdraw"), t("cancel"), () => true);
    if (!sure) return;
    await this.doing(async () => {
      await post(`${this.path()}/share`, {}, "DELETE");
      this.show(null);
      announce(t("withdrawn"));
    });
  }
}

// The old way to the clipboard: `navigator.clipboard` is not there over plain http.
function copied(field) {
  field.select();
  return document.execCommand("copy");
}

// What is to be said: a counter, and a mark for how a character is read. Knows no voice.

import { $, announce, button, make, question } from "./dom.js";
import { mark, readingsOf } from "./readings.js";
import { t } from "./words.js";

const HAN = /\p{Script=Han}/u;
const PIECES = /\[[^\[\]\s]{1,24}\](?:\[[^\[\]\s]{1,24}\])?|\p{Script=Han}|[^\[\p{Script=Han}]+|\[/gu;
const NEAR = 0.9;

export class Words {
  constructor(most) {
    this.most = most;
    this.area = $("text");
    this.area.addEventListener("input", () => this.show());
    $("reading").addEventListener("click", () => this.toggle());
    document.addEventListener("language", () => this.show());
    this.show();
  }

  get text() {
    return this.area.value.trim();
  }

  set text(words) {
    this.area.value = words;
    this.show();
  }

  // Why it cannot be sent as it is; empty where it can.
  get wrong() {
    if (!this.text) return t("need_text");
    return length(this.text) > this.most ? t("text_long", { most: this.most }) : "";
  }

  show() {
    const long = length(this.area.value);
    $("count").textContent = `${long} / ${this.most}`;
    $("count").classList.toggle("bad", long > this.most);
    $("count").classList.toggle("warm", long > this.most * NEAR && long <= this.most);
    $("reading").hidden = !HAN.test(this.area.value);
    if ($("reading").hidden) $("characters").hidden = true;
    if (!$("characters").hidden) this.characters();
  }

  toggle() {
    const box = $("characters");
    box.hidden = !box.hidden;
    $("reading").setAttribute("aria-expanded", String(!box.hidden));
    if (!box.hidden) this.characters();
  }

  // The text again, its characters to be tapped; one with several readings is underlined.
  characters() {
    const pieces = this.area.value.match(PIECES) ?? [];
    const shown = pieces.map((piece, n) => {
      if (!HAN.test(piece)) return make("span", { class: piece.startsWith("[") ? "mark" : "" }, piece);
      const several = readingsOf(piece).length > 1;
      return button(piece, () => this.read(pieces, n), { class: several ? "character several" : "character",
        "aria-label": t(several ? "read_several" : "read_one", { character: piece }) });
    });
    $("characters").replaceChildren(make("p", { class: "hint" }, t("reading_hint")), make("p", { lang: "zh" }, ...shown));
  }

  async read(pieces, n) {
    const said = await this.asked(pieces[n]);
    const written = said && mark(said);
    if (said && !written) announce(t("no_pinyin", { said }));
    if (!written) return;
    const at = pieces.slice(0, n).join("").length;
    this.area.setRangeText(written, at, at + pieces[n].length, "end");
    this.show();
    announce(t("read_as", { character: pieces[n], said }));
  }

  asked(character) {
    const field = make("input", { type: "text", id: "pinyin", autocomplete: "off", autocapitalize: "off", spellcheck: "false",
      required: true, placeholder: "hao4", maxlength: "8", "aria-describedby": "pinyin-hint" });
    const known = readingsOf(character).map(reading =>
      button(reading, () => { field.value = reading; field.form.requestSubmit(); }, { class: "chip" }));
    field.addEventListener("input", () => field.setCustomValidity(mark(field.value) ? "" : t("no_pinyin", { said: field.value })));
    return question(t("how_read", { character }), [
      make("div", { class: "chips" }, ...known),
      make("label", { class: "field" }, make("span", {}, t("pinyin")), field),
      make("p", { class: "hint", id: "pinyin-hint" }, t("pinyin_hint")),
    ], t("use"), t("cancel"), () => field.value);
  }
}

const length = text => [...text].length;

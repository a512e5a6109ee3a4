// How it is to be said: a style, a dialect, several dialects side by side, or in words.
// Knows the catalogue. Refuses to know voices and texts.

import { $, choices, picks } from "./dom.js";
import { language, t } from "./words.js";

export class Manner {
  constructor(catalogue) {
    this.catalogue = catalogue;
    this.style = "";
    this.dialects = [];
    $("lesson").addEventListener("change", () => this.show());
    document.addEventListener("language", () => this.show());
    $("format").replaceChildren(...catalogue.formats.map(format => new Option(format.toUpperCase(), format)));
    this.show();
  }

  get lesson() {
    return $("lesson").checked && this.dialects.length > 0;
  }

  show() {
    const { styles, dialects, limits } = this.catalogue;
    $("styles-part").hidden = !styles.length;
    $("dialects-part").hidden = !dialects.length;
    $("more").open ||= !styles.length;
    $("lesson-part").hidden = !limits.variants || !dialects.length;
    const option = ({ name, label }) => ({ value: name, words: label[language()] });
    const plain = { value: "", words: t("plain") };
    const lesson = $("lesson").checked;
    this.dialects = [];
    $("styles").replaceChildren(lesson ? "" : choices("style", t("styles"), [plain, ...styles.map(option)],
      name => this.pick(name, "dialect"), this.style));
    $("styles-part").hidden ||= lesson;
    $("dialects").replaceChildren(lesson
      ? picks(t("dialects"), dialects.map(option), names => { this.dialects = names; }, limits.variants)
      : choices("dialect", t("dialects"), dialects.map(option), name => this.pick(name, "style"), this.style));
  }

  // A style and a dialect are one choice: the engine is given one instruction.
  pick(name, others) {
    this.style = name;
    for (const input of document.querySelectorAll(`input[name=${others}]`)) input.checked = others === "style" && !name && !input.value;
  }

  // The fields of a request.
  get fields() {
    const instruct = $("instruct").value.trim();
    const speed = $("speed").value, format = $("format").value;
    if (this.lesson) return { mode: "instruct", speed, format, variants: this.dialects.map(style => ({ style })) };
    const mode = this.style || instruct ? "instruct" : $("mode").value;
    return { mode, speed, format, ...(this.style && { style: this.style }), ...(instruct && { instruct }) };
  }
}

// What a style or a dialect is called here; its own name where the catalogue has none.
export function called(catalogue, name) {
  const found = [...catalogue.styles, ...catalogue.dialects].find(each => each.name === name);
  return found?.label[language()] ?? name;
}

// Elements, and what is said aloud to those who cannot see them. Knows no feature of the page.

export const $ = id => document.getElementById(id);

// An element; `on…` are listeners, true and false are attributes that are there or not.
export function make(name, given = {}, ...inside) {
  const el = document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) el.addEventListener(key.slice(2), value);
    else el.setAttribute(key, value === true ? "" : value);
  }
  el.append(...inside.filter(each => each !== undefined && each !== null && each !== false));
  return el;
}

export function button(words, click, more = {}) {
  return make("button", { type: "button", onclick: click, ...more }, words);
}

// Of several choices one; `value` of the chosen is told to `chosen`. Arrow keys work as in a form.
export function choices(name, label, options, chosen, checked) {
  const group = make("div", { class: "chips", role: "radiogroup", "aria-label": label });
  for (const { value, words } of options) {
    const input = make("input", { type: "radio", name, value, checked: value === checked });
    input.addEventListener("change", () => chosen(value));
    group.append(make("label", { class: "chip" }, input, make("span", {}, words)));
  }
  return group;
}

// Of several choices any number, up to `most`: the others cannot be picked then.
export function picks(label, options, chosen, most) {
  const group = make("div", { class: "chips", role: "group", "aria-label": label });
  const inputs = options.map(({ value, words }) => {
    const input = make("input", { type: "checkbox", value });
    group.append(make("label", { class: "chip" }, input, make("span", {}, words)));
    return input;
  });
  group.addEventListener("change", () => {
    const picked = inputs.filter(input => input.checked);
    for (const input of inputs) input.disabled = !input.checked && picked.length >= most;
    chosen(picked.map(input => input.value));
  });
  return group;
}

export function announce(sentence) {
  $("spoken-aloud").textContent = sentence;
}

// What went wrong, where it is seen and heard; nothing: all is well again.
export function complain(where, sentence = "") {
  where.textContent = sentence;
  where.hidden = !sentence;
}

// A question with its own controls; resolves to what `read` gives, null where it was called off.
export function question(title, inside, done, cancel, read) {
  const dialog = $("question");
  const form = make("form", { method: "dialog" }, make("h2", { id: "question-title" }, title), ...inside);
  form.append(make("div", { class: "row end" },
    button(cancel, () => dialog.close()), make("button", { class: "main", type: "submit" }, done)));
  dialog.replaceChildren(form);
  return new Promise(resolve => {
    let said = null;
    form.addEventListener("submit", event => {
      event.preventDefault(); // the policy of this page lets no form go anywhere
      said = read();
      dialog.close();
    });
    dialog.addEventListener("close", () => resolve(said), { once: true });
    dialog.showModal();
  });
}

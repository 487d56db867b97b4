// Dialogs: what is asked before something is done that cannot be undone.

import { button, fill, h, visible } from "./dom.js";

/**
 * Asks, then does. `title` names the thing, `loss` says what is lost, `verb` is on the button. `act` may take its time;
 * if it fails, the dialog stays and says why. Resolves to whether it was done.
 */
export function ask({ title, loss, verb, act, danger = true, fields = null }) {
  return new Promise((resolve) => {
    const trouble = h("div", { role: "alert" });
    let done = false;
    const go = button(verb, submit, { kind: danger ? "danger" : "primary" });
    const dialog = h("dialog", { "aria-labelledby": "dialog-title" },
      h("h2", { id: "dialog-title" }, title),
      (Array.isArray(loss) ? loss : [loss]).map((line) => h("p", null, line)),
      fields,
      trouble,
      h("div", { class: "actions" }, button("Cancel", () => dialog.close()), go));
    async function submit() {
      go.setAttribute("aria-disabled", "true");
      try {
        await act();
        done = true;
        dialog.close();
      } catch (problem) {
        fill(trouble, problemBox(problem));
      }
      go.removeAttribute("aria-disabled");
    }
    open(dialog, () => resolve(done));
  });
}

/** Shows something until it is closed. */
export function show(title, ...children) {
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" },
    h("h2", { id: "dialog-title" }, title), children,
    h("div", { class: "actions" }, button("Close", () => dialog.close(), { kind: "primary" })));
  open(dialog);
}

function open(dialog, closed = () => {}) {
  const before = document.activeElement;
  document.body.append(dialog);
  dialog.addEventListener("close", () => {
    dialog.remove();
    before?.focus?.();
    closed();
  });
  dialog.showModal();
}

/** Closes what is open, when the view changes under it. */
export function closeAll() {
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
}

/** A problem as text: what is wrong, and what helps. */
export function problemBox(problem) {
  return h("div", { class: "problem" },
    h("p", { dir: "auto" }, visible(problem.message)),
    problem.help ? h("p", { class: "help", dir: "auto" }, `help: ${visible(problem.help)}`) : null);
}

/** A text to copy, with a button. */
export function copyable(label, text) {
  const input = h("input", { type: "text", class: "copy", readonly: true, "aria-label": label, value: text });
  const said = h("span", { role: "status", class: "hint" });
  const copy = button("Copy", async () => {
    try {
      await navigator.clipboard.writeText(text);
      fill(said, "copied");
    } catch {
      input.select();
      fill(said, "select it and copy it by hand");
    }
  }, { label: `Copy: ${label}` });
  return h("div", { class: "copyable" }, h("span", { class: "label" }, label), h("div", { class: "row" }, input, copy, said));
}

// Who is not logged in.

import { logIn } from "../api.js";
import { problemBox } from "../dialog.js";
import { button, fill, h } from "../dom.js";

export function show({ root, entered, problem }) {
  const trouble = h("div", { role: "alert" }, problem ? problemBox(problem) : null);
  const field = h("input", { id: "ticket", type: "password", autocomplete: "off", spellcheck: "false", required: true, placeholder: "grid1…" });
  const form = h("form", {
    class: "login",
    onsubmit: async (event) => {
      event.preventDefault();
      try {
        await logIn({ ticket: field.value.trim() });
        entered();
      } catch (refused) {
        fill(trouble, problemBox(refused));
        field.focus();
      }
    },
  },
  h("h1", { tabindex: "-1" }, "Grid"),
  h("p", null, "To look at this grid, type ", h("code", null, "grid ui"), " on the manager's machine."),
  trouble,
  h("label", { for: "ticket" }, "Or log in with a ticket"),
  h("div", { class: "row" }, field, button("Log in", () => form.requestSubmit(), { kind: "primary" })));
  fill(root, form);
}

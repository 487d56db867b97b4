// Who may do what: keys, tickets, tokens.

import { get, path, post, refusal, whoIsThere } from "../api.js";
import { ask, copyable, problemBox, show as showDialog } from "../dialog.js";
import { alien, badge, button, fill, h, section, visible } from "../dom.js";
import { ago, brief, briefText, managerNow, things } from "../format.js";
import { table } from "../table.js";

const ROLES = ["host", "client", "publisher", "viewer", "admin"];

export function show({ root, signal, heading, repeat }) {
  heading("Access");
  const refresh = () => Promise.all(lists.map((list) => list.read()));
  const lists = [
    part("/keys", "keys", keyTable(() => refresh()), signal),
    part("/tickets", "tickets", ticketTable(() => refresh()), signal),
    part("/tokens", "tokens", tokenTable(() => refresh()), signal),
  ];
  root.append(
    section("Keys", lists[0].element),
    section("Tickets", ticketForm(refresh), lists[1].element),
    section("Tokens", h("p", { class: "hint" }, "A program shows a token; ", h("code", null, "grid key token"), " makes one."), lists[2].element));
  return repeat(5000, refresh);
}

/** A list that is read by itself: whoever may not see one may see another. */
function part(from, field, made, signal) {
  const trouble = h("div");
  return {
    element: h("div", null, trouble, made.element),
    async read() {
      try {
        made.update((await get(from, null, signal))[field]);
        if (trouble.firstChild) fill(trouble);
      } catch (problem) {
        if (problem.name === "AbortError" || problem.status === 0) throw problem;
        fill(trouble, problemBox(problem));
      }
    },
  };
}

function doing(refresh, text, label, question, denied = refusal("admin")) {
  return button(text, async () => {
    if (await ask(question)) await refresh().catch(() => {});
  }, { unless: denied, label });
}

function keyTable(refresh) {
  const mine = whoIsThere()?.key;
  return table({
    name: "keys", caption: "keys", key: (key) => key.key, empty: "no key is known", order: [0, false],
    columns: [
      {
        title: "Key", wide: true,
        text: (key) => key.key,
        cell: (key) => [brief(key.key, 20), key.key === mine ? h("span", { class: "hint" }, " yours") : null],
      },
      {
        title: "Roles",
        text: (key) => key.roles.join(", ") || "none",
        cell: (key, text) => [text, key.revoked ? badge("revoked") : null],
        sort: (key) => key.roles.join(),
      },
      {
        title: "",
        sort: null,
        text: (key) => `${key.revoked} ${key.roles}`,
        cell: (key) => h("div", { class: "actions" }, trustButton(key, refresh), revokeButton(key, refresh)),
      },
    ],
  });
}

function trustButton(key, refresh) {
  const role = roleField("role of the key");
  return doing(refresh, "Give a role…", `Give a role… to key ${briefText(key.key)}`, {
    title: `Give key ${briefText(key.key)} a role?`, verb: "Give", danger: false, fields: role.element,
    loss: "Whoever has the key may do what the role allows, until the key is revoked.",
    act: () => post(path("keys", key.key, "trust"), { role: role.value() }),
  });
}

function revokeButton(key, refresh) {
  return doing(refresh, "Revoke…", `Revoke… key ${briefText(key.key)}`, {
    title: `Revoke key ${briefText(key.key)}?`, verb: "Revoke",
    loss: ["Its roles are taken away, its connections are closed, its sessions and tokens are good for nothing.", `Its roles: ${key.roles.join(", ") || "none"}.`],
    act: () => post(path("keys", key.key, "revoke")),
  });
}

function ticketTable(refresh) {
  const state = (ticket) => (ticket.used_by ? "used" : ticket.expires * 1000 < managerNow() ? "expired" : "ready");
  return table({
    name: "tickets", caption: "tickets", key: (ticket) => ticket.id, empty: "there is no ticket", order: [2, false],
    columns: [
      { title: "Ticket", text: (ticket) => ticket.id, cell: (ticket) => brief(ticket.id) },
      { title: "Role", text: (ticket) => ticket.role },
      {
        title: "State",
        text: (ticket) => `${state(ticket)} ${ticket.used_by ?? ""}`,
        cell: (ticket) => [badge(state(ticket)), ticket.used_by ? [" by ", brief(ticket.used_by)] : null],
      },
      {
        title: "Expires", minor: 2, number: true,
        text: (ticket) => ticket.expires,
        sort: (ticket) => ticket.expires,
        cell: (ticket) => ago(ticket.expires * 1000),
      },
      {
        title: "", sort: null, text: () => "", cell: (ticket) => doing(refresh, "Remove…", `Remove… ticket ${briefText(ticket.id)}`, {
          title: `Remove ticket ${briefText(ticket.id)}?`, verb: "Remove", loss: `It lets nobody in any more as ${ticket.role}. Keys that used it stay.`,
          act: () => post(path("tickets", ticket.id, "remove")),
        }),
      },
    ],
  });
}

function tokenTable(refresh) {
  return table({
    name: "tokens", caption: "tokens", key: (token) => token.id, empty: "there is no token", order: [0, false],
    columns: [
      {
        title: "Token", wide: true,
        text: (token) => `${token.name} ${token.id}`,
        cell: (token) => [alien(token.name || "(no name)"), h("span", { class: "under" }, brief(token.id))],
      },
      { title: "Role", text: (token) => token.role },
      { title: "Acts for", minor: 1, text: (token) => token.owner, cell: (token) => brief(token.owner) },
      {
        title: "Expires", minor: 2, number: true,
        text: (token) => token.expires,
        sort: (token) => token.expires,
        cell: (token) => ago(token.expires * 1000),
      },
      {
        title: "", sort: null, text: () => "", cell: (token) => doing(refresh, "Remove…", `Remove… token ${visible(token.name)}`, {
          title: `Remove token ${visible(token.name) || briefText(token.id)}?`, verb: "Remove",
          loss: "Programs that show it are refused from now on.", act: () => post(path("tokens", token.id, "remove")),
        }, token.owner === whoIsThere()?.key ? null : refusal("admin")),
      },
    ],
  });
}

function roleField(label) {
  const select = h("select", { "aria-label": label }, ROLES.map((role) => h("option", { value: role }, role)));
  return { element: h("label", { class: "row" }, "Role ", select), value: () => select.value };
}

function ticketForm(refresh) {
  const role = roleField("role of the ticket");
  const hours = h("input", { type: "number", min: "1", max: "8760", value: "24", step: "1", "aria-label": "hours for which the ticket is good", required: true });
  const trouble = h("div", { role: "alert" });
  const form = h("form", {
    class: "row",
    onsubmit: async (event) => {
      event.preventDefault();
      if (refusal("admin")) return;
      try {
        const issued = await post("/tickets", { role: role.value(), hours: Number(hours.value) });
        fill(trouble);
        showTicket(issued);
        await refresh();
      } catch (problem) {
        fill(trouble, problemBox(problem));
      }
    },
  }, role.element, h("label", { class: "row" }, "good for ", hours, " hours"),
  button("Make a ticket", () => form.requestSubmit(), { unless: refusal("admin"), kind: "primary" }));
  return h("div", null, form, trouble);
}

function showTicket(issued) {
  showDialog(`A ticket for one ${issued.role}`,
    h("p", null, "It is shown once, and lets one key in. Whoever reads it may use it."),
    h("p", null, `It is good for ${things(Math.round(issued.ttl_s / 3600), "hour")}.`),
    copyable("What to type on the other machine", issued.join), copyable("The ticket", issued.ticket));
}

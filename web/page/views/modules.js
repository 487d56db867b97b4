// Modules: who signed them, how large they are, where they are.

import { get, path, post, refusal } from "../api.js";
import { ask, show as showDialog } from "../dialog.js";
import { alien, button, h, link, visible } from "../dom.js";
import { ago, brief, bytes, count, things } from "../format.js";
import { table } from "../table.js";

export function show({ root, signal, heading, repeat }) {
  heading("Modules");
  const modules = table({
    name: "modules", caption: "modules", key: (module) => module.digest, order: [0, false],
    empty: "no module has been uploaded; `grid module upload` does it",
    columns: [
      {
        title: "Module", wide: true,
        text: (module) => `${module.name} ${module.digest}`,
        sort: (module) => module.name,
        cell: (module) => [alien(module.name), h("span", { class: "under" }, brief(module.digest, 16))],
      },
      { title: "Version", minor: 1, text: (module) => module.version || "–", cell: (module, text) => alien(text) },
      { title: "Size", number: true, text: (module) => bytes(module.bytes), sort: (module) => module.bytes },
      {
        title: "Entry point", minor: 2,
        text: (module) => module.entry_point,
        cell: (module) => alien(module.entry_point),
      },
      { title: "Signed by", minor: 1, text: (module) => module.publisher, cell: (module) => brief(module.publisher) },
      {
        title: "On hosts", number: true,
        text: (module) => count(module.hosts),
        sort: (module) => module.hosts,
        cell: (module) => whereButton(module),
      },
      { title: "Serial", number: true, minor: 1, text: (module) => module.serial, sort: (module) => module.serial },
      {
        title: "Expires", number: true, minor: 1,
        text: (module) => module.expires,
        sort: (module) => module.expires || Infinity,
        cell: (module) => (module.expires ? ago(module.expires * 1000) : "never"),
      },
      {
        title: "",
        sort: null,
        text: () => "",
        cell: (module) => h("div", { class: "actions" }, removeButton(module, refresh)),
      },
    ],
  });
  root.append(modules.element);
  const refresh = async () => modules.update((await get("/modules", null, signal)).modules);
  return repeat(5000, refresh);
}

function removeButton(module, refresh) {
  const name = visible(module.name);
  return button("Remove…", async () => {
    const done = await ask({
      title: `Remove module ${name}?`, verb: "Remove",
      loss: [`${bytes(module.bytes)}, digest ${module.digest.slice(0, 16)}…`, "Jobs and workers that need it can not start any more until it is uploaded again."],
      act: () => post(path("modules", module.digest, "remove")),
    });
    if (done) await refresh().catch(() => {});
  }, { unless: refusal("publisher"), label: `Remove… module ${name}` });
}

function whereButton(module) {
  const name = visible(module.name);
  return button(count(module.hosts), () => {
    const rest = module.hosts - module.on.length;
    showDialog(`Hosts that have ${name}`,
      h("ul", { class: "plain" }, module.on.map((host) => h("li", null, link(["hosts", host.key], alien(host.name))))),
      h("p", { role: "status" }, rest > 0 ? `and ${things(rest, "other")}` : things(module.hosts, "host")));
  }, { label: `${things(module.hosts, "host")} with module ${name}` });
}

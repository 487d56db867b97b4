// All workers.

import { get, seesAll } from "../api.js";
import { alien, badge, h, link } from "../dom.js";
import { brief, count } from "../format.js";
import { table } from "../table.js";

let ended = false;

export function show({ root, signal, heading, repeat }) {
  heading("Workers");
  let hosts = new Map();
  let modules = new Map();
  let all = [];
  const box = h("input", {
    type: "checkbox", checked: ended,
    onchange: () => {
      ended = box.checked;
      bring().catch(() => {});
    },
  });
  const workers = table({
    name: "workers", caption: "workers", key: (worker) => worker.worker, order: [0, false],
    empty: "no worker runs; `grid worker spawn` starts one", extra: h("label", { class: "check" }, box, "ended ones too"),
    columns: [
      { title: "Worker", text: (worker) => worker.worker, cell: (worker, text) => link(["workers", text], text) },
      {
        title: "State",
        text: (worker) => [worker.state, worker.end].filter(Boolean).join(": "),
        cell: (worker) => [badge(worker.state), worker.end && h("span", { class: "hint" }, worker.end)],
      },
      {
        title: "Host", wide: true,
        text: (worker) => `${hosts.get(worker.host) ?? ""} ${worker.host}`,
        cell: (worker) => link(["hosts", worker.host], nameOr(hosts, worker.host)),
      },
      {
        title: "Module", wide: true, minor: 2,
        text: (worker) => `${modules.get(worker.module) ?? ""} ${worker.module}`,
        cell: (worker) => nameOr(modules, worker.module),
      },
      { title: "Deployment", minor: 1, text: (worker) => worker.deployment ?? "–" },
      {
        title: "Unanswered", number: true, minor: 1,
        text: (worker) => count(worker.unanswered),
        sort: (worker) => worker.unanswered,
      },
      {
        title: "Uncollected", number: true, minor: 1,
        text: (worker) => count(worker.uncollected),
        sort: (worker) => worker.uncollected,
      },
    ],
  });
  root.append(workers.element);
  const bring = async () => {
    ({ workers: all } = await get("/workers", { everyones: seesAll(), ended }, signal));
    workers.update(all);
  };
  return repeat(3000, async () => {
    const answers = await Promise.all([get("/hosts", null, signal), get("/modules", null, signal)]);
    hosts = new Map(answers[0].hosts.map((host) => [host.key, host.name]));
    modules = new Map(answers[1].modules.map((module) => [module.digest, module.name]));
    await bring();
  });
}

function nameOr(names, id) {
  const name = names.get(id);
  return name ? alien(name, id) : brief(id);
}

// The list of events, as views show it.

import { alien, fill, h, link } from "./dom.js";
import { ago, briefText } from "./format.js";

/** A list of events, newest first, with links to what each is about. Returns `{element, update(entries)}`. */
export function eventList(label, empty) {
  const list = h("ol", { class: "events", "aria-label": label });
  let drawn = "";
  return {
    element: list,
    update(entries) {
      const wanted = entries.map((entry) => entry.seq).join();
      if (wanted === drawn && list.firstChild) return;
      drawn = wanted;
      const known = new Map([...list.children].map((item) => [item.dataset.seq, item]));
      fill(list, entries.length
        ? entries.map((entry) => known.get(String(entry.seq)) ?? item(entry))
        : h("li", { class: "empty" }, empty));
    },
  };
}

function item(entry) {
  return h("li", { class: entry.bad ? "is-bad" : null, "data-seq": entry.seq },
    ago(entry.unix_ms),
    h("span", { class: "mark", title: entry.kind }, entry.bad ? h("span", { class: "unseen" }, "problem: ") : null),
    h("span", { class: "what", dir: "auto" }, alien(entry.text)),
    h("span", { class: "links" }, links(entry)));
}

function links({ host, job, task, worker, module }) {
  const found = [];
  if (job && task !== null) found.push(link(["jobs", job, "tasks", String(task)], `task ${task}`));
  else if (job) found.push(link(["jobs", job], `job ${briefText(job, 9)}`));
  if (worker) found.push(link(["workers", worker], worker));
  if (host) found.push(link(["hosts", host], `host ${briefText(host, 8)}`));
  if (module && !job && !worker) found.push(link(["modules"], "modules"));
  return found;
}

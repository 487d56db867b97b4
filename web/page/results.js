// Results of a job, some at a time, as JSON text.

import { get, path, whoIsThere } from "./api.js";
import { problemBox } from "./dialog.js";
import { button, fill, h, link, visible } from "./dom.js";

/** Results that the page shows of a job, and characters of one. */
const SHOWN_MAX = 200;
const TEXT_MAX = 600;

/** A button that reads results, and the list of them. */
export function results(job, signal) {
  const list = h("ol", { class: "results" });
  const told = h("div", { role: "status" });
  let after = 0;
  const roles = whoIsThere()?.roles ?? [];
  const denied = roles.includes("client") || roles.includes("admin") ? null : "a viewer sees no results";
  const more = button("Show results", async () => {
    try {
      const answer = await get(`${path("jobs", job)}/results`, { after, wait_ms: 0 }, signal);
      after = answer.next;
      for (const result of answer.results.slice(0, SHOWN_MAX)) list.append(item(job, result));
      while (list.children.length > SHOWN_MAX) list.firstChild.remove();
      fill(told, answer.results.length ? null : h("p", { class: "empty" }, "no more results yet"));
      fill(more, "Show more results");
    } catch (problem) {
      if (problem.name !== "AbortError") fill(told, problemBox(problem));
    }
  }, { unless: denied });
  return h("div", null, more, list, told);
}

function item(job, outcome) {
  const { task, error, ...rest } = outcome;
  const text = error ? `failed: ${error.why}` : JSON.stringify(rest.result ?? rest.results ?? rest);
  const cut = text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text;
  return h("li", null, link(["jobs", job, "tasks", String(task)], `task ${task}`), " ", h("code", { dir: "auto" }, visible(cut)));
}

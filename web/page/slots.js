// Slots of a host as a strip: what each runs.

import { h } from "./dom.js";
import { things } from "./format.js";

/** Cells that a strip draws; more slots share cells. */
const CELLS_MAX = 64;

/** A strip of `slots` cells: workers, then tasks, then free ones. `tasks` may be a share, as of a busy time. */
export function slotStrip(slots, workers, tasks) {
  const scale = Math.min(1, CELLS_MAX / Math.max(1, slots));
  const cells = Math.max(1, Math.round(slots * scale));
  const [ofWorkers, ofTasks] = [Math.ceil(workers * scale), Math.round(tasks * scale)];
  const text = stripText(slots, workers, tasks);
  const strip = h("span", { class: "slots", role: "img", "aria-label": text, title: text });
  for (let at = 0; at < cells; at += 1) {
    const what = at < ofWorkers ? "worker" : at < ofWorkers + ofTasks ? "task" : "free";
    strip.append(h("span", { class: `slot is-${what}` }));
  }
  return strip;
}

export function stripText(slots, workers, tasks) {
  return `${things(slots, "slot")}: ${things(workers, "worker")}, ${things(Math.round(tasks), "task")}`;
}

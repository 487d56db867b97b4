// One host: what each slot runs, what it is, and why it gets what it gets.

import { get, path, seesAll } from "../api.js";
import { alien, badge, explanation, facts, fill, h, link, section, visible } from "../dom.js";
import { hostButtons } from "../host_actions.js";
import { brief, briefText, bytes, count, duration, things, wallsText } from "../format.js";
import { stripText } from "../slots.js";
import { table } from "../table.js";

/** Slots that are drawn one by one. */
const SLOTS_MAX = 512;

export function show({ root, signal, names: [key], heading, repeat }) {
  heading("Host");
  const actions = h("div", { class: "actions" });
  const about = h("div");
  const strip = h("div");
  const why = h("div");
  const modules = h("div");
  const attempts = attemptTable();
  const changed = () => {
    told = {};
  };
  let told = {};
  const bring = (name, what, draw) => {
    const text = JSON.stringify(what);
    if (told[name] === text) return;
    told[name] = text;
    draw();
  };
  root.append(actions, about, section("Slots", strip), section("Explanation", why),
    section("Attempts that it holds", attempts.element), section("Modules that it has", modules));
  let here = [];
  repeat(5000, async () => {
    const { workers } = await get("/workers", { everyones: seesAll() }, signal);
    here = workers.filter((worker) => worker.host === key && worker.state !== "ended");
  });
  return repeat(1500, async () => {
    const host = await get(path("hosts", key), null, signal);
    // A host that waits for approval, or is gone, takes no tasks.
    const work = (host.work ??= { attempts: [], explanation: [], held: 0, modules: [], window: 0 });
    bring("actions", [host.name, host.state, host.workers], () => {
      heading(visible(host.name) || "Host", badge(host.state));
      fill(actions, hostButtons(host, changed));
    });
    bring("about", { ...host, work: [work.held, work.window] }, () => fill(about, hostFacts(host)));
    bring("strip", [host.slots, here, work.attempts.map((one) => [one.job, one.task, one.running_ms === null])],
      () => fill(strip, slots(host, here, work.attempts)));
    bring("why", work.explanation, () => fill(why, explanation(work.explanation)));
    bring("modules", work.modules, () => fill(modules, work.modules.length
      ? h("ul", { class: "plain" }, work.modules.map((digest) => h("li", null, link(["modules"], brief(digest, 24)))))
      : h("p", { class: "empty" }, "none yet")));
    attempts.update(work.attempts);
  });
}

function hostFacts(host) {
  return facts([
    ["holds", `${things(host.work.held, "attempt")}; it would hold ${count(host.work.window)}`],
    ["memory for workers", bytes(host.memory_bytes)],
    ["platform", alien(host.platform)],
    ["version", alien(host.software)],
    ["address", host.address ? alien(host.address) : "–"],
    ["labels", host.labels.length ? host.labels.map((label) => h("span", { class: "label-chip" }, alien(label))) : "none"],
    ["walls around guests", wallsText(host)],
    ["compiled", `${things(host.compilations, "module")} in ${duration(host.compile_us)}`],
    ["modules sent to it", bytes(host.module_bytes_sent)],
    ["fingerprint", h("code", null, host.fingerprint)],
    ["key", brief(host.key, 24)],
  ]);
}

/** A cell a slot: workers first, then attempts that have begun, then free ones. */
function slots(host, workers, attempts) {
  const running = attempts.filter((one) => one.running_ms !== null);
  const items = [
    ...workers.map((worker) => ["worker", link(["workers", worker.worker], worker.worker)]),
    ...running.map((one) => ["task", link(["jobs", one.job, "tasks", String(one.task)], `${briefText(one.job, 6)} / ${one.task}`)]),
  ];
  while (items.length < host.slots && items.length < SLOTS_MAX) items.push(["free", "free"]);
  return h("div", null,
    h("p", { class: "hint" }, stripText(host.slots, workers.length, running.length)),
    h("ol", { class: "slot-list" }, items.slice(0, SLOTS_MAX).map(([kind, what]) => h("li", { class: `is-${kind}` }, what))));
}

function attemptTable() {
  return table({
    name: "host-attempts", caption: "attempts that the host holds", empty: "it holds none", order: [1, true],
    key: (one) => one.attempt,
    columns: [
      {
        title: "Task", wide: true, text: (one) => `${one.job} ${one.task}`,
        cell: (one) => link(["jobs", one.job, "tasks", String(one.task)], `task ${one.task} of ${briefText(one.job, 9)}`),
      },
      {
        title: "Has run", number: true,
        text: (one) => (one.running_ms === null ? "waits" : duration(one.running_ms * 1000)),
        sort: (one) => one.running_ms ?? -1,
      },
      {
        title: "Lease", number: true, minor: 2,
        text: (one) => duration(one.lease_ms * 1000),
        sort: (one) => one.lease_ms,
      },
      { title: "Attempt", minor: 1, text: (one) => one.attempt, cell: (one) => h("code", null, visible(one.attempt)) },
    ],
  });
}

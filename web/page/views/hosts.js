// All hosts.

import { get } from "../api.js";
import { alien, badge, h, link } from "../dom.js";
import { bytes, count, duration, managerNow, wallsText } from "../format.js";
import { slotStrip } from "../slots.js";
import { feed } from "../stream.js";
import { table } from "../table.js";

/** How far back sampled tasks are counted to say how busy a host is, in milliseconds. */
const BUSY_MS = 10_000;

export function show({ root, signal, heading, repeat }) {
  heading("Hosts");
  feed.needSamples(signal);
  let busy = new Map();
  const busySlots = (host) => Math.min(host.slots - Math.min(host.slots, host.workers), Math.round((busy.get(host.key) ?? 0) / (BUSY_MS * 1000)));
  const hosts = table({
    name: "hosts", caption: "hosts", key: (host) => host.key, order: [0, false],
    empty: "no host has joined; `grid ticket new` prints what to type on another machine",
    columns: [
      {
        title: "Host", wide: true,
        text: (host) => `${host.name} ${host.fingerprint} ${host.labels.join(" ")}`,
        sort: (host) => host.name,
        cell: nameCell,
      },
      {
        title: "State",
        text: (host) => `${host.state} ${quarantine(host) ?? ""}`,
        cell: stateCell,
      },
      {
        title: "Slots", number: true, text: (host) => `${host.slots} ${host.workers} ${busySlots(host)}`, sort: (host) => host.slots,
        cell: (host) => h("div", { class: "slots-cell" }, slotStrip(host.slots, host.workers, busySlots(host)), h("span", null, count(host.slots))),
      },
      {
        title: "Attempts", number: true, minor: 1,
        text: (host) => (host.load ? `${count(host.load.held)} of ${count(host.load.window)}` : "–"),
        sort: (host) => host.load?.held ?? -1,
      },
      { title: "Workers", number: true, minor: 1, text: (host) => count(host.workers), sort: (host) => host.workers },
      {
        title: "Memory", number: true, minor: 2,
        text: (host) => bytes(host.memory_bytes),
        sort: (host) => host.memory_bytes,
      },
      { title: "Version", minor: 1, text: (host) => host.software, cell: (host) => alien(host.software) },
      { title: "Walls", minor: 2, text: wallsText },
      {
        title: "Platform", minor: 1, size: "steady",
        text: (host) => host.platform,
        cell: (host) => alien(host.platform),
      },
      {
        title: "Address", minor: 1, size: "long",
        text: (host) => host.address || "–",
        cell: (host, text) => alien(text),
      },
    ],
  });
  root.append(hosts.element, h("p", { class: "hint" },
    "In each strip: ", h("span", { class: "slot is-worker" }), " worker, ", h("span", { class: "slot is-task" }),
    " tasks over the last 10 s, as far as they were sampled, ", h("span", { class: "slot is-free" }), " free."));
  let all = null;
  const draw = () => {
    if (!all || document.hidden) return;
    busy = feed.samples.busySince((managerNow() - BUSY_MS) * 1000);
    hosts.update(all);
  };
  feed.on("samples", signal, draw);
  return repeat(2500, async () => {
    ({ hosts: all } = await get("/hosts", null, signal));
    for (const host of all) feed.samples.setSlots(host.key, host.slots);
    feed.samples.keepSlots(new Set(all.map((host) => host.key)));
    draw();
  });
}

function nameCell(host) {
  return [link(["hosts", host.key], alien(host.name || "(no name)"), h("code", { class: "under" }, host.fingerprint)),
    host.labels.length ? h("span", { class: "labels" }, host.labels.map((label) => h("span", { class: "label-chip" }, alien(label)))) : null];
}

/** How long a host gets nothing, and why; null if it gets what it is good for. */
function quarantine(host) {
  const left = host.load?.quarantine_ms;
  return left ? `it failed what other hosts did for several clients, and gets nothing for ${duration(left * 1000)} more` : null;
}

function stateCell(host) {
  const why = quarantine(host);
  return [badge(host.state), why ? h("span", { class: "badge is-bad", title: why }, "quarantine", h("span", { class: "unseen" }, `: ${why}`)) : null];
}

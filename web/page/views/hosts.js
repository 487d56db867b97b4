// All hosts.

import { get } from "../api.js";
import { alien, badge, h, link } from "../dom.js";
import { bytes, count, managerNow } from "../format.js";
import { slotStrip } from "../slots.js";
import { feed } from "../stream.js";
import { table } from "../table.js";

/** How far back sampled tasks are counted to say how busy a host is, in milliseconds. */
const BUSY_MS = 10_000;

export function show({ root, signal, heading, repeat }) {
  heading("Hosts");
  feed.needSamples(signal);
  let busy = new Map();
  let quarantines = new Map();
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
        text: (host) => `${host.state} ${quarantines.get(host.key) ?? ""}`,
        cell: (host) => stateCell(host, quarantines.get(host.key)),
      },
      {
        title: "Slots", number: true, text: (host) => `${host.slots} ${host.workers} ${busySlots(host)}`, sort: (host) => host.slots,
        cell: (host) => h("div", { class: "slots-cell" }, slotStrip(host.slots, host.workers, busySlots(host)), h("span", null, count(host.slots))),
      },
      { title: "Workers", number: true, minor: 1, text: (host) => count(host.workers), sort: (host) => host.workers },
      {
        title: "Memory", number: true, minor: 2,
        text: (host) => bytes(host.memory_bytes),
        sort: (host) => host.memory_bytes,
      },
      { title: "Version", minor: 1, text: (host) => host.software, cell: (host) => alien(host.software) },
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
    quarantines = recentQuarantines();
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

/** Hosts that the feed says were put in quarantine or barred lately, and how. */
function recentQuarantines() {
  const since = managerNow() - 60_000;
  const lately = (entry) => entry.host && entry.unix_ms > since && (entry.kind === "host-quarantined" || entry.kind === "host-barred");
  return new Map(feed.events.newest(500, lately).reverse().map((entry) => [entry.host, entry.text]));
}

function nameCell(host) {
  return [link(["hosts", host.key], alien(host.name || "(no name)"), h("code", { class: "under" }, host.fingerprint)),
    host.labels.length ? h("span", { class: "labels" }, host.labels.map((label) => h("span", { class: "label-chip" }, alien(label)))) : null];
}

function stateCell(host, quarantine) {
  return [badge(host.state), quarantine ? h("span", { class: "badge is-bad", title: quarantine }, "quarantine") : null];
}

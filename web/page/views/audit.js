// The audit log: who did what, or tried to.

import { get } from "../api.js";
import { alien, badge, button, fill, h } from "../dom.js";
import { ago } from "../format.js";
import { table } from "../table.js";

/** Entries that one request brings, and that the page keeps. */
const BATCH = 200;
const ENTRIES_MAX = 5000;

export function show({ root, signal, heading, repeat, problem }) {
  heading("Audit log");
  let entries = [];
  let oldest = false;
  const older = h("div", { class: "more" });
  const log = table({
    name: "audit", caption: "audit log", key: (entry) => entry.seq, order: [0, true], rows: ENTRIES_MAX,
    empty: "nothing has been done yet",
    columns: [
      {
        title: "When",
        text: (entry) => entry.unix,
        sort: (entry) => entry.seq,
        cell: (entry) => ago(entry.unix * 1000),
      },
      { title: "What", text: (entry) => entry.action, cell: (entry, text) => alien(text) },
      { title: "To what", wide: true, text: (entry) => entry.subject, cell: (entry, text) => alien(text) },
      {
        title: "Done",
        text: (entry) => (entry.refused === null ? "done" : `refused: ${entry.refused}`),
        cell: outcome,
      },
      {
        title: "By", minor: 2,
        text: (entry) => `${entry.fingerprint} ${entry.key}`,
        cell: (entry) => h("code", { title: entry.key }, entry.fingerprint),
      },
      { title: "Via", minor: 1, text: (entry) => entry.via },
    ],
  });
  root.append(log.element, older);
  const add = (more) => {
    const known = new Set(entries.map((entry) => entry.seq));
    entries = [...entries, ...more.filter((entry) => !known.has(entry.seq))];
    entries.sort((one, other) => other.seq - one.seq);
    entries.length = Math.min(entries.length, ENTRIES_MAX);
    log.update(entries);
    const wanted = entries.length && !oldest && entries.at(-1).seq > 1 && entries.length < ENTRIES_MAX;
    if (Boolean(wanted) !== Boolean(older.firstChild)) {
      fill(older, wanted ? button("Show older", () => readOlder().catch(problem)) : null);
    }
  };
  const readOlder = async () => {
    const { audit } = await get("/audit", { before: entries.at(-1).seq, most: BATCH }, signal);
    oldest = audit.length === 0;
    add(audit);
  };
  return repeat(3000, async () => {
    const { audit } = await get("/audit", { most: BATCH }, signal);
    add(audit);
  });
}

function outcome(entry) {
  if (entry.refused === null) return badge("done");
  return [badge("refused"), h("span", { class: "hint" }, alien(entry.refused))];
}

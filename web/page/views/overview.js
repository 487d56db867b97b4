// The grid at a glance.

import { get, seesAll } from "../api.js";
import { rateChart } from "../chart.js";
import { button, h, link, say, section } from "../dom.js";
import { eventList } from "../events.js";
import { count, duration, rate, things } from "../format.js";
import { jobTable, note } from "../job_table.js";
import { feed } from "../stream.js";

/** Seconds over which the rate is averaged. */
const RATE_S = 5;

export function show({ root, signal, heading, repeat }) {
  heading("Overview");
  const tiles = [
    tile("tasks a second", null), tile("waiting tasks", ["jobs"]), tile("with hosts", ["stream"]),
    tile("failures, 1 min", null), tile("hosts", ["hosts"]), tile("slots", ["hosts"]),
    tile("jobs under way", ["jobs"]), tile("workers", ["workers"]),
  ];
  const chart = rateChart("Tasks done by second");
  const jobs = jobTable("overview-jobs", "jobs under way", "no job is under way", { compact: true, filter: false });
  const list = eventList("The last events", "nothing has happened yet");
  let problemsOnly = false;
  const only = button("Problems only", () => {
    problemsOnly = !problemsOnly;
    only.setAttribute("aria-pressed", String(problemsOnly));
    drawEvents();
  }, { pressed: false });
  const since = h("p", { class: "hint" });
  root.append(
    h("div", { class: "tiles" }, tiles.map((one) => one.element)),
    h("div", { class: "columns" },
      h("div", null,
        section("Tasks a second", chart.element, since),
        section("Jobs under way", jobs.element)),
      h("section", { class: "section" },
        h("div", { class: "head" }, h("h2", null, "Last events"), only), list.element)));

  const drawEvents = () => list.update(feed.events.newest(100, (entry) => entry.bad || !problemsOnly));
  feed.on("events", signal, drawEvents);
  feed.on("overview", signal, () => {
    const { overview, status } = feed;
    if (!overview || document.hidden) return;
    const last = overview.done_by_second.slice(-RATE_S);
    const minute = overview.failed_by_second.slice(-60).reduce((sum, number) => sum + number, 0);
    const values = [
      [rate(last.reduce((sum, number) => sum + number, 0) / Math.max(1, last.length)), `${count(overview.totals.done)} done since it started`],
      [count(overview.waiting), `${count(overview.totals.submitted)} accepted`],
      [count(overview.leased), `${count(overview.executing)} running`],
      [count(minute), `${things(overview.totals.dead, "task")} failed for good`, minute > 0],
      [count(status.hosts), hostsNote(status, overview), overview.quarantined > 0],
      [count(status.slots), things(status.deployments, "deployment")],
      [count(overview.jobs), things(status.modules, "module")],
      [count(status.workers), "not ended"],
    ];
    values.forEach((value, at) => tiles[at].update(...value));
    chart.update(overview.done_by_second, overview.failed_by_second);
    say(since, `up for ${duration(status.uptime_ms * 1000)}, version ${status.software}; ` +
      `${count(overview.totals.failed)} attempts failed and ${count(overview.totals.lost)} were lost with their hosts`);
  });
  window.addEventListener("themechange", chart.redraw, { signal });
  return repeat(3000, async () => {
    const { jobs: all } = await get("/jobs", { everyones: seesAll() }, signal);
    note(all);
    jobs.update(all.filter((job) => job.state === "open" || job.state === "running"));
  });
}

function hostsNote(status, overview) {
  const notes = [];
  if (status.pending_hosts) notes.push(`${count(status.pending_hosts)} pending`);
  if (overview.quarantined) notes.push(`${count(overview.quarantined)} in quarantine`);
  return notes.join(", ") || "connected";
}

function tile(name, path) {
  const value = h("dd", { class: "value" }, "–");
  const note = h("dd", { class: "note" }, "\u00a0");
  const element = h("dl", { class: "tile" }, h("dt", null, path ? link(path, name) : name), value, note);
  return {
    element,
    update(text, said, bad = false) {
      say(value, text);
      say(note, said);
      element.classList.toggle("is-bad", bad);
    },
  };
}

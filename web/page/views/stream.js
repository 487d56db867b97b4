// The task stream: what each slot ran, and when.

import { get, seesAll } from "../api.js";
import { alien, badge, button, fill, fragment, h, link, say, visible } from "../dom.js";
import { ago, briefText, count, duration, things } from "../format.js";
import { feed } from "../stream.js";
import { table } from "../table.js";
import { JOB_COLOURS, TaskStream } from "../task_stream.js";

/** Jobs in the legend, rows in the table. */
const LEGEND_MAX = 8;
const ROWS_MAX = 200;

export function show({ root, signal, heading, repeat }) {
  heading("Task stream");
  feed.needSamples(signal);
  const names = { hosts: new Map(), jobs: new Map() };
  const hostName = (key) => visible(names.hosts.get(key) || briefText(key, 10));
  const jobName = (id) => visible(names.jobs.get(id) || briefText(id, 9));
  const canvas = h("canvas", { class: "task-stream", role: "img", tabindex: "0", "aria-describedby": "stream-keys" });
  const tip = h("div", { class: "tip", "aria-hidden": "true", hidden: true });
  const stream = new TaskStream(canvas, feed.samples, {
    hostName,
    open: (entry) => {
      location.hash = fragment(["jobs", entry.job, "tasks", String(entry.task)]);
    },
    hover: (entry, x, y) => hover(tip, canvas, entry, x, y, { hostName, jobName }),
    changed: () => drawTools(),
  });
  canvas.taskStream = stream;
  const follow = button("Follow now", () => stream.followNow(), { pressed: true });
  const asTable = button("As a table", () => {
    list.element.hidden = !list.element.hidden;
    asTable.setAttribute("aria-pressed", String(!list.element.hidden));
    if (!list.element.hidden) list.update(newest());
  }, { pressed: false });
  const spanText = h("span", { class: "hint" });
  const legend = h("ul", { class: "legend", "aria-label": "jobs in sight" });
  const list = sampleTable(hostName, jobName);
  list.element.hidden = true;
  root.append(
    h("div", { class: "tools", role: "group", "aria-label": "task stream" },
      button("−", () => stream.zoom(2), { label: "zoom out" }), button("+", () => stream.zoom(0.5), { label: "zoom in" }),
      button("Show all", () => stream.showAll()), follow, asTable, spanText),
    h("div", { class: "stream-box" }, canvas, tip),
    legend,
    h("p", { class: "hint", id: "stream-keys" },
      "Wheel or + and −: zoom. Drag or ← and →: move in time. Shift and wheel or ↑ and ↓: other hosts. Home: follow now. Click: the task. ",
      "Hatched red: failed. Hatched grey: lost with its host. A task may stand for several that were not sampled."),
    list.element);

  const newest = () => {
    const { samples } = feed;
    const from = Math.max(0, samples.size - ROWS_MAX);
    return Array.from({ length: samples.size - from }, (_, at) => samples.entry(samples.size - 1 - at));
  };
  const drawTools = () => {
    follow.setAttribute("aria-pressed", String(stream.follow));
    say(spanText, `${duration(stream.span)} in sight, ${things(feed.samples.size, "task")} kept`);
  };
  feed.on("samples", signal, () => {
    if (document.hidden) return;
    stream.lay();
    drawTools();
  });
  window.addEventListener("themechange", () => stream.takeColours(), { signal });
  stream.run(signal);
  repeat(1000, async () => {
    drawLegend(legend, stream, jobName);
    canvas.setAttribute("aria-label", `${things(stream.figures.tasks, "task")} on ${things(stream.rows.hosts.length, "host")} in ${duration(stream.span)}`);
    if (!list.element.hidden) list.update(newest());
  });
  return repeat(5000, async () => {
    const [{ hosts }, { jobs }] = await Promise.all([get("/hosts", null, signal), get("/jobs", { everyones: seesAll() }, signal)]);
    names.hosts = new Map(hosts.map((host) => [host.key, host.name]));
    names.jobs = new Map(jobs.map((job) => [job.id, job.name]));
    for (const host of hosts) feed.samples.setSlots(host.key, host.slots);
    feed.samples.keepSlots(new Set(names.hosts.keys()));
    stream.lay();
  });
}

function hover(tip, canvas, entry, x, y, { hostName, jobName }) {
  tip.hidden = !entry;
  if (!entry) return;
  fill(tip,
    h("strong", null, `task ${entry.task}`), ` of ${jobName(entry.job)}`, h("br"),
    `on ${hostName(entry.host)}`, h("br"),
    `${entry.ending} after ${duration(entry.ranUs)}`,
    entry.standsFor > 1 ? [h("br"), `stands for ${count(entry.standsFor)}`] : null);
  const [wide, high] = [tip.offsetWidth, tip.offsetHeight];
  tip.style.left = `${Math.max(0, Math.min(x + 14, canvas.clientWidth - wide - 4))}px`;
  tip.style.top = `${y + 18 + high > canvas.clientHeight ? y - high - 10 : y + 18}px`;
}

function drawLegend(legend, stream, jobName) {
  const { seen, samples } = stream;
  const jobs = [];
  samples.jobs.texts.forEach((id, number) => {
    if (id && seen[number] > 0) jobs.push([number, id, seen[number]]);
  });
  jobs.sort(([, , one], [, , other]) => other - one);
  const shown = jobs.slice(0, LEGEND_MAX);
  const told = JSON.stringify(shown.map(([number, id]) => [number, jobName(id)]));
  if (legend.dataset.told === told) return;
  legend.dataset.told = told;
  fill(legend, shown.map(([number, id]) => h("li", null,
    h("span", { class: `swatch job-${number % JOB_COLOURS}` }), link(["jobs", id], alien(jobName(id), id)))),
  jobs.length > shown.length ? h("li", { class: "hint" }, `and ${things(jobs.length - shown.length, "job")}`) : null);
}

function sampleTable(hostName, jobName) {
  return table({
    name: "samples", caption: "the last sampled tasks", empty: "no task has ended while this page looked", order: [3, true],
    key: (entry) => `${entry.job} ${entry.task} ${entry.endUs}`,
    columns: [
      {
        title: "Task",
        text: (entry) => entry.task,
        sort: (entry) => entry.task,
        cell: (entry) => link(["jobs", entry.job, "tasks", String(entry.task)], `task ${entry.task}`),
      },
      {
        title: "Job", wide: true,
        text: (entry) => `${jobName(entry.job)} ${entry.job}`,
        cell: (entry) => alien(jobName(entry.job), entry.job),
      },
      {
        title: "Host", wide: true, minor: 2,
        text: (entry) => `${hostName(entry.host)}`,
        cell: (entry) => link(["hosts", entry.host], alien(hostName(entry.host), entry.host)),
      },
      {
        title: "Ended", number: true,
        text: (entry) => entry.endUs,
        sort: (entry) => entry.endUs,
        cell: (entry) => ago(entry.endUs / 1000),
      },
      { title: "Ran", number: true, text: (entry) => duration(entry.ranUs), sort: (entry) => entry.ranUs },
      { title: "Result", text: (entry) => entry.ending, cell: (entry, text) => badge(text) },
      {
        title: "Stands for", number: true, minor: 1,
        text: (entry) => count(entry.standsFor),
        sort: (entry) => entry.standsFor,
      },
    ],
  });
}

// The table of jobs, and how fast each goes as far as this page has seen.

import { progressBar } from "./chart.js";
import { alien, badge, h, link } from "./dom.js";
import { ago, briefText, count, duration, rate } from "./format.js";
import { table } from "./table.js";

/** Over how long a job's rate is averaged, in milliseconds. */
const WINDOW_MS = 15_000;

/** How many tasks of each job were over, and when: two or more points a job, the oldest first. */
const seen = new Map();

/** Notes the progress of these jobs, all that there are, and forgets others. */
export function note(jobs, all = true) {
  const now = performance.now();
  const ids = new Set();
  for (const job of jobs) {
    ids.add(job.id);
    const over = job.done + job.dead;
    const points = seen.get(job.id) ?? [];
    seen.set(job.id, points);
    if (points.length > 0 && over < points.at(-1).over) points.length = 0;
    if (points.length === 0 || now - points.at(-1).at > 500) points.push({ at: now, over });
    while (points.length > 2 && points[1].at < now - WINDOW_MS) points.shift();
  }
  if (!all) return;
  for (const id of seen.keys()) {
    if (!ids.has(id)) seen.delete(id);
  }
}

/** Tasks of a job that were over in each second lately; null if it is not known yet. */
export function pace(job) {
  const points = seen.get(job.id);
  if (!points || points.length < 2) return null;
  const [first, last] = [points[0], points.at(-1)];
  return (last.over - first.over) / ((last.at - first.at) / 1000);
}

/** How long a job will take still, in microseconds; null if that cannot be said. */
export function timeLeft(job) {
  const speed = pace(job);
  const left = job.submitted - job.done - job.dead;
  if (isOver(job) || left === 0 || !speed) return null;
  return (left / speed) * 1e6;
}

export function isOver(job) {
  return job.state === "finished" || job.state === "stopped" || job.state === "given-up";
}

/** `12 of 150 tasks done, 2 failed`. */
export function progressText(job) {
  const failed = job.dead ? `, ${count(job.dead)} failed` : "";
  return `${count(job.done)} of ${count(job.submitted)} tasks done${failed}`;
}

export function jobProgress(job) {
  const parts = [["done", job.done], ["dead", job.dead], ["leased", job.leased]];
  return progressBar(parts, job.submitted, progressText(job));
}

/** A table of jobs. `update` takes them. */
export function jobTable(name, caption, empty, more = {}) {
  const made = table({
    name, caption, empty, key: (job) => job.id, order: [8, true], ...more,
    columns: [
      { title: "Job", wide: true, text: (job) => `${job.name} ${job.id}`, sort: (job) => job.name, cell: nameCell },
      { title: "State", text: (job) => job.state, cell: (job, text) => badge(text) },
      {
        title: "Progress", wide: true, text: (job) => `${job.done} of ${job.submitted}, ${job.dead} ${job.leased}`,
        sort: (job) => (job.submitted ? (job.done + job.dead) / job.submitted : 0),
        cell: (job) => h("div", { class: "progress-cell" }, jobProgress(job), h("span", null, `${count(job.done)} of ${count(job.submitted)}`)),
      },
      {
        title: "Rate", number: true, minor: 1,
        text: (job) => (isOver(job) || pace(job) === null ? "–" : `${rate(pace(job))}/s`),
        sort: (job) => (isOver(job) ? -1 : pace(job) ?? -1),
      },
      {
        title: "Time left", number: true, minor: 1,
        text: (job) => (timeLeft(job) === null ? "–" : duration(timeLeft(job))),
        sort: (job) => timeLeft(job) ?? -1,
      },
      { title: "Failed", number: true, minor: 2, text: (job) => count(job.dead), sort: (job) => job.dead },
      { title: "Retried", number: true, minor: 1, text: (job) => count(job.retried), sort: (job) => job.retried },
      { title: "Hosts", number: true, minor: 1, text: (job) => count(job.hosts), sort: (job) => job.hosts },
      {
        title: "Created", number: true, minor: 2,
        text: (job) => job.created,
        sort: (job) => job.created,
        cell: (job) => ago(job.created * 1000),
      },
    ],
  });
  return {
    element: made.element,
    update(jobs) {
      made.update(jobs);
    },
  };
}

function nameCell(job) {
  return link(["jobs", job.id], alien(job.name || "(no name)", job.id), h("code", { class: "under" }, briefText(job.id, 9)));
}

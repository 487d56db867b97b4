// One job: how far it is, why tasks failed, and what may be done about it.

import { get, path, post, refusal } from "../api.js";
import { ask } from "../dialog.js";
import { alien, badge, button, explanation, facts, fill, h, link, say, section, visible } from "../dom.js";
import { ago, brief, count, duration, rate, things } from "../format.js";
import { isOver, jobProgress, note, pace, progressText, timeLeft } from "../job_table.js";
import { table } from "../table.js";
import { results } from "../results.js";

export async function show({ root, signal, names: [id], heading, repeat, problem }) {
  heading("Job");
  const actions = h("div", { class: "actions" });
  const progress = h("div", { class: "job-progress" });
  const about = h("div");
  const why = h("div");
  const reasons = reasonTable(id);
  const slowest = slowTable(id);
  const others = h("p", { class: "hint" });
  root.append(progress, actions, about,
    section("Explanation", why),
    section("Failures by reason", reasons.element, others),
    section("The slowest tasks", slowest.element),
    section("A task", taskField(id)),
    section("Results", results(id, signal)));
  let drawn = "";
  return repeat(1500, async () => {
    const job = await get(path("jobs", id), null, signal);
    note([job], false);
    const speed = pace(job);
    const left = timeLeft(job);
    fill(progress, jobProgress(job), h("p", null, progressText(job),
      isOver(job) || speed === null ? null : `, ${rate(speed)} a second`,
      left === null ? null : `, ${duration(left)} left`));
    const state = JSON.stringify([job.state, job.dead > 0, job.submitted]);
    if (state !== drawn) {
      drawn = state;
      heading(visible(job.name) || "Job", badge(job.state));
      fill(actions, buttons(job, problem));
    }
    fillFacts(about, job);
    fillExplanation(why, job.explanation);
    reasons.update(job.summary.reasons);
    slowest.update(job.summary.slowest);
    say(others, job.summary.other_failures ? `${things(job.summary.other_failures, "failed attempt")} for other reasons` : "");
  });
}

function fillFacts(place, job) {
  const { summary } = job;
  const told = JSON.stringify([job.waiting, job.leased, job.retried, job.hosts, summary.done, summary.ran_us]);
  if (place.dataset.told === told) return;
  place.dataset.told = told;
  fill(place, facts([
    ["waiting", count(job.waiting)],
    ["with hosts", `${count(job.leased)} on ${things(job.hosts, "host")}`],
    ["retried", count(job.retried)],
    ["time a task", summary.done ? duration(summary.ran_us / summary.done) : "–"],
    ["created", ago(job.created * 1000)],
    ["id", brief(job.id, 33)],
    ["module", link(["modules"], brief(job.module, 16))],
    ["owner", brief(job.owner)],
  ]));
}

function fillExplanation(place, lines) {
  const told = JSON.stringify(lines);
  if (place.dataset.told === told) return;
  place.dataset.told = told;
  fill(place, explanation(lines));
}

function buttons(job, problem) {
  const denied = refusal("client");
  const name = visible(job.name || job.id);
  const doing = (verb, loss, title, danger) => () => ask({
    title: `${title} job ${name}?`, loss, verb: title, danger,
    act: () => post(path("jobs", job.id, verb)),
  }).then((done) => {
    if (!done) return;
    if (verb === "remove") location.hash = "#/jobs";
    else problem(null);
  });
  const stop = doing("stop", `Its ${things(job.waiting + job.leased, "task")} that are not over are dropped. Results that are there stay.`, "Stop", true);
  const retry = doing("retry", `Its ${things(job.dead, "failed task")} are put into the queue again; what they failed of is forgotten.`, "Retry", false);
  const remove = doing("remove", "Its results, failures and history are deleted for good.", "Remove", true);
  return [
    button("Stop…", stop, { unless: denied ?? (isOver(job) ? "the job is over" : null), label: `Stop… job ${name}` }),
    button("Retry failed tasks…", retry, { unless: denied ?? (job.dead ? null : "no task has failed"), label: `Retry failed tasks… of job ${name}` }),
    button("Remove…", remove, { unless: denied ?? (isOver(job) ? null : "stop the job first"), label: `Remove… job ${name}` }),
  ];
}

function reasonTable(id) {
  return table({
    name: "job-reasons", caption: "failures by reason", empty: "no attempt has failed", filter: false,
    key: (reason) => `${reason.kind} ${reason.message}`, order: [1, true],
    columns: [
      {
        title: "Reason", wide: true, text: (reason) => `${reason.kind} ${reason.message}`,
        cell: (reason) => [h("strong", null, reason.kind), " ", alien(reason.message)],
      },
      { title: "Attempts", number: true, text: (reason) => count(reason.count), sort: (reason) => reason.count },
      {
        title: "Last of task", number: true,
        text: (reason) => reason.task,
        sort: (reason) => reason.task,
        cell: (reason) => taskLink(id, reason.task),
      },
      { title: "Host", wide: true, minor: 2, text: (reason) => reason.host, cell: (reason) => alien(reason.host) },
    ],
  });
}

function slowTable(id) {
  return table({
    name: "job-slowest", caption: "the slowest tasks", empty: "no task is done", filter: false,
    key: (slow) => slow.task, order: [1, true],
    columns: [
      {
        title: "Task",
        text: (slow) => slow.task,
        sort: (slow) => slow.task,
        cell: (slow) => taskLink(id, slow.task),
      },
      { title: "Ran", number: true, text: (slow) => duration(slow.ran_us), sort: (slow) => slow.ran_us },
      { title: "Host", wide: true, text: (slow) => slow.host, cell: (slow) => alien(slow.host) },
    ],
  });
}

function taskLink(job, task) {
  return link(["jobs", job, "tasks", String(task)], `task ${task}`);
}

function taskField(id) {
  const field = h("input", { id: "task-number", type: "number", min: "0", step: "1", inputmode: "numeric", required: true });
  return h("form", {
    class: "row",
    onsubmit: (event) => {
      event.preventDefault();
      location.hash = `#/jobs/${encodeURIComponent(id)}/tasks/${encodeURIComponent(field.value)}`;
    },
  }, h("label", { for: "task-number" }, "Number"), field, h("button", { class: "button" }, "Show"));
}

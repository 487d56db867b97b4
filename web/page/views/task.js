// One task: where it ran, for how long, and why it failed.

import { get, path } from "../api.js";
import { progressBar } from "../chart.js";
import { alien, badge, explanation, facts, fill, h, link, section, visible } from "../dom.js";
import { brief, bytes, count, duration, things } from "../format.js";

export async function show({ root, signal, names: [id, number], heading, repeat }) {
  heading(`Task ${number}`);
  const body = h("div", { class: "view" });
  root.append(body);
  let told = "";
  const task = Number(number);
  return repeat(2000, async () => {
    const found = await get(path("jobs", id, "tasks", number), null, signal);
    // The times of held attempts change all the time; the rest is left alone as long as nothing is new.
    const now = JSON.stringify(found);
    if (now === told) return;
    told = now;
    const open = new Set([...body.querySelectorAll("details[open]")].map((one) => one.dataset.at));
    heading(`Task ${number}`, badge(found.state));
    fill(body,
      h("p", { class: "row" }, link(["jobs", id], "job ", brief(id, 9)),
        task > 0 ? link(["jobs", id, "tasks", String(task - 1)], "previous task") : null,
        link(["jobs", id, "tasks", String(task + 1)], "next task")),
      facts([
        ["why it failed", found.why && alien(found.why)],
        ["done by", found.host && alien(found.host)],
        ["ran", found.ran_us === null ? null : duration(found.ran_us)],
        ["results", found.results && (found.results.length
          ? `${count(found.results.length)}: ${found.results.slice(0, 20).map(bytes).join(", ")}` : "none")],
        ["failed attempts", count(found.failures.length)],
      ]),
      found.held.length ? section("With hosts now", held(found.held)) : null,
      section("Explanation", explanation(found.explanation)),
      found.trace && section("Where its time went", timeline(found.trace)),
      section("Failed attempts", found.failures.length
        ? h("ol", { class: "attempts" }, found.failures.map((failure, at) => attempt(failure, at, found.failures.length, open)))
        : h("p", { class: "empty" }, "no attempt has failed")));
  });
}

function held(attempts) {
  return h("ul", { class: "attempts" }, attempts.map((one) => h("li", null,
    h("strong", null, alien(one.host)), " ",
    one.running_ms === null ? "has not begun" : `has run for ${duration(one.running_ms * 1000)}`,
    `; its lease is good for ${duration(one.lease_ms * 1000)}; attempt `, h("code", null, visible(one.attempt)))));
}

/** The parts of the task's time, one below the other, each where it lies in the whole. */
function timeline({ parts, whole_us: whole }) {
  let before = 0;
  const rows = parts.map(({ part, us, what }) => {
    const bar = progressBar([["gap", before], ["done", us]], whole, `${duration(us)} after ${duration(before)}`);
    before += us;
    return h("tr", null, h("th", { scope: "row" }, part), h("td", { class: "number" }, duration(us)),
      h("td", { class: "wide" }, bar, h("span", { class: "under" }, what)));
  });
  return h("div", { class: "table-box" }, h("table", { class: "timeline" },
    h("caption", { class: "unseen" }, `${duration(whole)} from submission to outcome`), h("tbody", null, rows)));
}

function attempt(failure, at, of, open) {
  const fold = (title, lines) => lines?.length
    ? h("details", { open: open.has(`${at} ${title}`) || (at === of - 1 && lines.length < 40), "data-at": `${at} ${title}` },
      h("summary", null, `${title}, ${things(lines.length, "line")}`),
      h("pre", { tabindex: "0", "aria-label": `${title} of attempt ${at + 1}` }, lines.map(visible).join("\n")))
    : null;
  return h("li", null,
    h("p", null, h("strong", null, visible(failure.kind)), " on ", alien(failure.host), ` after ${duration(failure.ran_us)}`),
    failure.message === null ? null : h("p", { class: "message", dir: "auto" }, visible(failure.message)),
    fold("Backtrace", failure.backtrace), fold("Log", failure.log));
}

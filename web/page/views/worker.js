// One worker and its log, live.

import { get, path, post, refusal, seesAll } from "../api.js";
import { ask } from "../dialog.js";
import { badge, button, facts, fill, h, link, say, section, visible } from "../dom.js";
import { brief, count, fullTime, things } from "../format.js";

/** Lines of log that the page keeps. */
const LINES_MAX = 1000;

export function show({ root, signal, names: [id], heading, repeat }) {
  heading(`Worker ${id}`);
  const actions = h("div", { class: "actions" });
  const about = h("div");
  const log = logView();
  root.append(actions, about, section("Log", log.element));
  let told = "";
  let known = false;
  repeat(1000, async () => {
    if (known) log.update(await get(`${path("workers", id)}/logs`, null, signal));
  });
  return repeat(3000, async () => {
    const { workers } = await get("/workers", { everyones: seesAll(), ended: true }, signal);
    const worker = workers.find((one) => one.worker === id);
    const now = JSON.stringify(worker ?? null);
    if (now !== told) {
      told = now;
      heading(`Worker ${id}`, worker ? badge(worker.state) : null);
      fill(actions, worker ? stopButton(worker) : null);
      fill(about, worker ? workerFacts(worker) : h("p", { class: "empty" }, "the manager does not know it any more"));
    }
    known = Boolean(worker);
  });
}

function workerFacts(worker) {
  return facts([
    ["how it ended", worker.end],
    ["host", link(["hosts", worker.host], brief(worker.host, 16))],
    ["module", link(["modules"], brief(worker.module, 16))],
    ["deployment", worker.deployment ?? "none"],
    ["unanswered messages", count(worker.unanswered)],
    ["uncollected messages", count(worker.uncollected)],
  ]);
}

function stopButton(worker) {
  const stop = () => ask({
    title: `Stop worker ${worker.worker}?`,
    loss: `What it has in memory is lost, and its ${things(worker.unanswered, "unanswered message")} with it.`,
    verb: "Stop", act: () => post(`${path("workers", worker.worker)}/stop`),
  });
  return button("Stop…", stop, {
    unless: refusal("client") ?? (worker.state === "ended" ? "it has ended" : null), label: `Stop… worker ${worker.worker}`,
  });
}

/** The lines of a log, the newest below; follows them while its end is in sight. */
function logView() {
  const list = h("ol", { class: "log", tabindex: "0", "aria-label": "log" });
  const told = h("p", { class: "hint" });
  const filter = h("input", { type: "search", placeholder: "filter", "aria-label": "filter the log", oninput: () => draw() });
  let lines = [];
  let drawn = "";
  const draw = () => {
    const wanted = filter.value.toLowerCase();
    const shown = lines.filter((line) => `${line.level} ${line.text}`.toLowerCase().includes(wanted)).slice(-LINES_MAX);
    const mark = `${wanted} ${shown.length} ${shown[0]?.unix_ms} ${shown[0]?.text} ${shown.at(-1)?.unix_ms} ${shown.at(-1)?.text}`;
    if (mark === drawn) return;
    drawn = mark;
    const follows = list.scrollTop + list.clientHeight >= list.scrollHeight - 30;
    fill(list, shown.length ? shown.map(logLine) : h("li", { class: "empty" }, lines.length ? "nothing matches the filter" : "it has written nothing"));
    if (follows) list.scrollTop = list.scrollHeight;
  };
  return {
    element: h("div", null, h("div", { class: "tools" }, filter, told), list),
    update(answer) {
      lines = answer.lines;
      say(told, answer.dropped ? `${things(answer.dropped, "line")} before these are gone` : "");
      draw();
    },
  };
}

function logLine(line) {
  const time = fullTime(line.unix_ms);
  return h("li", { class: `level-${line.level}` },
    h("time", { datetime: new Date(line.unix_ms).toISOString(), title: time }, time.slice(-8)),
    h("span", { class: "level" }, line.level), h("span", { class: "text", dir: "auto" }, visible(line.text)));
}

// All jobs.

import { get, seesAll } from "../api.js";
import { h } from "../dom.js";
import { isOver, jobTable, note } from "../job_table.js";

let chosen = "all";

export function show({ root, signal, heading, repeat }) {
  heading("Jobs");
  let all = [];
  const select = h("select", {
    "aria-label": "which jobs",
    onchange: () => {
      chosen = select.value;
      draw();
    },
  }, [["all", "all jobs"], ["under way", "under way"], ["over", "over"], ["failed", "with failed tasks"]]
    .map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
  const jobs = jobTable("jobs", "jobs", "there is no job; `grid run` makes one", { extra: select });
  root.append(jobs.element);
  const lets = {
    all: () => true,
    "under way": (job) => !isOver(job),
    over: isOver,
    failed: (job) => job.dead > 0,
  };
  const draw = () => jobs.update(all.filter(lets[chosen]));
  return repeat(2000, async () => {
    ({ jobs: all } = await get("/jobs", { everyones: seesAll() }, signal));
    note(all);
    draw();
  });
}

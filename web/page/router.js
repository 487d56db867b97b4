// Which view the fragment of the address names.

/** The views by their first word; each is loaded when it is wanted first. */
const VIEWS = {
  overview: [() => import("./views/overview.js"), () => import("./views/overview.js")],
  hosts: [() => import("./views/hosts.js"), () => import("./views/host.js")],
  jobs: [() => import("./views/jobs.js"), () => import("./views/job.js")],
  stream: [() => import("./views/stream.js")],
  workers: [() => import("./views/workers.js"), () => import("./views/worker.js")],
  modules: [() => import("./views/modules.js")],
  access: [() => import("./views/access.js")],
  audit: [() => import("./views/audit.js")],
};

/** What the bar lists. */
export const NAV = [
  ["overview", "Overview"], ["hosts", "Hosts"], ["jobs", "Jobs"], ["stream", "Task stream"],
  ["workers", "Workers"], ["modules", "Modules"], ["access", "Access"], ["audit", "Audit log"],
];

/** The parts of a fragment: `#/jobs/j07/tasks/3` as `["jobs", "j07", "tasks", "3"]`. */
export function parts(hash) {
  if (!hash.startsWith("#/")) return [];
  return hash.slice(2).split("/").filter(Boolean).map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
}

/** The module of the view that a fragment names, and what it is about: `{load, names}`; null if there is none. */
export function route(hash) {
  const [first = "overview", ...names] = parts(hash);
  if (!Object.hasOwn(VIEWS, first)) return null;
  const [list, one] = VIEWS[first];
  if (names.length === 0) return { first, load: list, names };
  if (first === "jobs" && names.length === 3 && names[1] === "tasks") {
    return { first, load: () => import("./views/task.js"), names: [names[0], names[2]] };
  }
  return one && names.length === 1 ? { first, load: one, names } : null;
}

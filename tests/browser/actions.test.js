// What an admin does on the page is done, and a viewer does nothing.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Grid, modules, until } from "./grid.js";
import { Page, browser } from "./page.js";

let grid;
let chromium;
let admin;

before(async () => {
  grid = await Grid.start();
  chromium = await browser();
  await grid.host("rack-1");
  admin = await Page.open(chromium, await grid.link());
  await admin.sees("h1", "Overview");
});

after(async () => {
  await chromium?.close();
  await grid?.stop();
});

const hostOf = async (name) => (await grid.json(["host", "ls"])).hosts.find((host) => host.name === name);

/** Waits until a host is in a state, or is not listed any more. */
const hostIs = (name, ...states) => until(async () => states.includes((await hostOf(name))?.state ?? "gone"));

test("a host that waits is approved", async () => {
  await grid.stranger("rack-9");
  await hostIs("rack-9", "pending");
  await admin.go(`#/hosts/${(await hostOf("rack-9")).key}`, "rack-9");
  await admin.button("Approve… host").click();
  await admin.confirm("Approve");
  await hostIs("rack-9", "ready");
  await admin.sees(".badge", "ready");
});

test("a host is drained, then removed", async () => {
  await admin.go(`#/hosts/${(await hostOf("rack-9")).key}`, "rack-9");
  await admin.button("Drain… host").click();
  await admin.tab.locator("dialog").getByText("nothing is lost").waitFor();
  await admin.confirm("Drain");
  await hostIs("rack-9", "draining", "gone");
  await admin.button("Remove… host").click();
  await admin.confirm("Remove");
  await hostIs("rack-9", "gone");
});

test("a dialog that is cancelled does nothing, and gives the focus back", async () => {
  await admin.go(`#/hosts/${(await hostOf("rack-1")).key}`, "rack-1");
  await admin.button("Drain… host").click();
  await admin.button("Cancel").click();
  assert.ok((await admin.tab.evaluate(() => document.activeElement.textContent)).startsWith("Drain"));
  assert.equal((await hostOf("rack-1")).state, "ready");
});

test("a job is stopped, retried and removed", async () => {
  const long = await grid.submit("primes.wasm", Array.from({ length: 20_000 }, (_, at) => `[${50_000_000 + at},${50_100_000 + at}]`));
  await admin.go(`#/jobs/${long}`);
  await admin.button("Stop… job").click();
  await admin.confirm("Stop");
  assert.equal((await grid.over(long)).state, "stopped");
  const failed = await grid.submit("primes.wasm", ['"no range"'], ["--retries", "0"]);
  await grid.over(failed);
  await admin.go(`#/jobs/${failed}`);
  await admin.button("Retry failed tasks… of job").click();
  await admin.confirm("Retry");
  await until(async () => (await grid.run(["key", "ls"])) && (await audit()).some((entry) => entry.action.startsWith("job retry")));
  await grid.over(failed);
  await until(async () => (await admin.button("Remove… job").getAttribute("aria-disabled")) === null);
  await admin.button("Remove… job").click();
  await admin.confirm("Remove");
  await admin.sees("h1", "Jobs");
  assert.ok(!(await grid.json(["job", "ls"])).jobs.some((job) => job.id === failed));
});

const audit = () => admin.tab.evaluate(async () => (await (await fetch("/api/v1/audit?most=200")).json()).audit);

test("a worker's log is followed, and the worker is stopped", async () => {
  await grid.run(["module", "upload", `${modules}/echo.wasm`]);
  const [worker] = (await grid.run(["worker", "spawn", "echo", "--quiet"])).trim().split("\n");
  await until(async () => (await grid.json(["worker", "ls"])).workers.some((one) => one.worker === worker && one.state === "running"));
  await admin.go("#/workers", "Workers");
  await admin.sees("tbody tr", worker);
  await admin.go(`#/workers/${worker}`, worker);
  await admin.button("Stop… worker").click();
  await admin.confirm("Stop");
  await until(async () => !(await grid.json(["worker", "ls"])).workers.some((one) => one.worker === worker && one.state === "running"));
});

test("it is said where a module is, and the module is removed", async () => {
  await admin.go("#/modules", "Modules");
  await admin.button(/^\d+ hosts? with module primes$/).click();
  await admin.tab.locator("dialog").getByText(/^\d+ hosts?$/).waitFor();
  await admin.button("Close").click();
  await admin.button("Remove… module echo").click();
  await admin.confirm("Remove");
  await until(async () => !(await admin.text()).includes("echo"));
});

test("tickets are made, shown once, and removed; keys get roles and lose them", async () => {
  await admin.go("#/access", "Access");
  await admin.tab.getByLabel("role of the ticket").selectOption("viewer");
  await admin.button("Make a ticket").click();
  const ticket = await admin.tab.locator("dialog").getByLabel("The ticket", { exact: true }).inputValue();
  assert.match(ticket, /^grid1/);
  assert.ok((await admin.tab.locator("dialog").getByLabel("What to type on the other machine", { exact: true }).inputValue()).includes(ticket));
  await admin.button("Close").click();
  await viewerIsRefused(ticket);
  await admin.tab.getByLabel("role of the ticket").selectOption("client");
  await admin.button("Make a ticket").click();
  await admin.button("Close").click();
  const unused = (await admin.tab.evaluate(async () => (await (await fetch("/api/v1/tickets")).json()).tickets)).find((one) => one.role === "client" && !one.used_by);
  await admin.button(`Remove… ticket ${unused.id.slice(0, 12)}…`).click();
  await admin.confirm("Remove");
  const keys = async () => admin.tab.evaluate(async () => (await (await fetch("/api/v1/keys")).json()).keys);
  const viewer = (await keys()).find((key) => key.roles.includes("viewer"));
  await admin.button(`Give a role… to key ${viewer.key.slice(0, 12)}…`).click();
  await admin.tab.getByLabel("role of the key").selectOption("client");
  await admin.confirm("Give");
  assert.ok((await keys()).find((key) => key.key === viewer.key).roles.includes("client"));
  await admin.button(`Revoke… key ${viewer.key.slice(0, 12)}…`).click();
  await admin.confirm("Revoke");
  assert.ok((await keys()).find((key) => key.key === viewer.key).revoked);
});

/** Logs in with a viewer's ticket: every button is off and says why, and the API refuses what is tried all the same. */
async function viewerIsRefused(ticket) {
  const viewer = await Page.open(chromium, new URL("/", await grid.link()).href);
  viewer.expect("401");
  viewer.expect("403");
  await viewer.sees("main", "grid ui");
  await viewer.tab.getByLabel("Or log in with a ticket").fill(ticket);
  await viewer.button("Log in").click();
  await viewer.sees("h1", "Overview");
  const host = await hostOf("rack-1");
  const { jobs } = await grid.json(["job", "ls"]);
  for (const [fragment, heading] of [[`#/hosts/${host.key}`, host.name], [`#/jobs/${jobs[0].id}`, ""], ["#/modules", "Modules"], ["#/access", "Access"]]) {
    await viewer.go(fragment, heading);
    const acts = viewer.tab.locator("main button:not(.sorter)").filter({ hasText: /…$|Make a ticket/ });
    await acts.first().waitFor();
    for (const act of await acts.all()) {
      assert.equal(await act.getAttribute("aria-disabled"), "true", fragment);
      assert.match(await act.getAttribute("title"), /needs the role/);
      await act.click({ force: true });
    }
    assert.equal(await viewer.tab.locator("dialog").count(), 0);
  }
  const tries = [
    `hosts/${host.key}/drain`, `hosts/${host.key}/remove`, `hosts/${host.key}/approve`, `jobs/${jobs[0].id}/stop`, `jobs/${jobs[0].id}/retry`,
    `jobs/${jobs[0].id}/remove`, "workers/w1.1/stop", `modules/${jobs[0].module}/remove`, `keys/${host.key}/revoke`, "tickets",
  ];
  for (const path of tries) {
    const status = await viewer.tab.evaluate(async (to) => {
      const { csrf } = await (await fetch("/api/v1/me")).json();
      const headers = { "content-type": "application/json", "x-grid-csrf": csrf };
      return (await fetch(`/api/v1/${to}`, { method: "POST", headers, body: JSON.stringify({ role: "admin", hours: 1 }) })).status;
    }, path);
    assert.equal(status, 403, path);
  }
  assert.equal((await hostOf("rack-1")).state, "ready");
  await viewer.close();
}

test("what was done is in the audit log, and what was refused with why", async () => {
  await admin.go("#/audit", "Audit log");
  for (const action of ["host approve", "host drain", "job stop", "key revoke"]) await admin.sees("tbody tr", action);
  await admin.sees("tbody tr", "refused");
});

test("a request that does not come from the page is refused", async () => {
  const host = await hostOf("rack-1");
  const answer = await admin.context.request.post(`${admin.origin}/api/v1/hosts/${host.key}/drain`, { data: {} });
  assert.equal(answer.status(), 403);
  assert.equal((await hostOf("rack-1")).state, "ready");
  await admin.close();
});

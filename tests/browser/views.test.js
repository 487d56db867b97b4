// Every view shows what the grid says of itself, and moves while it does.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Grid, modules, until } from "./grid.js";
import { Page, browser, views } from "./page.js";

/** A name that would do harm, were it ever taken for HTML. */
const HOSTILE = "<img src=x onerror=alert(1)>";

/** Most bytes that all of the page's files may take on the way. */
const PAGE_BYTES_MAX = 80 << 10;

const TASKS = 10_000;

let grid;
let chromium;

before(async () => {
  grid = await Grid.start();
  chromium = await browser();
  await grid.host("rack-1");
  await grid.host("rack-2");
});

after(async () => {
  await chromium?.close();
  await grid?.stop();
});

/** A job that takes some seconds on a fast machine: 10 000 ranges in which primes are counted. */
function ranges() {
  return Array.from({ length: TASKS }, (_, at) => `[${at * 10},${at * 10 + 150}]`);
}

test("a job's numbers move while it runs, and are those of the command line in the end", async () => {
  const page = await Page.open(chromium, await grid.link());
  await page.sees("h1", "Overview");
  assert.ok(!page.tab.url().includes("code="), "the code stays in the address");
  const id = await grid.submit("primes.wasm", ranges(), ["--name", "ranges"]);
  await page.go(`#/jobs/${id}`, "ranges");
  const done = async () => Number(/([\d\u202f]+) of/.exec(await page.text())?.[1].replaceAll("\u202f", "") ?? -1);
  const first = await until(async () => {
    const now = await done();
    return now > 0 && now < TASKS ? now : null;
  }, () => "no number is seen while it runs");
  await until(async () => (await done()) > first, () => "the number does not move");
  const over = await grid.over(id);
  assert.equal(over.done, TASKS);
  await page.sees(".badge", over.state);
  const text = () => page.text();
  const number = (name) => name.toLocaleString("en-GB").replaceAll(",", "\u202f");
  await until(async () => (await text()).includes(`${number(over.done)} of ${number(over.submitted)} tasks done`));
  const shown = await page.tab.evaluate(() => Object.fromEntries([...document.querySelectorAll(".facts > div")]
    .map((fact) => [fact.querySelector("dt").textContent, fact.querySelector("dd").textContent])));
  await until(async () => (await page.tab.evaluate(() => document.querySelector(".facts").innerText)).includes("0 on 0 hosts"));
  assert.equal(shown.retried, number(over.retried));
  assert.ok(over.id.startsWith(shown.id.replace("…", "")));
  await page.go("#/overview", "Overview");
  const totals = await page.tab.evaluate(async () => (await (await fetch("/api/v1/overview")).json()).totals);
  await page.sees(".tile", `${number(totals.done)} done since it started`);
  await page.sees(".events", "job ranges is finished");
  await page.close();
});

test("every view loads, whatever things are called, and nothing is loaded from elsewhere", async () => {
  const job = await grid.submit("primes.wasm", ["[0,10]", "[10,20]"], ["--name", HOSTILE]);
  await grid.over(job);
  await grid.run(["module", "upload", `${modules}/echo.wasm`]);
  const [worker] = (await grid.run(["worker", "spawn", "echo", "--quiet"])).trim().split("\n");
  const { jobs } = await grid.json(["job", "ls"]);
  const { hosts } = await grid.json(["host", "ls"]);
  const page = await Page.open(chromium, await grid.link());
  for (const [fragment, heading] of views({ host: hosts[0], job: jobs.find(({ id }) => id === job), worker })) {
    await page.go(fragment, heading);
    await page.tab.waitForLoadState("networkidle", { timeout: 1000 }).catch(() => {});
    assert.equal(await page.tab.locator(".problem").count(), 0, `${fragment} shows a problem`);
    assert.ok((await page.tab.title()).includes(heading), fragment);
    if (page.moved) assert.equal(await page.tab.evaluate(() => document.activeElement.tagName), "H1", `${fragment} does not take the focus`);
    page.moved = true;
  }
  await page.go("#/nowhere", "No such view");
  await page.close();
});

test("the walls around guests are shown as a host tells them", async () => {
  const { hosts } = await grid.json(["host", "ls"]);
  const page = await Page.open(chromium, await grid.link());
  await page.go("#/hosts", "Hosts");
  await page.sees("td", hosts[0].walls.join(", "));
  await page.go(`#/hosts/${hosts[0].key}`, hosts[0].name);
  await page.sees(".facts", hosts[0].walls.join(", "));
  await page.close();
});

test("the page and all its views take less than 80 KiB on the way, and its policy lets in no other", async () => {
  const page = await Page.open(chromium, await grid.link());
  const { jobs } = await grid.json(["job", "ls"]);
  const { hosts } = await grid.json(["host", "ls"]);
  for (const [fragment, heading] of views({ host: hosts[0], job: jobs[0], worker: "w1.1" })) await page.go(fragment, heading);
  let bytes = 0;
  let files = 0;
  for (const request of page.requests) {
    const { pathname } = new URL(request.url());
    if (pathname !== "/" && !pathname.startsWith("/page/")) continue;
    const response = await request.response();
    if (response.status() !== 200) continue;
    const { responseBodySize, responseHeadersSize } = await request.sizes();
    bytes += responseBodySize + responseHeadersSize;
    files += 1;
  }
  console.log(`the page: ${files} files, ${(bytes / 1024).toFixed(1)} KiB on the way`);
  assert.ok(files > 20 && bytes < PAGE_BYTES_MAX, `${files} files, ${bytes} bytes`);
  const root = await page.context.request.get(`${page.origin}/`);
  const policy = root.headers()["content-security-policy"];
  for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"]) {
    assert.ok(policy.split(";").map((rule) => rule.trim()).includes(part), `${part} is not in ${policy}`);
  }
  assert.ok(!policy.includes("unsafe"), policy);
  await page.close();
});

test("why tasks failed is grouped by reason, and a task tells where it ran", async () => {
  const job = await grid.submit("primes.wasm", ["[0,10]", '"no range"', "[10,20]", "true"], ["--retries", "0"]);
  const over = await grid.over(job);
  assert.equal(over.dead, 2);
  const page = await Page.open(chromium, await grid.link());
  await page.go(`#/jobs/${job}`);
  await page.sees(".table-box tbody tr", "task");
  const summary = await page.tab.evaluate(async (id) => (await (await fetch(`/api/v1/jobs/${id}`)).json()).summary, job);
  assert.ok(summary.reasons.length > 0);
  for (const reason of summary.reasons) await page.sees("tbody tr", reason.kind);
  await page.go(`#/jobs/${job}/tasks/1`, "Task 1");
  await page.sees(".badge", "failed");
  const task = await page.tab.evaluate(async (id) => (await fetch(`/api/v1/jobs/${id}/tasks/1`)).json(), job);
  for (const attempt of task.failures) await page.sees(".attempts", attempt.host);
  await page.sees(".facts", task.why);
  await page.go(`#/jobs/${job}/tasks/0`, "Task 0");
  await page.sees(".timeline", "its guest ran it");
  await page.close();
});

test("the task stream draws what ran, and its table says the same", async () => {
  const page = await Page.open(chromium, await grid.link());
  await page.go("#/stream", "Task stream");
  await until(() => page.tab.evaluate(() => document.querySelector("canvas").taskStream.samples.size > 0));
  await page.button("Show all").click();
  await until(() => page.tab.evaluate(() => document.querySelector("canvas").taskStream.figures.tasks > 0));
  await page.button("As a table").click();
  await page.sees("tbody tr", "rack-");
  const place = await page.tab.evaluate(() => {
    const { taskStream: stream } = document.querySelector("canvas");
    const newest = stream.samples.entry(stream.samples.size - 1);
    stream.follow = false;
    stream.right = newest.endUs + newest.ranUs;
    stream.span = 4 * newest.ranUs;
    stream.draw();
    const host = stream.rows.hosts.find(({ key }) => key === newest.host);
    const lane = stream.samples.lane[stream.samples.place(newest.index)];
    return { ...newest, x: stream.gutter + stream.wide * 0.625, y: 24 + (host.first + lane + 0.5) * stream.lane - stream.top };
  });
  await page.tab.locator("canvas").hover({ position: { x: place.x, y: place.y } });
  await page.sees(".tip", "task ");
  await page.tab.locator("canvas").click({ position: { x: place.x, y: place.y } });
  await page.sees("h1", "Task ");
  await page.close();
});

test("without a session there is the way in, and a link is good once", async () => {
  const link = await grid.link();
  const first = await Page.open(chromium, link);
  await first.sees("h1", "Overview");
  const second = await Page.open(chromium, new URL("/", link).href);
  second.expect("401");
  second.expect("403");
  await second.sees("main", "grid ui");
  await second.tab.goto("about:blank");
  await second.tab.goto(link);
  await second.sees(".problem", "used already");
  const ticket = await grid.ticket("viewer");
  await second.tab.getByLabel("Or log in with a ticket").fill(ticket);
  await second.button("Log in").click();
  await second.sees("h1", "Overview");
  await second.button("Log out").click();
  await second.sees("main", "grid ui");
  await second.context.close();
  await first.close();
});

// What the page does when its connection breaks, and when nobody looks.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Grid, until } from "./grid.js";
import { Page, browser } from "./page.js";

let grid;
let chromium;
let page;

before(async () => {
  grid = await Grid.start();
  chromium = await browser();
  page = await Page.open(chromium, await grid.link());
  await page.sees("h1", "Overview");
});

after(async () => {
  await chromium?.close();
  await grid?.stop();
});

const state = () => page.tab.evaluate(async () => (await import("/page/stream.js")).feed.state);

/** Says to the page that its tab is hidden, or shown again. */
const hide = (hidden) => page.tab.evaluate((now) => {
  Object.defineProperty(document, "hidden", { configurable: true, value: now });
  document.dispatchEvent(new Event("visibilitychange"));
}, hidden);

test("a tab that is hidden for a minute closes its stream, and opens it again when it is shown", async () => {
  await until(async () => (await state()) === "live");
  await page.tab.clock.install();
  await hide(true);
  await page.tab.clock.runFor(59_000);
  assert.notEqual(await state(), "asleep");
  await page.tab.clock.runFor(2000);
  assert.equal(await state(), "asleep");
  await page.tab.clock.resume();
  await hide(false);
  await until(async () => (await state()) === "live");
  await page.tab.reload();
  await page.sees("h1", "Overview");
});

test("what the ring has lost is told", async () => {
  await until(async () => (await state()) === "live");
  await page.tab.evaluate(async () => {
    const { feed } = await import("/page/stream.js");
    feed.takeEvents({ events: [], missed: 37, next: feed.lastEvent });
  });
  await page.sees("#notice", "37 events missed");
  await page.button("OK, hide the lines about what was missed").click();
  await until(async () => !(await page.tab.locator("#notice").innerText()).includes("missed"));
});

test("a page whose manager is gone says so, and finds it again", async () => {
  for (const part of ["ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE", "401"]) page.expect(part);
  const listen = await grid.address();
  await grid.manager.stop();
  await page.sees("#notice", "not connected to the manager");
  await page.sees(".problem", "the manager does not answer");
  await grid.up(listen, new URL(page.origin).host);
  // Sessions end with the manager.
  await page.sees("main", "grid ui");
  await page.tab.goto("about:blank");
  await page.tab.goto(await grid.link());
  await page.sees("h1", "Overview");
  await until(async () => (await state()) === "live");
  await page.close();
});

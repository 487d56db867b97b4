// What people see, hear and reach: axe finds nothing, and no view is wider than its screen.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Grid, modules } from "./grid.js";
import { Page, browser, views } from "./page.js";

const SIZES = [[360, 740], [1280, 800], [3840, 2160]];

let grid;
let chromium;
let things;

before(async () => {
  grid = await Grid.start();
  chromium = await browser();
  await grid.host("a-host-with-a-name-of-sixty-characters-that-goes-on-and-on-x");
  const id = await grid.submit("primes.wasm", ["[0,10]", '"no range"', "[10,20]"], ["--retries", "1", "--name", "a-job-whose-name-has-no-place-to-break-and-is-quite-long-too"]);
  await grid.over(id);
  await grid.run(["module", "upload", `${modules}/echo.wasm`]);
  const [worker] = (await grid.run(["worker", "spawn", "echo", "--quiet"])).trim().split("\n");
  const { hosts } = await grid.json(["host", "ls"]);
  const { jobs } = await grid.json(["job", "ls"]);
  things = { host: hosts[0], job: jobs[0], worker };
});

after(async () => {
  await chromium?.close();
  await grid?.stop();
});

for (const scheme of ["light", "dark"]) {
  for (const [width, height] of SIZES) {
    test(`axe finds nothing in any view, ${scheme}, ${width} pixels wide`, async () => {
      const page = await Page.open(chromium, await grid.link(), { width, height, scheme });
      const found = [];
      for (const [fragment, heading] of views(things)) {
        await page.go(fragment, heading);
        await page.tab.waitForTimeout(400);
        found.push(...(await page.axe()).map((what) => `${fragment}: ${what}`));
        const wide = await page.tab.evaluate(() => document.documentElement.scrollWidth);
        if (wide > width) found.push(`${fragment}: ${wide} pixels wide`);
      }
      await page.go(`#/hosts/${things.host.key}`, things.host.name);
      await page.button("Drain… host").click();
      found.push(...(await page.axe()).map((what) => `dialog: ${what}`));
      assert.deepEqual(found, []);
      await page.close();
    });
  }
}

test("the login is as accessible", async () => {
  const page = await Page.open(chromium, new URL("/", await grid.link()).href, { width: 360, height: 740 });
  page.expect("401");
  await page.sees("main", "grid ui");
  assert.deepEqual(await page.axe(), []);
  await page.close();
});

test("at 200 % zoom the page is not wider than the screen", async () => {
  // A browser's zoom halves the CSS pixels of the window.
  const page = await Page.open(chromium, await grid.link(), { width: 640, height: 400 });
  for (const [fragment, heading] of views(things)) {
    await page.go(fragment, heading);
    assert.ok((await page.tab.evaluate(() => document.documentElement.scrollWidth)) <= 640, fragment);
  }
  await page.close();
});

test("every view is reached and worked with the keyboard alone", async () => {
  const page = await Page.open(chromium, await grid.link());
  await page.sees("h1", "Overview");
  await page.tab.keyboard.press("Tab");
  assert.equal(await page.tab.evaluate(() => document.activeElement.id), "skip");
  await page.tab.keyboard.press("Enter");
  assert.equal(await page.tab.evaluate(() => document.activeElement.id), "main");
  await page.tab.getByRole("link", { name: "Hosts", exact: true }).focus();
  await page.tab.keyboard.press("Enter");
  await page.sees("h1", "Hosts");
  const sorter = page.tab.getByRole("button", { name: "Slots" });
  await sorter.focus();
  await page.tab.keyboard.press("Enter");
  assert.equal(await page.tab.locator("th[aria-sort]").innerText().then((text) => text.trim().startsWith("Slots")), true);
  await page.go("#/stream", "Task stream");
  await page.tab.locator("canvas").focus();
  const span = () => page.tab.evaluate(() => document.querySelector("canvas").taskStream.span);
  const before = await span();
  await page.tab.keyboard.press("+");
  assert.ok((await span()) < before);
  await page.close();
});

// Chromium with the page in it, watched: no error, no request to elsewhere, nothing that the policy forbids.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

import { until } from "./grid.js";

const packages = createRequire(join(process.env.GRID_BROWSER_PACKAGES ?? import.meta.dirname, "package.json"));
const { chromium } = packages("playwright-core");
const axe = readFileSync(packages.resolve("axe-core/axe.min.js"), "utf8");

/** Chromium's own wishes to talk to somebody are turned off; it runs without a graphics card. */
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-lcd-text",
];

/** Starts the browser. */
export function browser() {
  return chromium.launch({ executablePath: process.env.GRID_CHROMIUM || "/usr/bin/chromium", args: FLAGS });
}

/** A page of its own session. */
export class Page {
  /** Opens a link in a window of this size. */
  static async open(browser, link, { width = 1280, height = 800, scheme = "light" } = {}) {
    const page = new Page();
    page.context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme });
    page.tab = await page.context.newPage();
    page.origin = new URL(link).origin;
    page.complaints = [];
    page.expected = [];
    page.requests = [];
    page.watch();
    await page.tab.goto(link);
    return page;
  }

  watch() {
    const complain = (text) => {
      if (!this.expected.some((part) => text.includes(part))) this.complaints.push(text);
    };
    this.tab.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") complain(`${message.text()} ${message.location().url}`);
    });
    this.tab.on("pageerror", (error) => complain(`uncaught: ${error.stack}`));
    this.tab.on("dialog", (dialog) => {
      complain(`a dialog of a script: ${dialog.message()}`);
      dialog.dismiss();
    });
    this.tab.on("request", (request) => {
      this.requests.push(request);
      if (new URL(request.url()).origin !== this.origin) complain(`a request to ${request.url()}`);
    });
  }

  /** Says that a complaint is to be expected: a request that the test wants to be refused. */
  expect(part) {
    this.expected.push(part);
  }

  /** Goes to a view, and waits for its heading. */
  async go(fragment, heading) {
    await this.tab.evaluate((to) => {
      location.hash = to;
    }, fragment);
    if (heading) await this.sees("h1", heading);
  }

  /** Waits until an element has a text. */
  async sees(selector, text) {
    const read = () => this.tab.evaluate((wanted) => [...document.querySelectorAll(wanted)].map((one) => one.textContent), selector);
    await until(async () => (await read()).some((found) => found.includes(text)), () => `there is no ${selector} with \`${text}\``);
  }

  /** The text of the page's content. */
  text() {
    return this.tab.evaluate(() => document.querySelector("main").innerText);
  }

  button(name) {
    return this.tab.getByRole("button", { name });
  }

  /** Answers the dialog that asks. */
  async confirm(verb) {
    const dialog = this.tab.locator("dialog[open]");
    await dialog.waitFor();
    await dialog.getByRole("button", { name: verb, exact: true }).click();
    await dialog.waitFor({ state: "detached" });
  }

  /** What axe finds wrong with the page as it is. */
  async axe() {
    // Evaluated by the debugger, which the page's policy does not bind.
    await this.tab.evaluate(axe);
    const { violations } = await this.tab.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
    return violations.map(({ id, nodes }) => `${id}: ${nodes.length}, for example ${nodes[0].html.slice(0, 200)}: ${nodes[0].failureSummary}`);
  }

  /** Fails if anything was complained of. */
  assertQuiet() {
    assert.deepEqual(this.complaints, []);
  }

  async close() {
    this.assertQuiet();
    await this.context.close();
  }
}

/** The fragments of all views, with an id of each kind; the heading of each. */
export function views({ host, job, worker }) {
  return [
    ["#/overview", "Overview"], ["#/hosts", "Hosts"], [`#/hosts/${host.key}`, host.name], ["#/jobs", "Jobs"],
    [`#/jobs/${job.id}`, job.name], [`#/jobs/${job.id}/tasks/0`, "Task 0"], ["#/stream", "Task stream"],
    ["#/workers", "Workers"], [`#/workers/${worker}`, `Worker ${worker}`], ["#/modules", "Modules"],
    ["#/access", "Access"], ["#/audit", "Audit log"],
  ];
}

// Writes pictures of the page for the documentation: `GRID_BLESS=1 cargo xtask browser`.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { Grid, modules, until } from "./grid.js";
import { Page, browser } from "./page.js";

/** Most bytes of a picture. */
const PICTURE_BYTES_MAX = 150 << 10;

const folder = join(import.meta.dirname, "../../docs/pictures");

const grid = await Grid.start();
const chromium = await browser();
try {
  await mkdir(folder, { recursive: true });
  for (const [name, slots] of [["rack-1", 4], ["rack-2", 4], ["desk", 2], ["attic", 3]]) await grid.host(name, slots);
  await grid.stranger("laptop");
  const range = (from, tasks, width) => Array.from({ length: tasks }, (_, at) => `[${from + at * width},${from + (at + 1) * width}]`);
  for (const name of ["echo", "primes"]) await grid.run(["module", "upload", join(modules, `${name}.wasm`)]);
  await grid.run(["worker", "spawn", "echo", "-n", "2"]);
  const primes = (name, tasks, user) => grid.submit("primes.wasm", tasks, ["--name", name, "--retries", "0"], user);
  await grid.over(await primes("primes below 4000", ['"no range"', ...range(0, 400, 10)]));
  // Several clients share the slots, so that several jobs run at the same time.
  const failing = range(150_000, 900, 300).map((task, at) => (at % 40 === 7 ? '"no range"' : task));
  const job = await primes("primes above 150 000", failing, "ada");
  await primes("primes above 250 000", range(250_000, 500, 200), "grace");
  await primes("primes above 60 000", range(60_000, 1500, 250));
  await primes("primes above 100 000", range(100_000, 800, 200));
  const shots = [
    ["overview", "#/overview", "Overview"], ["hosts", "#/hosts", "Hosts"], ["jobs", "#/jobs", "Jobs"],
    ["job", `#/jobs/${job}`, "primes"], ["stream", "#/stream", "Task stream"],
  ];
  const looks = [["light", 1200, 750, "light"], ["dark", 1200, 750, "dark"], ["narrow", 360, 740, "light"]];
  const pages = [];
  for (const [look, width, height, scheme] of looks) pages.push([look, await Page.open(chromium, await grid.link(), { width, height, scheme })]);
  await until(async () => (await grid.json(["job", "show", job])).dead > 0);
  for (const [name, fragment, heading] of shots) {
    for (const [look, page] of pages) {
      await page.go(fragment, heading);
      await page.tab.mouse.move(0, 0);
    }
    await new Promise((resolve) => setTimeout(resolve, name === "stream" ? 9000 : 4000));
    for (const [look, page] of pages) {
      const picture = await page.tab.screenshot();
      if (picture.length > PICTURE_BYTES_MAX) throw new Error(`${name}-${look}: ${picture.length} bytes`);
      await writeFile(join(folder, `${name}-${look}.png`), picture);
    }
  }
  for (const [, page] of pages) await page.close();
} finally {
  await chromium.close();
  await grid.stop();
}

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
  const range = (from, tasks) => Array.from({ length: tasks }, (_, at) => `[${from + at * 1000},${from + (at + 1) * 1000}]`);
  for (const name of ["echo", "primes"]) await grid.run(["module", "upload", join(modules, `${name}.wasm`)]);
  await grid.run(["worker", "spawn", "echo", "-n", "2"]);
  await grid.over(await grid.submit("primes.wasm", [...range(1000, 400), '"no range"'], ["--name", "primes below 400 000", "--retries", "1"]));
  const jobs = [
    await grid.submit("primes.wasm", range(4_000_000_000, 3000), ["--name", "primes above 4 billion"]),
    await grid.submit("primes.wasm", [...range(900_000_000, 3000), "1", "2", "3"], ["--name", "primes above 900 million", "--retries", "0"]),
    await grid.submit("primes.wasm", range(20_000_000, 5000), ["--name", "primes above 20 million"]),
  ];
  const shots = [
    ["overview", "#/overview", "Overview"], ["hosts", "#/hosts", "Hosts"], ["jobs", "#/jobs", "Jobs"],
    ["job", `#/jobs/${jobs[1]}`, "primes"], ["stream", "#/stream", "Task stream"],
  ];
  const looks = [["light", 1280, 800, "light"], ["dark", 1280, 800, "dark"], ["narrow", 360, 740, "light"]];
  const pages = [];
  for (const [look, width, height, scheme] of looks) pages.push([look, await Page.open(chromium, await grid.link(), { width, height, scheme })]);
  await until(async () => (await grid.json(["job", "show", jobs[1]])).dead > 0);
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

// The task stream draws 100 000 tasks, and a page that is left open does not grow.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Grid } from "./grid.js";
import { Page, browser } from "./page.js";

const TASKS = 100_000;

/** Fewest frames a second, drawn by a processor that others use, too. A graphics card is not needed for 60. */
const FRAMES_MIN = 20;

/** Seconds of ten hours, of each of which the stream tells. */
const TICKS = 36_000;

/** What the heap may have grown by after them, in bytes: caches of the engine, not what was told. */
const GROWTH_MAX = 4 << 20;

/** By how many nodes and listeners a document may have grown: the list of events is longer by chance. */
const NODES_MAX = 3000;
const LISTENERS_MAX = 400;

const VIEWS = [
  ["#/hosts", "Hosts"], ["#/jobs", "Jobs"], ["#/stream", "Task stream"], ["#/workers", "Workers"],
  ["#/modules", "Modules"], ["#/access", "Access"], ["#/audit", "Audit log"],
];

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

test("100 000 tasks are drawn, moved and zoomed", async () => {
  await page.go("#/stream", "Task stream");
  const figures = await page.tab.evaluate(async (tasks) => {
    const { feed } = await import("/page/stream.js");
    const [hosts, lanes, span] = [20, 6, 60e6];
    const now = feed.overview.unix_ms * 1000;
    const rounds = Math.ceil(tasks / hosts / lanes);
    const column = (value) => Array.from({ length: tasks }, (_, at) => value(at));
    const made = {
      end_unix_us: column((at) => now - span + (span / rounds) * (Math.floor(at / hosts / lanes) + 1)),
      ending: column((at) => (at % 50 ? 0 : 1)), host: column((at) => at % (hosts * lanes) % hosts),
      job: column((at) => at % (hosts * lanes) % 13), ran_us: column(() => (span / rounds) * 0.95),
      seq: column((at) => at + 1), stands_for: column(() => 1), task: column((at) => at),
    };
    const texts = (length, name) => Array.from({ length }, (_, at) => `${name}${at}`);
    for (let host = 0; host < hosts; host += 1) feed.samples.setSlots(`host-${host}`, lanes);
    feed.takeSamples({
      endings: ["done", "failed"], hosts: texts(hosts, "host-"), jobs: texts(13, "j"), missed: 0, next: 0, tasks: made,
    });
    const { taskStream: stream } = document.querySelector("canvas");
    stream.follow = false;
    Object.assign(stream, { right: now, span: span * 1.01 });
    const frames = stream.figures.frames;
    const began = performance.now();
    const took = [];
    let most = 0;
    await new Promise((resolve) => {
      const move = () => {
        stream.pan(span / 1e4);
        took.push(stream.figures.ms);
        most = Math.max(most, stream.figures.tasks);
        if (performance.now() - began < 4000) requestAnimationFrame(move);
        else resolve();
      };
      requestAnimationFrame(move);
    });
    const seconds = (performance.now() - began) / 1000;
    took.sort((one, other) => one - other);
    return { most, fps: (stream.figures.frames - frames) / seconds, median: took[took.length >> 1], slow: took[Math.floor(took.length * 0.95)] };
  }, TASKS);
  console.log(`the task stream: ${figures.most} tasks at ${figures.fps.toFixed(1)} frames a second; ` +
    `a frame takes ${figures.median.toFixed(1)} ms, of 95 in 100 less than ${figures.slow.toFixed(1)} ms`);
  assert.equal(figures.most, TASKS);
  assert.ok(figures.fps >= FRAMES_MIN, `${figures.fps} frames a second`);
});

/** Bytes of the heap, nodes of documents and listeners, after what nothing needs has been collected. */
async function measure(debug) {
  // Some of it is collected a round later, or between two tasks of the browser: the least counts.
  const least = { bytes: Infinity, nodes: Infinity, listeners: Infinity };
  for (let round = 0; round < 8; round += 1) {
    await debug.send("HeapProfiler.collectGarbage");
    await page.tab.waitForTimeout(200);
    const { nodes, jsEventListeners: listeners } = await debug.send("Memory.getDOMCounters");
    const { usedSize: bytes } = await debug.send("Runtime.getHeapUsage");
    for (const [name, value] of Object.entries({ bytes, nodes, listeners })) least[name] = Math.min(least[name], value);
  }
  return least;
}

/** Fails if there is more than there was, beyond what caches of the engine take. */
function assertNoMore(what, earlier, later) {
  const told = ({ bytes, nodes, listeners }) => `${(bytes / 2 ** 20).toFixed(1)} MiB, ${nodes} nodes, ${listeners} listeners`;
  console.log(`${what}: ${told(earlier)} before, ${told(later)} after`);
  assert.ok(later.bytes - earlier.bytes < GROWTH_MAX, `${what}: ${later.bytes - earlier.bytes} bytes more`);
  assert.ok(later.nodes - earlier.nodes < NODES_MAX, `${what}: ${later.nodes - earlier.nodes} nodes more`);
  assert.ok(later.listeners - earlier.listeners < LISTENERS_MAX, `${what}: ${later.listeners - earlier.listeners} listeners more`);
}

test("going to and fro between views leaves nothing behind", async () => {
  const debug = await page.context.newCDPSession(page.tab);
  const fro = async (times) => {
    for (let time = 0; time < times; time += 1) {
      for (const [fragment, heading] of VIEWS) await page.go(fragment, heading);
    }
    await page.go("#/overview", "Overview");
    await page.tab.waitForTimeout(1500);
  };
  await fro(2);
  const earlier = await measure(debug);
  await fro(12);
  assertNoMore("each view, 12 times", earlier, await measure(debug));
});

test("ten hours of events leave the heap as it was", async () => {
  const debug = await page.context.newCDPSession(page.tab);
  const told = async (from, to) => page.tab.evaluate(async ([first, last]) => {
    const { feed } = await import("/page/stream.js");
    const { overview, status } = feed;
    feed.close();
    for (let tick = first; tick < last; tick += 1) {
      const unix = overview.unix_ms + tick * 1000;
      // As text, as the stream brings it.
      const figures = JSON.stringify({ status, overview: { ...overview, unix_ms: Date.now(), newest_event: 1e9 } });
      const events = JSON.stringify({
        events: Array.from({ length: 3 }, (_, at) => ({
          bad: at === 0, host: `host-${tick % 500}`, job: `job-${tick}`, key: null, kind: "job-created", module: null, seq: tick * 3 + at,
          task: null, text: `job number ${tick} was created`, unix_ms: unix, worker: null,
        })), missed: 0, next: tick * 3 + 2,
      });
      const column = (value) => Array.from({ length: 20 }, (_, at) => value(at));
      const samples = JSON.stringify({
        endings: ["done"], hosts: column((at) => `host-${(tick + at) % 500}`), jobs: [`job-${tick}`], missed: 0, next: tick * 20,
        tasks: {
          end_unix_us: column((at) => unix * 1000 + at), ending: column(() => 0), host: column((at) => at),
          job: column(() => 0), ran_us: column(() => 300_000), seq: column((at) => tick * 20 + at),
          stands_for: column(() => 1), task: column((at) => at),
        },
      });
      feed.takeOverview(JSON.parse(figures));
      feed.takeEvents(JSON.parse(events));
      feed.takeSamples(JSON.parse(samples));
      if (tick % 200 === 0) await new Promise((resolve) => setTimeout(resolve));
    }
  }, [from, to]);
  for (const [fragment, heading] of [["#/overview", "Overview"], ["#/stream", "Task stream"]]) {
    await page.go(fragment, heading);
    // The rings are full after this, and all code has run.
    const full = 6000;
    await told(0, full);
    const earlier = await measure(debug);
    await told(full, full + TICKS);
    assertNoMore(`ten hours at ${fragment.slice(2)}`, earlier, await measure(debug));
  }
});

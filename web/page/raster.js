// The task stream as pixels: one line of pixels a lane, which the canvas stretches to the lane's height.
//
// What it costs depends on the pixels of the screen and, lightly, on the number of tasks; tasks that are narrower than
// a pixel fall together. 100 000 tasks take a few milliseconds on one core, without a graphics card.

/** Narrowest marks, in pixels: what failed must not vanish among what did not. */
const DONE_MIN = 1;
const FAILED_MIN = 5;

/** Tasks of this width or more leave a pixel free before them, so that neighbours can be told apart. */
const GAP_FROM = 4;

/** Places of failures, which are painted last: what comes after one must not hide it. */
let failures = new Uint32Array(0);

/** Rows of hosts: where the lanes of each host begin, in the order in which hosts are shown. */
export class Rows {
  constructor() {
    this.hosts = [];
    this.first = new Int32Array(0);
    this.total = 0;
  }

  /** Lays the hosts out that have sampled tasks, ordered by what `name` calls them. */
  lay(samples, name) {
    this.hosts = [...samples.hosts.byText]
      .map(([key, number]) => ({ key, number, name: name(key), lanes: samples.laneCount(number) }))
      .sort((one, other) => one.name.localeCompare(other.name, "en", { numeric: true }) || (one.key < other.key ? -1 : 1));
    this.first = new Int32Array(samples.hosts.texts.length).fill(-1);
    this.total = 0;
    for (const host of this.hosts) {
      host.first = this.total;
      this.first[host.number] = this.total;
      this.total += host.lanes;
    }
  }
}

/**
 * Paints what ended from `left` on and began before `left + span` (microseconds) into `pixels`, which has `width` pixels
 * for each of the lanes from `firstRow` on. `colours` are `{jobs, failed, lost, off}` as 32-bit pixels; those of failures
 * are pairs, which are hatched. `seen` counts tasks by job. Returns how many there are.
 */
export function paint(samples, rows, { left, span, firstRow, width, pixels }, colours, seen) {
  const height = Math.floor(pixels.length / width);
  const scale = width / span;
  const right = left + span;
  const { end, ran, host, job, lane, ending, capacity } = samples;
  const first = (at) => {
    const began = end[at] - ran[at];
    if (began <= left) return 0;
    const x = Math.floor((began - left) * scale);
    return ran[at] * scale >= GAP_FROM ? x + 1 : x;
  };
  const last = (at, x0, least) => Math.min(width, Math.max(Math.ceil((end[at] - left) * scale), x0 + least));
  let painted = 0;
  let failed = 0;
  if (failures.length < capacity) failures = new Uint32Array(capacity);
  pixels.fill(0);
  seen.fill(0);
  const from = samples.firstEndingFrom(left);
  for (let index = from, at = samples.place(from); index < samples.size; index += 1, at += 1) {
    if (at === capacity) at = 0;
    if (end[at] - samples.longest > right) break;
    const row = rows.first[host[at]] + lane[at] - firstRow;
    // A host that came after the rows were laid has none yet.
    if (end[at] - ran[at] > right || !(row >= 0 && row < height)) continue;
    painted += 1;
    seen[job[at]] += 1;
    if (ending[at]) {
      failures[failed] = at;
      failed += 1;
      continue;
    }
    const x0 = first(at);
    const x1 = last(at, x0, DONE_MIN);
    const colour = colours.jobs[job[at] % colours.jobs.length];
    const base = row * width;
    if (x1 - x0 < 8) for (let x = x0; x < x1; x += 1) pixels[base + x] = colour;
    else pixels.fill(colour, base + x0, base + x1);
  }
  for (let number = 0; number < failed; number += 1) {
    const at = failures[number];
    const base = (rows.first[host[at]] + lane[at] - firstRow) * width;
    const x0 = first(at);
    const x1 = last(at, x0, FAILED_MIN);
    if (ending[at] === 1) hatch(pixels, base, x0, x1, colours.failed, 2);
    else hatch(pixels, base, x0, x1, colours.lost, 4);
  }
  return painted;
}

function hatch(pixels, base, x0, x1, [light, dark], period) {
  for (let x = x0; x < x1; x += 1) pixels[base + x] = x % (2 * period) < period ? light : dark;
}

/** The index of the task at a row and moment, give or take `slack` microseconds; -1 if there is none. */
export function find(samples, rows, row, us, slack) {
  let nearest = -1;
  let best = Infinity;
  for (let index = samples.firstEndingFrom(us - slack); index < samples.size; index += 1) {
    const at = samples.place(index);
    if (samples.end[at] - samples.longest > us + slack) break;
    if (rows.first[samples.host[at]] + samples.lane[at] !== row) continue;
    const began = samples.end[at] - samples.ran[at];
    const away = us < began ? began - us : us > samples.end[at] ? us - samples.end[at] : 0;
    if (away <= slack && away < best) [nearest, best] = [index, away];
  }
  return nearest;
}

/** A colour `#rrggbb` as a 32-bit pixel. */
export function pixel(hex) {
  const number = Number.parseInt(hex.slice(1), 16);
  const [red, green, blue] = [number >> 16, (number >> 8) & 255, number & 255];
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

// The task stream on its canvas: time to the right, a line a lane, gestures and keys.

import { colour, fit } from "./chart.js";
import { fullTime, managerNow } from "./format.js";
import { Rows, find, paint, pixel } from "./raster.js";

/** How much of the past is shown at first, the least and the most, in microseconds. */
const SPAN_FIRST = 30e6;
const SPAN_MIN = 500;
const SPAN_MAX = 48 * 3600e6;

/** How far behind the manager's clock the right edge runs: samples come each second, and shall not pop up in sight. */
const LAG_US = 1.2e6;

/** Heights in CSS pixels. */
const AXIS = 24;
const LANE_MIN = 4;
const LANE_MAX = 18;

export const JOB_COLOURS = 10;

export class TaskStream {
  /** `act` has `open(entry)`, `hover(entry, x, y)`, `changed()` and `hostName(key)`. */
  constructor(canvas, samples, act) {
    Object.assign(this, { canvas, samples, act });
    this.rows = new Rows();
    this.span = SPAN_FIRST;
    this.follow = true;
    this.right = this.now();
    this.top = 0;
    this.dirty = true;
    this.picture = document.createElement("canvas");
    this.seen = new Uint32Array(0);
    /** For those who measure: frames that were drawn, tasks in the last, and how long it took. */
    this.figures = { frames: 0, tasks: 0, ms: 0 };
    this.takeColours();
  }

  now() {
    return managerNow() * 1000 - LAG_US;
  }

  /** Draws until the signal ends it, each frame in which something has moved by a pixel. */
  run(signal) {
    this.listen(signal);
    const still = matchMedia("(prefers-reduced-motion: reduce)");
    const frame = () => {
      if (signal.aborted) return;
      if (!document.hidden) this.step(still.matches);
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  step(still) {
    if (this.follow) {
      const now = this.now();
      const least = still ? 1e6 : this.span / (this.wide || 1000);
      if (Math.abs(now - this.right) >= least) [this.right, this.dirty] = [now, true];
    }
    if (this.version !== this.samples.version) {
      this.version = this.samples.version;
      this.dirty = true;
    }
    if (this.dirty) {
      this.dirty = false;
      this.draw();
    }
  }

  takeColours() {
    const pair = (name) => [pixel(colour(name)), pixel(colour(`${name}-dark`))];
    const jobs = Array.from({ length: JOB_COLOURS }, (_, at) => pixel(colour(`job-${at}`)));
    this.colours = { jobs, failed: pair("failed"), lost: pair("lost") };
    this.dirty = true;
  }

  /** Lays the rows out anew, after samples came or names changed. */
  lay() {
    this.rows.lay(this.samples, this.act.hostName);
    this.dirty = true;
  }

  draw() {
    const began = performance.now();
    const { context, width, height, scale } = fit(this.canvas);
    const gutter = width < 560 ? 72 : 150;
    const wide = Math.max(1, width - gutter);
    const space = height - AXIS;
    const lane = Math.min(LANE_MAX, Math.max(LANE_MIN, Math.floor(space / Math.max(1, this.rows.total))));
    Object.assign(this, { gutter, wide, lane, space });
    this.top = Math.max(0, Math.min(this.top, this.rows.total * lane - space));
    const firstRow = Math.floor(this.top / lane);
    const shift = firstRow * lane - this.top;
    const shown = Math.min(this.rows.total - firstRow, Math.ceil((space - shift) / lane));
    const left = this.right - this.span;
    context.fillStyle = colour("surface");
    context.fillRect(0, 0, width, height);
    this.figures.tasks = 0;
    if (shown > 0) {
      const across = Math.round(wide * scale);
      this.paint(across, shown, left, firstRow);
      context.imageSmoothingEnabled = false;
      context.drawImage(this.picture, 0, 0, across, shown, gutter, AXIS + shift, wide, shown * lane);
      this.drawLines(context, firstRow, shown, AXIS + shift, width);
    }
    this.drawNames(context, AXIS + shift - firstRow * lane, height);
    this.drawAxis(context, left, width, height);
    this.figures.frames += 1;
    this.figures.ms = performance.now() - began;
  }

  paint(across, shown, left, firstRow) {
    if (this.picture.width !== across || this.picture.height < shown || !this.image) {
      [this.picture.width, this.picture.height] = [across, Math.max(shown, this.picture.height)];
      this.image = null;
    }
    const pen = this.picture.getContext("2d");
    if (this.image?.height !== shown) {
      this.image = pen.createImageData(across, shown);
      this.pixels = new Uint32Array(this.image.data.buffer);
    }
    const jobs = this.samples.jobs.texts.length;
    if (this.seen.length < jobs) this.seen = new Uint32Array(jobs + 64);
    const window = { left, span: this.span, firstRow, width: across, pixels: this.pixels };
    this.figures.tasks = paint(this.samples, this.rows, window, this.colours, this.seen);
    pen.putImageData(this.image, 0, 0);
  }

  drawLines(context, firstRow, shown, from, width) {
    if (this.lane >= 5) {
      context.fillStyle = colour("surface");
      for (let row = 1; row <= shown; row += 1) context.fillRect(this.gutter, from + row * this.lane - 1, width, 1);
    }
    context.fillStyle = colour("line");
    for (const host of this.rows.hosts) {
      const row = host.first - firstRow;
      if (row >= 0 && row <= shown) context.fillRect(0, from + row * this.lane - 1, width, 1);
    }
  }

  drawNames(context, origin, height) {
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    context.textAlign = "left";
    context.fillStyle = colour("text");
    let below = AXIS;
    for (const host of this.rows.hosts) {
      const y = Math.max(origin + host.first * this.lane, AXIS) + 8;
      const bottom = origin + (host.first + host.lanes) * this.lane;
      if (bottom < AXIS + 8 || y > height || y - 6 < below) continue;
      context.fillText(shorten(context, host.name, this.gutter - 14), 8, y);
      below = y + 6;
    }
  }

  drawAxis(context, left, width, height) {
    context.fillStyle = colour("surface");
    context.fillRect(0, 0, width, AXIS - 1);
    const step = niceStep((this.span / this.wide) * 90);
    context.fillStyle = colour("quiet");
    context.textBaseline = "middle";
    context.textAlign = "left";
    const x = (us) => this.gutter + ((us - left) / this.span) * this.wide;
    for (let us = Math.ceil(left / step) * step; us < this.right; us += step) {
      const at = Math.round(x(us));
      context.globalAlpha = 0.25;
      context.fillRect(at, AXIS, 1, height);
      context.globalAlpha = 1;
      context.fillRect(at, AXIS - 6, 1, 6);
      if (at + 70 < width) context.fillText(clock(us, step), at + 4, 10);
    }
    context.fillStyle = colour("line");
    context.fillRect(0, AXIS - 1, width, 1);
    context.fillRect(this.gutter - 1, 0, 1, height);
  }

  /** Zooms by a factor about a place, in CSS pixels from the canvas's left; about the right edge without one. */
  zoom(factor, x = null) {
    const span = Math.min(SPAN_MAX, Math.max(SPAN_MIN, this.span * factor));
    const about = x === null || this.follow ? 1 : Math.max(0, Math.min(1, (x - this.gutter) / this.wide));
    this.right += (this.span - span) * (about - 1);
    this.span = span;
    this.dirty = true;
    this.act.changed();
  }

  pan(us, down = 0) {
    if (us !== 0) this.follow = false;
    this.right = Math.min(this.right + us, this.now() + this.span / 2);
    this.top += down;
    this.dirty = true;
    this.act.changed();
  }

  followNow() {
    this.follow = true;
    this.dirty = true;
    this.act.changed();
  }

  /** Shows everything that there is. */
  showAll() {
    if (this.samples.size === 0) return;
    const oldest = this.samples.end[this.samples.place(0)] - this.samples.ran[this.samples.place(0)];
    this.follow = true;
    this.right = this.now();
    this.span = Math.min(SPAN_MAX, Math.max(SPAN_MIN, (this.right - oldest) * 1.02));
    this.dirty = true;
    this.act.changed();
  }

  /** The task at a place of the canvas; null if there is none. */
  at(x, y) {
    if (x < this.gutter || y < AXIS) return null;
    const row = Math.floor((y - AXIS + this.top) / this.lane);
    const a_pixel = this.span / this.wide;
    const us = this.right - this.span + (x - this.gutter) * a_pixel;
    const index = find(this.samples, this.rows, row, us, 3 * a_pixel);
    return index < 0 ? null : this.samples.entry(index);
  }

  listen(signal) {
    const { canvas } = this;
    const pointers = new Map();
    let moved = 0;
    const on = (name, act, more = {}) => canvas.addEventListener(name, act, { signal, ...more });
    const where = (event) => {
      const box = canvas.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    };
    on("wheel", (event) => {
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 16 : 1;
      if (event.shiftKey) this.pan(0, (event.deltaY || event.deltaX) * lines);
      else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.pan((event.deltaX * lines * this.span) / this.wide);
      else this.zoom(1.0015 ** (event.deltaY * lines * (event.ctrlKey ? 4 : 1)), where(event).x);
    }, { passive: false });
    on("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, where(event));
      if (pointers.size === 1) moved = 0;
    });
    on("pointermove", (event) => {
      const now = where(event);
      const before = pointers.get(event.pointerId);
      if (!before) {
        const entry = this.at(now.x, now.y);
        canvas.classList.toggle("points", Boolean(entry));
        this.act.hover(entry, now.x, now.y);
        return;
      }
      pointers.set(event.pointerId, now);
      if (pointers.size === 2) this.pinch(pointers, event.pointerId, before);
      else this.drag(now, before, (moved += Math.abs(now.x - before.x) + Math.abs(now.y - before.y)));
    });
    const up = (event) => {
      const was = pointers.get(event.pointerId);
      pointers.delete(event.pointerId);
      if (event.type !== "pointerup" || !was || moved > 4 || pointers.size > 0) return;
      const entry = this.at(was.x, was.y);
      if (entry) this.act.open(entry);
    };
    on("pointerup", up);
    on("pointercancel", up);
    on("pointerleave", () => this.act.hover(null));
    on("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !this.key(event.key)) return;
      event.preventDefault();
    });
    new ResizeObserver(() => {
      this.dirty = true;
    }).observe(canvas);
  }

  drag(now, before, moved) {
    if (moved <= 4) return;
    const dx = now.x - before.x;
    this.act.hover(null);
    this.pan((-dx * this.span) / this.wide, before.y - now.y);
  }

  pinch(pointers, id, before) {
    const [other] = [...pointers].filter(([key]) => key !== id).map(([, place]) => place);
    const now = pointers.get(id);
    const apart = (one) => Math.max(10, Math.hypot(one.x - other.x, one.y - other.y));
    this.zoom(apart(before) / apart(now), (now.x + other.x) / 2);
  }

  key(name) {
    const step = this.span / 8;
    const acts = {
      "+": () => this.zoom(1 / 1.5), "=": () => this.zoom(1 / 1.5), "-": () => this.zoom(1.5),
      ArrowLeft: () => this.pan(-step), ArrowRight: () => this.pan(step),
      ArrowUp: () => this.pan(0, -4 * this.lane), ArrowDown: () => this.pan(0, 4 * this.lane),
      PageUp: () => this.pan(0, -this.space), PageDown: () => this.pan(0, this.space),
      Home: () => this.followNow(), a: () => this.showAll(),
    };
    if (!Object.hasOwn(acts, name)) return false;
    acts[name]();
    return true;
  }
}

function niceStep(us) {
  const steps = [1e6, 2e6, 5e6, 1e7, 1.5e7, 3e7, 6e7, 1.2e8, 3e8, 6e8, 9e8, 1.8e9, 3.6e9, 1.08e10, 2.16e10, 4.32e10];
  const longer = steps.find((step) => step >= us);
  if (us >= 1e6) return longer ?? steps.at(-1);
  const power = 10 ** Math.floor(Math.log10(us));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= us) ?? 1e6;
}

function clock(us, step) {
  const time = fullTime(us / 1000).slice(-8);
  if (step >= 1e6) return time;
  const digits = step >= 1e3 ? 3 : 6;
  return `${time.slice(3)}.${String(Math.floor((us % 1e6) + 0.5)).padStart(6, "0").slice(0, digits)}`;
}

const shortened = new Map();

/** A text cut to a width, with an ellipsis. */
function shorten(context, text, width) {
  const known = shortened.get(text);
  if (known?.width === width) return known.text;
  if (shortened.size > 2000) shortened.clear();
  let cut = text;
  while (cut.length > 1 && context.measureText(cut).width > width) cut = `${cut.slice(0, -2)}…`;
  shortened.set(text, { width, text: cut });
  return cut;
}

// How times, durations, bytes and numbers are written.

import { h } from "./dom.js";

const whole = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 1 });
const full = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" });

/** 12 345 as `12 345`, with a thin space that does not break. */
export function count(number) {
  return Number.isFinite(number) ? whole.format(number).replaceAll(",", "\u202f") : "–";
}

/** A rate a second: `3.4`, `1 200`. */
export function rate(number) {
  if (!Number.isFinite(number)) return "–";
  return number > 0 && number < 10 ? tenth.format(number) : count(number);
}

/** Microseconds as `15 µs`, `1.5 ms`, `3.2 s`, `2 min 5 s`, `3 h 4 min`, `5 d 2 h`. */
export function duration(us) {
  if (!Number.isFinite(us)) return "–";
  if (us < 1000) return `${Math.round(us)} µs`;
  if (us < 1e6) return `${short(us / 1e3)} ms`;
  if (us < 6e7) return `${short(us / 1e6)} s`;
  const seconds = Math.round(us / 1e6);
  if (seconds < 3600) return pair(Math.floor(seconds / 60), "min", seconds % 60, "s");
  const minutes = Math.round(seconds / 60);
  if (minutes < 1440) return pair(Math.floor(minutes / 60), "h", minutes % 60, "min");
  const hours = Math.round(minutes / 60);
  return pair(Math.floor(hours / 24), "d", hours % 24, "h");
}

function short(number) {
  return number < 9.95 ? number.toFixed(1) : String(Math.round(number));
}

function pair(large, one, small, other) {
  return small ? `${large} ${one} ${small} ${other}` : `${large} ${one}`;
}

/** Bytes as `512 B`, `1.5 KiB`, `20 MiB`. */
export function bytes(number) {
  if (!Number.isFinite(number)) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (number >= 1024 && unit < units.length - 1) {
    number /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? number : short(number)} ${units[unit]}`;
}

/** The difference between the manager's clock and this one, in milliseconds; the overview sets it. */
let skew = 0;

/** Notes the manager's time. */
export function setManagerTime(unixMs) {
  const measured = unixMs - Date.now();
  skew = Math.abs(measured - skew) > 2000 ? measured : skew + (measured - skew) / 8;
}

/** The manager's time, in milliseconds since 1970. */
export function managerNow() {
  return Date.now() + skew;
}

/** A moment as a full date and time in the reader's zone. */
export function fullTime(unixMs) {
  return full.format(new Date(unixMs));
}

/** How long ago a moment was, or in how long it will be. */
export function relative(unixMs) {
  const away = managerNow() - unixMs;
  if (Math.abs(away) < 1500) return "now";
  const text = coarse(Math.abs(away));
  return away > 0 ? `${text} ago` : `in ${text}`;
}

function coarse(ms) {
  const seconds = ms / 1000;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

/** A `<time>` that says how long ago; `keepTimes` keeps it right. */
export function ago(unixMs) {
  const date = new Date(unixMs);
  if (Number.isNaN(date.getTime())) return "–";
  return h("time", { datetime: date.toISOString(), title: fullTime(unixMs), "data-unix": unixMs }, relative(unixMs));
}

/** Brings every `<time>` of the page up to date. */
export function keepTimes() {
  for (const time of document.querySelectorAll("time[data-unix]")) {
    const text = relative(Number(time.dataset.unix));
    if (time.textContent !== text) time.textContent = text;
  }
}

/** The beginning of a key, digest or id, whose whole is in the title. */
export function brief(id, length = 12) {
  return h("code", { title: id, class: "brief" }, briefText(id, length));
}

/** The beginning of a key, digest or id. */
export function briefText(id, length = 12) {
  return id.length > length + 2 ? `${id.slice(0, length)}…` : id;
}

/** The walls around guests on a host, as it tells them: `process, landlock`. */
export function wallsText(host) {
  return host.walls.join(", ") || "none";
}

/** A number of things: `1 task`, `2 tasks`. */
export function things(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

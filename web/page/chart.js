// Small charts on a canvas: figures by second.

import { h } from "./dom.js";
import { count } from "./format.js";

/** The colour that a custom property of the style sheet has now. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Fits a canvas to its box on this screen; returns its context, width and height in CSS pixels. */
export function fit(canvas) {
  const scale = Math.min(window.devicePixelRatio || 1, 2);
  const { clientWidth: width, clientHeight: height } = canvas;
  const [wide, high] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  return { context, width, height, scale };
}

/** A chart of what was done and what failed in each second. Returns `{element, update(done, failed)}`. */
export function rateChart(label) {
  const canvas = h("canvas", { class: "chart", role: "img", "aria-label": label });
  let [done, failed] = [[], []];
  const draw = () => {
    if (canvas.isConnected && !document.hidden) drawRates(canvas, done, failed);
  };
  new ResizeObserver(draw).observe(canvas);
  return {
    element: canvas,
    redraw: draw,
    update(newDone, newFailed) {
      [done, failed] = [newDone, newFailed];
      const [now, most] = [done.at(-1) ?? 0, Math.max(0, ...done)];
      const failures = failed.reduce((sum, number) => sum + number, 0);
      canvas.setAttribute("aria-label",
        `${label}: ${count(now)} in the last second, at most ${count(most)}; ${count(failures)} failed or lost`);
      draw();
    },
  };
}

/** A round number that is not below this one: 1, 2 or 5 times a power of ten. */
export function roundUp(number) {
  if (number <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(number));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= number * 0.999) ?? 10 * power;
}

function drawRates(canvas, done, failed) {
  const { context, width, height } = fit(canvas);
  context.clearRect(0, 0, width, height);
  const [left, bottom, top] = [46, height - 18, 8];
  const most = roundUp(Math.max(1, ...done, ...failed));
  const seconds = Math.max(done.length, 60);
  const x = (at, of) => left + ((seconds - of + at) / seconds) * (width - left - 2);
  const y = (value) => bottom - (value / most) * (bottom - top);
  context.font = "11px system-ui, sans-serif";
  context.fillStyle = colour("quiet");
  context.strokeStyle = colour("line");
  context.lineWidth = 1;
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const value of [0, most / 2, most]) {
    context.beginPath();
    context.moveTo(left, Math.round(y(value)) + 0.5);
    context.lineTo(width, Math.round(y(value)) + 0.5);
    context.stroke();
    context.fillText(value < 10 ? String(Number(value.toFixed(1))) : count(value), left - 6, y(value));
  }
  context.textBaseline = "alphabetic";
  for (let back = 0; back < seconds; back += Math.max(15, Math.ceil(seconds / 8 / 15) * 15)) {
    context.textAlign = back === 0 ? "right" : "center";
    context.fillText(back === 0 ? "now" : `−${back} s`, x(seconds - back, seconds), height - 4);
  }
  if (done.length > 0) {
    area(context, done, x, y, bottom);
    bars(context, failed, x, y, bottom, (width - left) / seconds);
  }
}

function area(context, values, x, y, bottom) {
  context.beginPath();
  values.forEach((value, at) => context.lineTo(x(at + 1, values.length), y(value)));
  context.strokeStyle = colour("accent");
  context.lineWidth = 1.5;
  context.stroke();
  context.lineTo(x(values.length, values.length), bottom);
  context.lineTo(x(1, values.length), bottom);
  context.closePath();
  context.fillStyle = colour("accent-soft");
  context.fill();
}

function bars(context, values, x, y, bottom, wide) {
  context.fillStyle = colour("bad");
  values.forEach((value, at) => {
    if (value > 0) {
      const high = Math.max(2, bottom - y(value));
      context.fillRect(x(at + 1, values.length) - wide, bottom - high, Math.max(1, wide - 1), high);
    }
  });
}

/** A bar of parts of a whole, with what it says as text for those who do not see it. */
export function progressBar(parts, whole, text) {
  const bar = h("span", { class: "progress", role: "img", "aria-label": text });
  for (const [name, number] of parts) {
    if (number > 0 && whole > 0) bar.append(h("span", { class: `part is-${name}`, css: { width: `${(100 * number) / whole}%` } }));
  }
  return bar;
}

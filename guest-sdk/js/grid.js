// Write a grid worker in JavaScript: a class with `handleMsg`, and one line that exports it.
//
//     import { worker, send, fail } from "grid";
//
//     class Adder {
//       sum = 0;
//       handleMsg(value) {
//         if (typeof value !== "number") return fail("expected a number");
//         send((this.sum += value));
//       }
//     }
//
//     export const { start, handleMsg, loop, stop } = worker(Adder);
//
// What each thing here does stands in `grid.d.ts`, where editors find it.

import * as calls from "grid:worker/calls@1.0.0";

import "./globals.js";
import { decode, encode } from "./cbor.js";
import { seed } from "./random.js";

export { decode, encode, Tagged } from "./cbor.js";
export { log } from "./globals.js";

export function send(value) {
  sendRaw(encode(value));
}

export function sendRaw(message) {
  calls.send(typeof message === "string" ? new TextEncoder().encode(message) : message);
  answered = true;
}

export function fail(reason) {
  calls.fail(String(reason));
  answered = true;
}

export function worker(definition) {
  const isClass = typeof definition === "function";
  const raw = Boolean(definition.raw);
  let instance = isClass ? undefined : definition;
  return {
    start: guarded("init", (args) => {
      seed();
      // Not at build time, where the snapshot is taken: each worker starts afresh.
      if (isClass) instance = new definition();
      return instance.init?.(args);
    }),
    handleMsg: guarded("handleMsg", (message) => {
      answered = false;
      let value = message;
      if (!raw) {
        try {
          value = decode(message);
        } catch (error) {
          return fail(error.message);
        }
      }
      return instance.handleMsg(value);
    }),
    loop: guarded("loop", () => {
      if (!instance.loop) return "idle";
      const more = instance.loop();
      if (more instanceof Promise) return more;
      if (more === undefined) return answered ? "later" : "again";
      return more ? "again" : "idle";
    }),
    stop: guarded("stop", () => instance.stop?.()),
  };
}

/** Whether the message at hand got something; there is none before the first. */
let answered = true;

/** A call whose exceptions are in the log before they end the worker. */
function guarded(name, call) {
  return (argument) => {
    try {
      const result = call(argument);
      // Nobody would ever go on with it: what the host calls ends when it returns.
      if (result instanceof Promise) throw new TypeError(`${name} must not be async`);
      return result;
    } catch (error) {
      calls.log("error", describe(error));
      throw error;
    }
  };
}

/** An exception, and where it came from. */
function describe(error) {
  const stack = error instanceof Error && error.stack ? `\n${error.stack}`.trimEnd() : "";
  return `uncaught ${error}${stack}`;
}

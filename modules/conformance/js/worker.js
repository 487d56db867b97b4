// Does what the first byte of a message says with the rest of it, so that a test can hold the SDK to the guest ABI.

import { decode, encode, fail, log, sendRaw, worker } from "grid";

class Conformance {
  static raw = true;

  args = new Uint8Array();
  count = 0;
  turns = 0;
  left = -1;

  init(args) {
    this.args = args;
    if (text(args) === "refuse") fail("refused");
  }

  handleMsg(message) {
    if (!message.length) return sendRaw(message);
    const body = message.subarray(1);
    switch (String.fromCharCode(message[0])) {
      case "=":
        return sendRaw(body);
      case "+":
        return sendRaw(String(++this.count));
      case "*":
        for (let i = 0, n = number(body); i < n; i++) sendRaw(String(i));
        return;
      case "a":
        return sendRaw(this.args);
      case "l":
        this.left = this.turns = number(body);
        return;
      case "f":
        return fail(text(body));
      case "g":
        for (const level of ["error", "warn", "info", "debug", "trace"]) log[level](text(body));
        return sendRaw("logged");
      case "o":
        console.log(text(body));
        console.error(text(body));
        return sendRaw("written");
      case "t":
        return trap(body);
      case "m":
        return allocate(number(body));
      case "c":
        return withValue(body, (value) => sendRaw(encode(value)));
      case "n":
        return withValue(body, (value) => sendRaw(typeName(value)));
      default:
        return fail("unknown request");
    }
  }

  loop() {
    if (this.left > 0) {
      this.left--;
      return true;
    }
    if (this.left === 0) sendRaw(`turns:${this.turns}`);
    this.left = -1;
    return false;
  }

  stop() {
    log.info("stopped");
  }
}

function text(bytes) {
  return new TextDecoder().decode(bytes);
}

/** The number that is written in a body. */
function number(body) {
  return Number.parseInt(text(body), 10) || 0;
}

function trap(body) {
  deliberateTrap(text(body));
}

function deliberateTrap(reason) {
  throw new Error(reason);
}

/** Keeps so many pieces of 1 MiB. The engine throws when it is refused memory, and has some again after that. */
function allocate(pieces) {
  const kept = [];
  try {
    for (let i = 0; i < pieces; i++) kept.push(new Uint8Array(1 << 20).fill(0xa5));
  } catch (error) {
    const reached = kept.length;
    kept.length = 0;
    return fail(`no memory after ${reached} MiB: ${error.message}`);
  }
  sendRaw("allocated");
}

/** Does something with the value of a body, if it has one. */
function withValue(body, use) {
  let value;
  try {
    value = decode(body);
  } catch (error) {
    return fail(error.message);
  }
  use(value);
}

function typeName(value) {
  return typeof value === "object" && value ? value.constructor.name : value === null ? "null" : typeof value;
}

export const { start, handleMsg, loop, stop } = worker(Conformance);

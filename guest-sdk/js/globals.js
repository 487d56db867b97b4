// What JavaScript has everywhere but in a bare engine: a console, and UTF-8.

import * as calls from "grid:worker/calls@1.0.0";

/** The worker's log, at its five levels. */
export const log = {
  error: (line) => calls.log("error", String(line)),
  warn: (line) => calls.log("warn", String(line)),
  info: (line) => calls.log("info", String(line)),
  debug: (line) => calls.log("debug", String(line)),
  trace: (line) => calls.log("trace", String(line)),
};

function line(values) {
  return values.map(show).join(" ");
}

function show(value) {
  if (typeof value === "string") return value;
  if (value instanceof Error) return `${value}\n${value.stack ?? ""}`.trimEnd();
  if (typeof value !== "object" || value === null) return String(value);
  try {
    return JSON.stringify(value, (_, inner) => (typeof inner === "bigint" ? String(inner) : inner));
  } catch {
    // It holds itself.
    return String(value);
  }
}

globalThis.console ??= {
  log: (...values) => log.info(line(values)),
  info: (...values) => log.info(line(values)),
  error: (...values) => log.error(line(values)),
  warn: (...values) => log.warn(line(values)),
  debug: (...values) => log.debug(line(values)),
  trace: (...values) => log.trace(line(values)),
};

globalThis.TextEncoder ??= class TextEncoder {
  get encoding() {
    return "utf-8";
  }

  encode(text = "") {
    text = String(text);
    // No character of a string takes more than three bytes: those of four are two there.
    const bytes = new Uint8Array(text.length * 3);
    let length = 0;
    for (let i = 0; i < text.length; i++) {
      let code = text.charCodeAt(i);
      if (code >= 0xd800 && code < 0xe000) {
        const low = code < 0xdc00 && i + 1 < text.length ? text.charCodeAt(i + 1) : 0;
        const pair = low >= 0xdc00 && low < 0xe000;
        code = pair ? 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00) : 0xfffd;
        if (pair) i++;
      }
      if (code < 0x80) {
        bytes[length++] = code;
      } else if (code < 0x800) {
        bytes[length++] = 0xc0 | (code >> 6);
        bytes[length++] = 0x80 | (code & 63);
      } else if (code < 0x10000) {
        bytes[length++] = 0xe0 | (code >> 12);
        bytes[length++] = 0x80 | ((code >> 6) & 63);
        bytes[length++] = 0x80 | (code & 63);
      } else {
        bytes[length++] = 0xf0 | (code >> 18);
        bytes[length++] = 0x80 | ((code >> 12) & 63);
        bytes[length++] = 0x80 | ((code >> 6) & 63);
        bytes[length++] = 0x80 | (code & 63);
      }
    }
    return bytes.slice(0, length);
  }
};

/** Characters that one call makes of their codes: a call takes no more arguments than the stack has room for. */
const PIECE = 4096;

globalThis.TextDecoder ??= class TextDecoder {
  constructor(label = "utf-8", { fatal = false, ignoreBOM = false } = {}) {
    if (!/^utf-?8$/i.test(label)) throw new RangeError(`only UTF-8 is here, not ${label}`);
    this.encoding = "utf-8";
    this.fatal = fatal;
    this.ignoreBOM = ignoreBOM;
  }

  decode(input = new Uint8Array()) {
    const bytes = ArrayBuffer.isView(input)
      ? new Uint8Array(input.buffer, input.byteOffset, input.byteLength)
      : new Uint8Array(input);
    const mark = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
    let text = "";
    let units = [];
    for (let at = mark && !this.ignoreBOM ? 3 : 0; at < bytes.length; ) {
      const first = bytes[at];
      const length = first < 0x80 ? 1 : sequence(bytes, at);
      if (length < 0 && this.fatal) throw new TypeError("text that is not UTF-8");
      if (length < 0) units.push(0xfffd);
      else if (length === 1) units.push(first);
      else if (length === 2) units.push(((first & 31) << 6) | (bytes[at + 1] & 63));
      else {
        const last = ((bytes[at + length - 2] & 63) << 6) | (bytes[at + length - 1] & 63);
        const code =
          length === 3 ? ((first & 15) << 12) | last : ((first & 7) << 18) | ((bytes[at + 1] & 63) << 12) | last;
        if (code < 0x10000) units.push(code);
        else units.push(0xd7c0 + (code >> 10), 0xdc00 | (code & 0x3ff));
      }
      at += Math.abs(length);
      if (units.length >= PIECE) {
        text += String.fromCharCode.apply(null, units);
        units = [];
      }
    }
    return text + String.fromCharCode.apply(null, units);
  }
};

/**
 * How many bytes the character at a place takes; below zero, how many to leave out, because they are none: no stray
 * or missing byte, no longer form than needed, no surrogate, nothing above 10FFFF.
 */
function sequence(bytes, at) {
  const first = bytes[at];
  const length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (!length) return -1;
  const low = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  const high = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  if (!(bytes[at + 1] >= low && bytes[at + 1] <= high)) return -1;
  for (let i = 2; i < length; i++) {
    if ((bytes[at + i] & 0xc0) !== 0x80) return -i;
  }
  return length;
}

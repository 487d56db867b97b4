// CBOR (RFC 8949), to JavaScript's own values and back.
//
// A message may be hostile: `decode` makes room for what is there, never for what a length claims, and throws an
// `Error` where the input is broken. Nesting ends at a bound, because an engine that runs out of stack in here could
// not be caught.

/** How deep lists, maps and tags may stand in each other. */
const DEPTH_MAX = 64;

/** A value that a tag says more about. Tags 2 and 3 are a `BigInt` instead. */
export class Tagged {
  constructor(tag, value) {
    this.tag = tag;
    this.value = value;
  }
}

export function encode(value) {
  const out = new Writer();
  out.value(value, 0);
  return out.bytes.subarray(0, out.length);
}

export function decode(bytes) {
  const reader = new Reader(bytes);
  const value = reader.item(0);
  if (reader.left) throw broken("more bytes after the value");
  return value;
}

class Writer {
  bytes = new Uint8Array(64);
  length = 0;

  value(value, depth) {
    if (depth > DEPTH_MAX) throw new RangeError("a value that is nested too deep for CBOR");
    switch (typeof value) {
      case "number":
        return this.number(value);
      case "bigint":
        return this.bigint(value);
      case "string":
        return this.chunk(3, new TextEncoder().encode(value));
      case "boolean":
        return this.room(1).setUint8(0, value ? 0xf5 : 0xf4);
      case "undefined":
        return this.room(1).setUint8(0, 0xf7);
      case "object":
        return value === null ? this.room(1).setUint8(0, 0xf6) : this.object(value, depth + 1);
      default:
        throw new TypeError(`CBOR has no ${typeof value}`);
    }
  }

  object(value, depth) {
    if (Array.isArray(value)) {
      this.head(4, value.length);
      for (const item of value) this.value(item, depth);
    } else if (ArrayBuffer.isView(value)) {
      this.chunk(2, new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
    } else if (value instanceof ArrayBuffer) {
      this.chunk(2, new Uint8Array(value));
    } else if (value instanceof Tagged) {
      this.head(6, value.tag);
      this.value(value.value, depth);
    } else {
      const entries = value instanceof Map ? [...value] : Object.entries(value);
      this.head(5, entries.length);
      for (const [key, inner] of entries) {
        this.value(key, depth);
        this.value(inner, depth);
      }
    }
  }

  number(number) {
    if (Number.isSafeInteger(number) && !Object.is(number, -0)) {
      return number < 0 ? this.head(1, -1 - number) : this.head(0, number);
    }
    if (Number.isNaN(number)) {
      const view = this.room(3);
      view.setUint8(0, 0xf9);
      view.setUint16(1, 0x7e00);
    } else if (Math.fround(number) === number) {
      const view = this.room(5);
      view.setUint8(0, 0xfa);
      view.setFloat32(1, number);
    } else {
      const view = this.room(9);
      view.setUint8(0, 0xfb);
      view.setFloat64(1, number);
    }
  }

  bigint(number) {
    const argument = number < 0n ? -1n - number : number;
    if (argument < 1n << 64n) return this.head(number < 0n ? 1 : 0, argument);
    const hex = argument.toString(16);
    const digits = hex.length % 2 ? `0${hex}` : hex;
    const bytes = new Uint8Array(digits.length / 2);
    for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(digits.slice(2 * i, 2 * i + 2), 16);
    this.head(6, number < 0n ? 3 : 2);
    this.chunk(2, bytes);
  }

  chunk(major, bytes) {
    this.head(major, bytes.length);
    this.room(bytes.length);
    this.bytes.set(bytes, this.length - bytes.length);
  }

  /** The head of an item: its major type and its argument. */
  head(major, argument) {
    const high = major << 5;
    if (argument < 24) {
      this.room(1).setUint8(0, high | Number(argument));
    } else if (argument < 0x100) {
      this.room(2).setUint16(0, ((high | 24) << 8) | Number(argument));
    } else if (argument < 0x10000) {
      const view = this.room(3);
      view.setUint8(0, high | 25);
      view.setUint16(1, Number(argument));
    } else if (argument < 0x100000000) {
      const view = this.room(5);
      view.setUint8(0, high | 26);
      view.setUint32(1, Number(argument));
    } else {
      const view = this.room(9);
      view.setUint8(0, high | 27);
      view.setBigUint64(1, BigInt(argument));
    }
  }

  /** Room for so many bytes more. */
  room(size) {
    const start = this.length;
    this.length += size;
    if (this.length > this.bytes.length) {
      const bytes = new Uint8Array(Math.max(this.length, 2 * this.bytes.length));
      bytes.set(this.bytes.subarray(0, start));
      this.bytes = bytes;
    }
    return new DataView(this.bytes.buffer, start, size);
  }
}

/** What `item` gives for the end of an endless item. */
const END = Symbol("end");

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

class Reader {
  at = 0;

  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get left() {
    return this.bytes.length - this.at;
  }

  item(depth, mayEnd = false) {
    if (depth > DEPTH_MAX) throw broken("nested too deep");
    const first = this.view.getUint8(this.take(1));
    const major = first >> 5;
    const info = first & 31;
    if (major === 7) {
      if (info === 31 && mayEnd) return END;
      return this.simple(info);
    }
    const endless = info === 31;
    if (endless && (major < 2 || major === 6)) throw broken("an integer or a tag without an end");
    const argument = endless ? Infinity : this.argument(info);
    switch (major) {
      case 0:
        return argument;
      case 1:
        return negative(argument);
      case 2:
        return endless ? joined(this.pieces(2)) : this.piece(2, argument);
      case 3:
        return endless ? this.pieces(3).join("") : this.piece(3, argument);
      case 4:
        return this.list(argument, depth + 1);
      case 5:
        return this.map(argument, depth + 1);
      default:
        return tagged(argument, this.item(depth + 1));
    }
  }

  simple(info) {
    if (info === 20 || info === 21) return info === 21;
    if (info === 22) return null;
    if (info === 23) return undefined;
    if (info === 25) return half(this.view.getUint16(this.take(2)));
    if (info === 26) return this.view.getFloat32(this.take(4));
    if (info === 27) return this.view.getFloat64(this.take(8));
    throw broken(info === 31 ? "an end of nothing" : "a simple value that JavaScript does not have");
  }

  /** An argument: a number, or a `BigInt` where a number would not be exact. */
  argument(info) {
    if (info < 24) return info;
    if (info === 24) return this.view.getUint8(this.take(1));
    if (info === 25) return this.view.getUint16(this.take(2));
    if (info === 26) return this.view.getUint32(this.take(4));
    if (info !== 27) throw broken("a reserved length");
    const wide = this.view.getBigUint64(this.take(8));
    return wide <= Number.MAX_SAFE_INTEGER ? Number(wide) : wide;
  }

  piece(major, length) {
    const start = this.take(length);
    const bytes = this.bytes.subarray(start, this.at);
    if (major === 2) return bytes.slice();
    try {
      return utf8.decode(bytes);
    } catch (error) {
      throw error instanceof TypeError ? broken(error.message) : error;
    }
  }

  /** The pieces of endless bytes or an endless text. */
  pieces(major) {
    const pieces = [];
    for (;;) {
      const first = this.view.getUint8(this.take(1));
      if (first === 0xff) return pieces;
      if (first >> 5 !== major) throw broken("a piece of another type");
      pieces.push(this.piece(major, this.argument(first & 31)));
    }
  }

  list(count, depth) {
    const endless = count === Infinity;
    if (!endless && count > this.left) throw broken("it ends too early");
    const items = [];
    for (let i = 0; i < count; i++) {
      const item = this.item(depth, endless);
      if (item === END) break;
      items.push(item);
    }
    return items;
  }

  /** An object where all keys are texts, else a `Map`. */
  map(count, depth) {
    const endless = count === Infinity;
    if (!endless && count > this.left) throw broken("it ends too early");
    const entries = [];
    let plain = true;
    for (let i = 0; i < count; i++) {
      const key = this.item(depth, endless);
      if (key === END) break;
      plain &&= typeof key === "string";
      entries.push([key, this.item(depth)]);
    }
    // Not by assignment, which a key `__proto__` would turn into something else.
    return plain ? Object.fromEntries(entries) : new Map(entries);
  }

  take(length) {
    if (length > this.left) throw broken("it ends too early");
    const start = this.at;
    this.at += Number(length);
    return start;
  }
}

function broken(why) {
  return new Error(`broken CBOR: ${why}`);
}

function negative(argument) {
  return argument < Number.MAX_SAFE_INTEGER ? -1 - Number(argument) : -1n - BigInt(argument);
}

function joined(pieces) {
  const bytes = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

function tagged(tag, value) {
  if ((tag !== 2 && tag !== 3) || !(value instanceof Uint8Array)) return new Tagged(tag, value);
  let hex = "0";
  for (const byte of value) hex += byte.toString(16).padStart(2, "0");
  const number = BigInt(`0x${hex}`);
  return tag === 2 ? number : -1n - number;
}

/** The number that 16 bits stand for: a sign, 5 bits of exponent, 10 of fraction. */
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent ? sign * (fraction + 1024) * 2 ** (exponent - 25) : sign * fraction * 2 ** -24;
}

// CBOR, from bytes to values. Part of `cbor.ts`, which exports what is public here.

import { Bool, Bytes, DEPTH_MAX, Dict, Float, Int, List, Null, Simple, Tag, Text, Value, Writer } from "./cbor";

/**
 * How many values a message may hold: each takes some 50 bytes here and may take one in the message. So many are
 * about 200 MiB.
 */
export const VALUES_MAX: i32 = 4 << 20;

/** The value that bytes stand for; null if they are broken or there are more of them, and `decodeError` says why. */
export function decode(bytes: Uint8Array): Value | null {
  const reader = new Reader(bytes.dataStart, bytes.dataStart + bytes.length);
  const value = reader.item(0);
  if (value && reader.left > 0) reader.broken("more bytes after the value");
  error = reader.error;
  return error.length ? null : value;
}

/** Why the last `decode` gave null. */
export function decodeError(): string {
  return error;
}

let error = "";

/** Bytes on their way in. After the first thing that is wrong, `error` says what, and items are null. */
class Reader {
  error: string = "";
  private values: i32 = 0;

  constructor(private at: usize, private end: usize) {}

  get left(): usize {
    return this.end - this.at;
  }

  broken(why: string): Value | null {
    if (!this.error.length) this.error = "broken CBOR: " + why;
    return null;
  }

  item(depth: i32): Value | null {
    if (depth > DEPTH_MAX) return this.broken("nested too deep");
    if (++this.values > VALUES_MAX) return this.broken("too many values");
    const first = <u8>this.big(1);
    const major = first >> 5;
    const info = first & 31;
    if (major == 7) return this.simple(info);
    const endless = info == 31;
    if (endless && (major < 2 || major == 6)) return this.broken("an integer or a tag without an end");
    const argument = endless ? 0 : this.argument(info);
    if (this.error.length) return null;
    switch (major) {
      case 0:
        return new Int(false, argument);
      case 1:
        return new Int(true, argument);
      case 2:
        return endless ? this.chunks(major) : this.bytes(argument);
      case 3:
        return endless ? this.chunks(major) : this.text(argument);
      case 4:
        return this.list(argument, endless, depth);
      case 5:
        return this.dict(argument, endless, depth);
      default: {
        const value = this.item(depth + 1);
        return value ? new Tag(argument, value) : null;
      }
    }
  }

  private simple(info: u8): Value | null {
    if (info == 20 || info == 21) return new Bool(info == 21);
    if (info == 22) return new Null();
    if (info < 24) return new Simple(info);
    if (info > 27) return this.broken(info == 31 ? "an end of nothing" : "a reserved length");
    const bits = this.argument(info);
    if (this.error.length) return null;
    if (info == 25) return new Float(half(bits));
    if (info == 26) return new Float(<f64>reinterpret<f32>(<u32>bits));
    if (info == 27) return new Float(reinterpret<f64>(bits));
    return bits < 32 ? this.broken("a simple value in two bytes") : new Simple(<u8>bits);
  }

  private bytes(length: u64): Value | null {
    const from = this.take(length);
    if (this.error.length) return null;
    const bytes = new Uint8Array(<i32>length);
    memory.copy(bytes.dataStart, from, <usize>length);
    return new Bytes(bytes);
  }

  private text(length: u64): Value | null {
    const from = this.take(length);
    if (this.error.length) return null;
    if (!isUtf8(from, from + <usize>length)) return this.broken("text that is not UTF-8");
    return new Text(String.UTF8.decodeUnsafe(from, <usize>length));
  }

  /** Bytes or text in pieces. */
  private chunks(major: u8): Value | null {
    const out = new Writer();
    while (!this.ended()) {
      const first = <u8>this.big(1);
      const length = this.argument(first & 31);
      if (first >> 5 != major) return this.broken("a piece of another type");
      const from = this.take(length);
      if (this.error.length) return null;
      if (major == 3 && !isUtf8(from, from + <usize>length)) return this.broken("text that is not UTF-8");
      out.copy(from, <i32>length);
    }
    if (this.error.length) return null;
    const start = out.bytes.dataStart;
    return major == 2
      ? new Bytes(out.bytes.slice(0, out.length))
      : new Text(String.UTF8.decodeUnsafe(start, out.length));
  }

  private list(count: u64, endless: bool, depth: i32): Value | null {
    const list = new List();
    if (count > this.left) return this.broken("a list that is longer than the message");
    for (let i: u64 = 0; endless ? !this.ended() : i < count; i++) {
      const item = this.item(depth + 1);
      if (!item) return null;
      list.items.push(item);
    }
    return this.error.length ? null : list;
  }

  private dict(count: u64, endless: bool, depth: i32): Value | null {
    const dict = new Dict();
    if (count > this.left) return this.broken("a map that is longer than the message");
    for (let i: u64 = 0; endless ? !this.ended() : i < count; i++) {
      const key = this.item(depth + 1);
      const value = key ? this.item(depth + 1) : null;
      if (!key || !value) return null;
      dict.put(key, value);
    }
    return this.error.length ? null : dict;
  }

  /** Whether the end of an endless item is here; passes it. */
  private ended(): bool {
    if (!this.left) this.broken("it ends too early");
    if (this.error.length) return true;
    if (load<u8>(this.at) != 0xff) return false;
    this.at++;
    return true;
  }

  private argument(info: u8): u64 {
    if (info < 24) return info;
    if (info > 27) this.broken("a reserved length");
    return this.error.length ? 0 : this.big(1 << (info - 24));
  }

  private big(size: i32): u64 {
    const from = this.take(size);
    if (this.error.length) return 0;
    let number: u64 = 0;
    for (let i = 0; i < size; i++) number = (number << 8) | load<u8>(from + i);
    return number;
  }

  private take(length: u64): usize {
    const from = this.at;
    if (length > this.left) this.broken("it ends too early");
    else this.at += <usize>length;
    return from;
  }
}

/** The number that 16 bits stand for: a sign, 5 bits of exponent, 10 of fraction. */
function half(bits: u64): f64 {
  const sign = (bits & 0x8000) << 48;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  // Below 2^-14 a fraction counts steps of 2^-24; above, only the exponent's zero is elsewhere in 64 bits.
  if (exponent == 0) return copysign(<f64>fraction / 16777216.0, reinterpret<f64>(sign));
  const wide: u64 = exponent == 31 ? 2047 : exponent - 15 + 1023;
  return reinterpret<f64>(sign | (wide << 52) | (fraction << 42));
}

/** Whether bytes are UTF-8: no stray or missing byte, no longer form than needed, no surrogate, none above 10FFFF. */
function isUtf8(at: usize, end: usize): bool {
  while (at < end) {
    const first = load<u8>(at++);
    if (first < 0x80) continue;
    const more: usize = first < 0xc2 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : first < 0xf5 ? 3 : 0;
    if (!more || end - at < more) return false;
    const second = load<u8>(at);
    if (first == 0xe0 && second < 0xa0) return false;
    if (first == 0xed && second > 0x9f) return false;
    if (first == 0xf0 && second < 0x90) return false;
    if (first == 0xf4 && second > 0x8f) return false;
    for (const next = at + more; at < next; at++) {
      if ((load<u8>(at) & 0xc0) != 0x80) return false;
    }
  }
  return true;
}

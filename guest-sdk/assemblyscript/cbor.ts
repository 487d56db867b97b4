// CBOR (RFC 8949): values, and their way to bytes and back.
//
// A message may be hostile: `decode` allocates for what is there, never for what a length claims, and gives null
// where the input is broken, with the reason in `decodeError`.

export { decode, decodeError, VALUES_MAX } from "./decode";

/** A value of CBOR: one of the classes below. Ask with `instanceof`, then cast: `(<Text>value).text`. */
export abstract class Value {
  /** The name of the class, for a human. */
  abstract get kind(): string;
  /** Writes the value. */
  abstract write(out: Writer): void;
}

/** An integer from −2^64 to 2^64 − 1: `magnitude`, or −1 − `magnitude` where it is negative. */
export class Int extends Value {
  constructor(public negative: bool, public magnitude: u64) {
    super();
  }

  /** Any number of an integer type. */
  static of<T extends number>(value: T): Int {
    const negative = isSigned<T>() && value < 0;
    return new Int(negative, negative ? <u64>~(<i64>value) : <u64>value);
  }

  /** Whether it is from `low` to `high`. */
  within(low: i64, high: i64): bool {
    return this.isI64 && this.i64 >= low && this.i64 <= high;
  }

  /** Whether it is an `i64`. */
  get isI64(): bool {
    return this.magnitude <= <u64>i64.MAX_VALUE;
  }

  /** Whether it is a `u64`. */
  get isU64(): bool {
    return !this.negative;
  }

  /** As an `i64`. Traps if it is none. */
  get i64(): i64 {
    if (!this.isI64) throw new RangeError("an integer that is no i64");
    return this.negative ? ~(<i64>this.magnitude) : <i64>this.magnitude;
  }

  /** As a `u64`. Traps if it is none. */
  get u64(): u64 {
    if (this.negative) throw new RangeError("an integer that is no u64");
    return this.magnitude;
  }

  get kind(): string {
    return "Int";
  }

  write(out: Writer): void {
    out.head(this.negative ? 1 : 0, this.magnitude);
  }
}

/** Bytes. */
export class Bytes extends Value {
  constructor(public bytes: Uint8Array) {
    super();
  }

  get kind(): string {
    return "Bytes";
  }

  write(out: Writer): void {
    out.head(2, this.bytes.length);
    out.copy(this.bytes.dataStart, this.bytes.length);
  }
}

/** Text. */
export class Text extends Value {
  constructor(public text: string) {
    super();
  }

  get kind(): string {
    return "Text";
  }

  write(out: Writer): void {
    const utf8 = String.UTF8.encode(this.text, false, String.UTF8.ErrorMode.REPLACE);
    out.head(3, utf8.byteLength);
    out.copy(changetype<usize>(utf8), utf8.byteLength);
  }
}

/** A list. */
export class List extends Value {
  constructor(public items: Value[] = []) {
    super();
  }

  /** Adds an item at the end. */
  push(item: Value): List {
    this.items.push(item);
    return this;
  }

  get kind(): string {
    return "List";
  }

  write(out: Writer): void {
    out.head(4, this.items.length);
    out.enter();
    for (let i = 0; i < this.items.length; i++) this.items[i].write(out);
    out.leave();
  }
}

/** A map, in its order. Finding a key takes as long as there are keys. */
export class Dict extends Value {
  keys: Value[] = [];
  values: Value[] = [];

  /** Adds an entry under a text. Whether the key is there already is not looked up. */
  set(key: string, value: Value): Dict {
    return this.put(new Text(key), value);
  }

  /** Adds an entry under any key. */
  put(key: Value, value: Value): Dict {
    this.keys.push(key);
    this.values.push(value);
    return this;
  }

  /** What is under a text. */
  get(key: string): Value | null {
    for (let i = 0; i < this.keys.length; i++) {
      const at = this.keys[i];
      if (at instanceof Text && (<Text>at).text == key) return this.values[i];
    }
    return null;
  }

  get kind(): string {
    return "Dict";
  }

  write(out: Writer): void {
    out.head(5, this.keys.length);
    out.enter();
    for (let i = 0; i < this.keys.length; i++) {
      this.keys[i].write(out);
      this.values[i].write(out);
    }
    out.leave();
  }
}

/** A value that a tag says more about. Big integers are tags 2 and 3 around `Bytes`. */
export class Tag extends Value {
  constructor(public tag: u64, public value: Value) {
    super();
  }

  get kind(): string {
    return "Tag";
  }

  write(out: Writer): void {
    out.head(6, this.tag);
    out.enter();
    this.value.write(out);
    out.leave();
  }
}

/** A floating-point number. */
export class Float extends Value {
  constructor(public value: f64) {
    super();
  }

  get kind(): string {
    return "Float";
  }

  write(out: Writer): void {
    const value = this.value;
    if (isNaN(value)) {
      out.byte(0xf9);
      out.big(0x7e00, 2);
    } else if (<f64>(<f32>value) == value) {
      out.byte(0xfa);
      out.big(reinterpret<u32>(<f32>value), 4);
    } else {
      out.byte(0xfb);
      out.big(reinterpret<u64>(value), 8);
    }
  }
}

/** True or false. */
export class Bool extends Value {
  constructor(public value: bool) {
    super();
  }

  get kind(): string {
    return "Bool";
  }

  write(out: Writer): void {
    out.byte(this.value ? 0xf5 : 0xf4);
  }
}

/** Null. */
export class Null extends Value {
  get kind(): string {
    return "Null";
  }

  write(out: Writer): void {
    out.byte(0xf6);
  }
}

/** Any other simple value; 23 is JavaScript's undefined. */
export class Simple extends Value {
  constructor(public code: u8) {
    super();
  }

  get kind(): string {
    return "Simple";
  }

  write(out: Writer): void {
    if (this.code < 24) {
      out.byte(0xe0 | this.code);
    } else {
      out.byte(0xf8);
      out.byte(this.code);
    }
  }
}

/** How deep lists, maps and tags may stand in each other: a message of nothing but `[` must not use up the stack. */
export const DEPTH_MAX: i32 = 64;

/** The bytes of a value. Traps if it is nested deeper than `DEPTH_MAX`. */
export function encode(value: Value): Uint8Array {
  const out = new Writer();
  value.write(out);
  return out.bytes.subarray(0, out.length);
}

/** Bytes on their way out. */
export class Writer {
  /** What was written, and room for more. */
  bytes: Uint8Array = new Uint8Array(64);
  /** How much of it was written. */
  length: i32 = 0;
  private depth: i32 = 0;

  /** Writes one byte. */
  byte(byte: u8): void {
    store<u8>(this.room(1), byte);
  }

  /** Writes the `size` low bytes of a number, the highest first. */
  big(number: u64, size: i32): void {
    const to = this.room(size);
    for (let i = 0; i < size; i++) store<u8>(to + i, <u8>(number >> (8 * (size - 1 - i))));
  }

  /** Writes bytes as they are. */
  copy(from: usize, length: i32): void {
    memory.copy(this.room(length), from, length);
  }

  /** Writes the head of an item: its major type and its argument. */
  head(major: u8, argument: u64): void {
    const high = major << 5;
    if (argument < 24) {
      this.byte(high | <u8>argument);
      return;
    }
    const power = argument < 0x100 ? 0 : argument < 0x10000 ? 1 : argument < 0x100000000 ? 2 : 3;
    this.byte(high | <u8>(24 + power));
    this.big(argument, 1 << power);
  }

  /** Goes into a list, a map or a tag. */
  enter(): void {
    if (++this.depth > DEPTH_MAX) throw new RangeError("a value that is nested too deep");
  }

  /** Comes out again. */
  leave(): void {
    this.depth--;
  }

  private room(size: i32): usize {
    const end = this.length + size;
    if (end > this.bytes.length) {
      const bytes = new Uint8Array(max(end, this.bytes.length * 2));
      memory.copy(bytes.dataStart, this.bytes.dataStart, this.length);
      this.bytes = bytes;
    }
    const at = this.bytes.dataStart + this.length;
    this.length = end;
    return at;
  }
}

// Counts primes the naive way: tries every smaller divisor until one divides.
//
// A message is the CBOR pair `[from, to]`, or a line of text with a number `n`, which means `[n, n + 1000]`; the
// answer is the CBOR map `{from, to, count, largest}` for the primes `p` with `from <= p < to`.

import { Turn, Worker, fail, sendValue, worker } from "../../../guest-sdk/assemblyscript/grid";
import { Dict, Int, List, Null, Value, decode, decodeError } from "../../../guest-sdk/assemblyscript/cbor";
export { init, handle_msg, loop, stop } from "../../../guest-sdk/assemblyscript/grid";

/** Numbers looked at in one turn. */
const SLICE: u32 = 100;

/** Numbers in the range that a line of text stands for. */
const LINE: u32 = 1000;

/** A range, and what is known so far about it. */
class Found {
  next: u32;
  count: u32 = 0;
  largest: u32 = 0;

  constructor(public from: u32, public to: u32) {
    this.next = from;
  }

  toValue(): Value {
    return new Dict()
      .set("from", Int.of(this.from))
      .set("to", Int.of(this.to))
      .set("count", Int.of(this.count))
      .set("largest", this.count > 0 ? Int.of(this.largest) : new Null());
  }
}

/** Counts primes, a slice of the range a turn. */
class Primes extends Worker {
  private found: Found | null = null;

  handleMsg(message: Uint8Array): void {
    this.found = range(message);
    if (!this.found) fail("expected the CBOR pair [from, to] or a number as text" + detail());
  }

  loop(): Turn {
    const found = this.found;
    if (!found) return Turn.Idle;
    const left = found.to > found.next ? found.to - found.next : 0;
    const end = found.next + min(left, SLICE);
    for (; found.next < end; found.next++) {
      if (!isPrime(found.next)) continue;
      found.count++;
      found.largest = found.next;
    }
    if (left > SLICE) return Turn.Again;
    sendValue(found.toValue());
    this.found = null;
    return Turn.Idle;
  }
}

/** The range that a message asks for. No digit and no space begins a pair in CBOR, so the two forms never meet. */
function range(message: Uint8Array): Found | null {
  const first = parse(message);
  if (first >= 0) return new Found(<u32>first, <u32>min(first + LINE, <i64>u32.MAX_VALUE));
  const value = decode(message);
  if (!(value instanceof List)) return null;
  const items = (<List>value).items;
  if (items.length != 2 || !isU32(items[0]) || !isU32(items[1])) return null;
  return new Found(<u32>(<Int>items[0]).u64, <u32>(<Int>items[1]).u64);
}

/** What was wrong with the CBOR, if it was that. */
function detail(): string {
  const why = decodeError();
  return why.length ? ": " + why : "";
}

function isU32(value: Value): bool {
  return value instanceof Int && (<Int>value).within(0, u32.MAX_VALUE);
}

/** The number that is written in a message, with spaces around it or none; −1 if it is no such number. */
function parse(message: Uint8Array): i64 {
  let start = 0;
  let end = message.length;
  while (start < end && isSpace(message[start])) start++;
  while (start < end && isSpace(message[end - 1])) end--;
  let number: i64 = start < end ? 0 : -1;
  for (; start < end; start++) {
    const digit: i64 = message[start] - 0x30;
    number = number * 10 + digit;
    if (digit < 0 || digit > 9 || number > <i64>u32.MAX_VALUE) return -1;
  }
  return number;
}

function isSpace(byte: u8): bool {
  return byte == 0x20 || (byte >= 0x09 && byte <= 0x0d);
}

function isPrime(number: u32): bool {
  if (number < 2) return false;
  for (let divisor: u32 = 2; divisor < number; divisor++) {
    if (number % divisor == 0) return false;
  }
  return true;
}

worker(new Primes());

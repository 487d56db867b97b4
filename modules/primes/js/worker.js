// Counts primes the naive way: tries every smaller divisor until one divides.
//
// A message is the CBOR pair `[from, to]`, or a line of text with a number `n`, which means `[n, n + 1000]`; the
// answer is the CBOR map `{from, to, count, largest}` for the primes `p` with `from <= p < to`.

import { decode, fail, send, worker } from "grid";

/** Numbers looked at in one turn. */
const SLICE = 100;

/** Numbers in the range that a line of text stands for. */
const LINE = 1000;

/** The largest number that a range may have. */
const NUMBER_MAX = 2 ** 32 - 1;

/** Counts primes, a slice of the range a turn. */
class Primes {
  static raw = true;

  found = null;
  next = 0;

  handleMsg(message) {
    try {
      const [from, to] = range(message);
      this.found = { from, to, count: 0, largest: null };
      this.next = from;
    } catch (error) {
      fail(`expected the CBOR pair [from, to] or a number as text: ${error.message}`);
    }
  }

  loop() {
    const found = this.found;
    if (!found) return false;
    const end = Math.min(this.next + SLICE, found.to);
    for (; this.next < end; this.next++) {
      if (!isPrime(this.next)) continue;
      found.count++;
      found.largest = this.next;
    }
    if (this.next < found.to) return true;
    send(found);
    this.found = null;
    return false;
  }
}

/** The range that a message asks for. No digit and no space begins a pair in CBOR, so the two forms never meet. */
function range(message) {
  const text = new TextDecoder().decode(message).trim();
  if (/^\d+$/.test(text) && Number(text) <= NUMBER_MAX) {
    const first = Number(text);
    return [first, Math.min(first + LINE, NUMBER_MAX)];
  }
  const pair = decode(message);
  const isNumber = (number) => Number.isInteger(number) && number >= 0 && number <= NUMBER_MAX;
  if (!Array.isArray(pair) || pair.length !== 2 || !pair.every(isNumber)) throw new Error("it is something else");
  return pair;
}

function isPrime(number) {
  if (number < 2) return false;
  for (let divisor = 2; divisor < number; divisor++) {
    if (number % divisor === 0) return false;
  }
  return true;
}

export const { start, handleMsg, loop, stop } = worker(Primes);

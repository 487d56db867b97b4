// Does what the first byte of a message says with the rest of it, so that a test can hold the SDK to the guest ABI.

import {
  Turn,
  Worker,
  fail,
  log,
  print,
  printError,
  send,
  sendText,
  sendValue,
  toText,
  worker,
} from "../../../guest-sdk/assemblyscript/grid";
import { decode, decodeError } from "../../../guest-sdk/assemblyscript/cbor";
export { init, handle_msg, loop, stop } from "../../../guest-sdk/assemblyscript/grid";

class Conformance extends Worker {
  private args: Uint8Array = new Uint8Array(0);
  private count: i32 = 0;
  private turns: i32 = 0;
  private left: i32 = -1;

  init(args: Uint8Array): void {
    this.args = args;
    if (toText(args) == "refuse") fail("refused");
  }

  handleMsg(message: Uint8Array): void {
    if (message.length == 0) return send(message);
    const body = message.subarray(1);
    switch (message[0]) {
      case 0x3d: // =
        return send(body);
      case 0x2b: // +
        return sendText((++this.count).toString());
      case 0x2a: // *
        for (let i = 0, n = number(body); i < n; i++) sendText(i.toString());
        return;
      case 0x61: // a
        return send(this.args);
      case 0x6c: // l
        this.left = this.turns = number(body);
        return;
      case 0x66: // f
        return fail(toText(body));
      case 0x67: // g
        return logged(toText(body));
      case 0x6f: // o
        print(toText(body));
        printError(toText(body));
        return sendText("written");
      case 0x74: // t
        return trap(toText(body));
      case 0x6d: // m
        return allocate(number(body));
      case 0x63: // c
        return again(body);
      case 0x6e: // n
        return name(body);
      default:
        return fail("unknown request");
    }
  }

  loop(): Turn {
    if (this.left > 0) {
      this.left--;
      return Turn.Again;
    }
    if (this.left == 0) sendText("turns:" + this.turns.toString());
    this.left = -1;
    return Turn.Idle;
  }

  stop(): void {
    log.info("stopped");
  }
}

/** The number that is written in a body. */
function number(body: Uint8Array): i32 {
  return I32.parseInt(toText(body), 10);
}

function logged(line: string): void {
  log.error(line);
  log.warn(line);
  log.info(line);
  log.debug(line);
  log.trace(line);
  sendText("logged");
}

/** Asks for a trap through a table, so that the compiler cannot merge the two: the name is to be on the stack. */
function trap(reason: string): void {
  const way = traps[reason.length ? 1 : 0];
  way(reason);
}

const traps: StaticArray<(reason: string) => void> = [nothing, deliberateTrap];

function nothing(reason: string): void {
  deliberateTrap("no reason");
}

function deliberateTrap(reason: string): void {
  throw new Error(reason);
}

/** Keeps so many pieces of 1 MiB. There is nothing that could catch a refusal: the allocator traps. */
function allocate(pieces: i32): void {
  const kept: Uint8Array[] = [];
  for (let i = 0; i < pieces; i++) kept.push(new Uint8Array(1 << 20).fill(0xa5));
  sendText("allocated");
}

/** Decodes and encodes. */
function again(body: Uint8Array): void {
  const value = decode(body);
  if (!value) return fail(decodeError());
  sendValue(value);
}

/** Says what a value is. */
function name(body: Uint8Array): void {
  const value = decode(body);
  if (!value) return fail(decodeError());
  sendText(value.kind);
}

worker(new Conformance());

// Write a grid worker in AssemblyScript: a class that extends `Worker`, one line that makes it, and one that
// exports what the host calls.
//
//     import { Worker, worker, sendText, toText } from "./sdk/grid";
//     export { init, handle_msg, loop, stop } from "./sdk/grid";
//
//     class Shout extends Worker {
//       handleMsg(message: Uint8Array): void {
//         sendText(toText(message).toUpperCase());
//       }
//     }
//
//     worker(new Shout());

import { Value, encode } from "./cbor";

/** What is left to do after a turn of `Worker.loop`. */
export enum Turn {
  /** Nothing, until the next message. */
  Idle = 0,
  /** Something: call again. */
  Again = 1,
}

/** A worker: made once, then given messages for as long as it lives. */
export abstract class Worker {
  /** Takes the spawn arguments, once, before all messages. `fail` in here refuses them and ends the worker. */
  init(args: Uint8Array): void {}

  /** Takes a message. What is sent from here and from `loop` is the answer. */
  abstract handleMsg(message: Uint8Array): void;

  /**
   * Does a slice of what is left to do. Called after each message, and again for as long as it returns
   * `Turn.Again`; the message is done at the first `Turn.Idle`.
   */
  loop(): Turn {
    return Turn.Idle;
  }

  /** The last call, when the worker is stopped in good order. It has two seconds. */
  stop(): void {}
}

/** Makes this the worker of the module. Call it once, at the top level. */
export function worker(instance: Worker): void {
  current = instance;
}

/**
 * Sends a message to the client, waiting while too much of what was sent before is unread.
 *
 * A message of more than 64 MiB ends the worker.
 */
export function send(message: Uint8Array): void {
  gridSend(message.dataStart, message.length);
}

/** Sends text as UTF-8. */
export function sendText(text: string): void {
  send(toBytes(text));
}

/** Sends a value as CBOR. */
export function sendValue(value: Value): void {
  send(encode(value));
}

/** Says that the message at hand could not be handled, and why; the worker goes on with the next one. */
export function fail(reason: string): void {
  const bytes = toBytes(reason);
  gridFail(bytes.dataStart, bytes.length);
}

/** The worker's log, at its five levels. */
export namespace log {
  /** Writes a line that says what went wrong. */
  export function error(line: string): void {
    write(0, line);
  }

  /** Writes a line that says what may be wrong. */
  export function warn(line: string): void {
    write(1, line);
  }

  /** Writes a line that says what happened. */
  export function info(line: string): void {
    write(2, line);
  }

  /** Writes a line for who looks for a bug. */
  export function debug(line: string): void {
    write(3, line);
  }

  /** Writes a line of every step. */
  export function trace(line: string): void {
    write(4, line);
  }
}

/** Writes a line to standard output: the log, at info. */
export function print(line: string): void {
  writeLine(1, line);
}

/** Writes a line to standard error: the log, at warn. What ends the worker later repeats it. */
export function printError(line: string): void {
  writeLine(2, line);
}

/** The text that UTF-8 bytes stand for. Broken bytes give broken characters. */
export function toText(bytes: Uint8Array): string {
  return String.UTF8.decodeUnsafe(bytes.dataStart, bytes.length);
}

/** Text as UTF-8 bytes. */
export function toBytes(text: string): Uint8Array {
  return Uint8Array.wrap(String.UTF8.encode(text, false, String.UTF8.ErrorMode.REPLACE));
}

/** What the host calls first. */
export function init(length: i32): void {
  the().init(receive(length));
}

/** What the host calls for each message. */
export function handle_msg(length: i32): void {
  the().handleMsg(receive(length));
}

/** What the host calls after each message, and for as long as it returns 1. */
export function loop(): i32 {
  return the().loop();
}

/** What the host calls last. */
export function stop(): void {
  the().stop();
}

let current: Worker | null = null;

function the(): Worker {
  const instance = current;
  if (!instance) throw new Error("no worker: call worker(new …()) at the top level");
  return instance;
}

/** What waits to be received, of which the host said that it has `length` bytes. */
function receive(length: i32): Uint8Array {
  const message = new Uint8Array(length);
  gridRecv(message.dataStart, length);
  return message;
}

function write(level: i32, line: string): void {
  const bytes = toBytes(line);
  gridLog(level, bytes.dataStart, bytes.length);
}

/** A pointer and a length for WASI, and room for what it says was written. */
const VECTOR: usize = memory.data(12);

function writeLine(file: i32, line: string): void {
  const bytes = toBytes(line + "\n");
  let done = 0;
  while (done < bytes.length) {
    store<usize>(VECTOR, bytes.dataStart + done);
    store<i32>(VECTOR, bytes.length - done, 4);
    if (fdWrite(file, VECTOR, 1, VECTOR + 8) != 0) return;
    done += load<i32>(VECTOR, 8);
  }
}

// @ts-ignore: decorator
@external("grid", "recv")
declare function gridRecv(pointer: usize, capacity: i32): i32;
// @ts-ignore: decorator
@external("grid", "send")
declare function gridSend(pointer: usize, length: i32): void;
// @ts-ignore: decorator
@external("grid", "log")
declare function gridLog(level: i32, pointer: usize, length: i32): void;
// @ts-ignore: decorator
@external("grid", "fail")
declare function gridFail(pointer: usize, length: i32): void;
// Only a worker that prints imports this.
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_write")
declare function fdWrite(file: i32, vectors: usize, count: i32, written: usize): i32;

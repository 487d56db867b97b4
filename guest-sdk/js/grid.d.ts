// The types of a grid worker in JavaScript.

/** A worker: made once, then given messages for as long as it lives. */
export interface Worker<Message = any> {
  /** Takes the spawn arguments, once, before all messages. `fail` in here refuses them and ends the worker. */
  init?(args: Uint8Array): void;

  /**
   * Takes a message: the value that its CBOR stands for, or its bytes where the worker is `raw`. What is sent from
   * here and from `loop` is the answer. A message that is no CBOR fails before it gets here.
   */
  handleMsg(message: Message): void;

  /**
   * Does a slice of what is left to do. Called after each message, and again while it returns true; the message is
   * done at the first false. A loop that returns nothing is called again at once until something was sent or the
   * message failed, and every 100 ms from then on.
   */
  loop?(): boolean | void;

  /** The last call, when the worker is stopped in good order. It has two seconds. */
  stop?(): void;
}

/** A class of workers, made when the worker starts. */
export interface WorkerClass<Message = any> {
  new (): Worker<Message>;
  /** Whether `handleMsg` takes the bytes of messages as they are. */
  raw?: boolean;
}

/** What the host calls. */
export interface Exports {
  start(args: Uint8Array): void;
  handleMsg(message: Uint8Array): void;
  loop(): "idle" | "again" | "later";
  stop(): void;
}

/**
 * The exports of a worker, given its class or itself:
 *
 *     export const { start, handleMsg, loop, stop } = worker(Adder);
 *
 * An exception that nothing catches is in the log, with its stack, and ends the worker: `fail` is for bad messages.
 */
export function worker(definition: WorkerClass | (Worker & { raw?: boolean })): Exports;

/**
 * Sends a value to the client, as CBOR, waiting while too much of what was sent before is unread.
 *
 * A message of more than 64 MiB ends the worker.
 */
export function send(value: unknown): void;

/** Sends bytes as they are, or text as UTF-8. */
export function sendRaw(message: Uint8Array | string): void;

/** Says that the message at hand could not be handled, and why; the worker goes on with the next one. */
export function fail(reason: string): void;

/** The worker's log, at its five levels. `console` writes there too: `log` at info, the others at their own level. */
export const log: Record<"error" | "warn" | "info" | "debug" | "trace", (line: string) => void>;

/**
 * The CBOR of a value. Integers are `number` or `bigint`, maps plain objects or `Map`, bytes any view of a buffer.
 *
 * Throws on functions, on symbols, and on what is nested deeper than 64.
 */
export function encode(value: unknown): Uint8Array;

/**
 * The value that CBOR stands for. An integer is a `number`, or a `bigint` where that would not be exact; a map is a
 * plain object, or a `Map` where a key is no text; bytes are a `Uint8Array`.
 *
 * Throws an `Error` on what is broken, on bytes after the value, and on what is nested deeper than 64.
 */
export function decode(bytes: Uint8Array): any;

/** A value that a tag says more about. Tags 2 and 3, big integers, are `bigint` instead. */
export class Tagged {
  constructor(tag: number | bigint, value: unknown);
  tag: number | bigint;
  value: any;
}

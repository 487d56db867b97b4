// {{name}}: sums the numbers that it is sent, and answers each with the sum so far.

import { Worker, fail, log, sendValue, toText, worker } from "./sdk/grid";
import { Float, Int, decode } from "./sdk/cbor";
export { init, handle_msg, loop, stop } from "./sdk/grid";

class Sum extends Worker {
  private sum: f64 = 0;

  init(args: Uint8Array): void {
    log.info("started with: " + toText(args));
  }

  handleMsg(message: Uint8Array): void {
    const value = decode(message);
    if (value instanceof Int && (<Int>value).isI64) this.sum += <f64>(<Int>value).i64;
    else if (value instanceof Float) this.sum += (<Float>value).value;
    else return fail("expected a number as CBOR");
    sendValue(new Float(this.sum));
  }
}

worker(new Sum());

// {{name}}: sums the numbers that it is sent, and answers each with the sum so far.

import { fail, log, send, worker } from "grid";

class Sum {
  sum = 0;

  init(args) {
    log.info(`started with: ${new TextDecoder().decode(args)}`);
  }

  handleMsg(number) {
    if (typeof number !== "number") return fail("expected a number");
    this.sum += number;
    send(this.sum);
  }
}

export const { start, handleMsg, loop, stop } = worker(Sum);

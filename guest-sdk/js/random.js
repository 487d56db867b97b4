// Random numbers that differ from worker to worker.
//
// The engine seeds its own generator when the component is built, so that all workers would draw the same numbers.
// Nothing here is secret: it is for simulations, not for keys.

const state = new Uint32Array([1, 2, 3, 4]);

/** Draws the state from the clocks, once the worker runs. */
export function seed() {
  state[0] ^= Date.now();
  // Each look takes a time of its own, in nanoseconds, of which the last bits are noise.
  for (let look = 0; look < 64; look++) {
    const now = Math.floor(performance.now() * 1e6);
    state[look & 3] = Math.imul(state[look & 3] ^ now ^ (state[(look + 1) & 3] >>> 15), 0x9e3779b1) + look;
  }
  for (let i = 0; i < 16; i++) next();
}

/** 32 bits more: Chris Doty-Humphrey's sfc32. */
function next() {
  const sum = state[0] + state[1] + state[3]++;
  state[0] = state[1] ^ (state[1] >>> 9);
  state[1] = state[2] + (state[2] << 3);
  state[2] = ((state[2] << 21) | (state[2] >>> 11)) + sum;
  return sum >>> 0;
}

Math.random = () => ((next() >>> 5) * 0x4000000 + (next() >>> 6)) / 2 ** 53;

// What the page remembers of the stream: rings of bounded length, so that a page left open for days stays small.

/** The newest entries of a list. */
export class Ring {
  constructor(capacity) {
    this.capacity = capacity;
    this.clear();
  }

  clear() {
    this.entries = [];
    this.next = 0;
  }

  get size() {
    return this.entries.length;
  }

  push(entry) {
    this.entries[this.next] = entry;
    this.next = (this.next + 1) % this.capacity;
  }

  /** The newest entries, newest first; those that are let through, at most so many. */
  newest(most = this.capacity, lets = () => true) {
    const found = [];
    for (let back = 1; back <= this.size && found.length < most; back += 1) {
      const entry = this.entries[(this.next - back + this.capacity) % this.capacity];
      if (lets(entry)) found.push(entry);
    }
    return found;
  }
}

/** Numbers for texts that come again and again; a number is used for another text once `keep` has freed it. */
class Numbers {
  constructor() {
    this.byText = new Map();
    this.texts = [];
    this.free = [];
  }

  of(text) {
    let number = this.byText.get(text);
    if (number === undefined) {
      number = this.free.pop() ?? this.texts.length;
      this.byText.set(text, number);
      this.texts[number] = text;
    }
    return number;
  }

  /** Frees all numbers but those that `used` marks; returns those that it freed. */
  keep(used) {
    const freed = [];
    for (const [text, number] of this.byText) {
      if (used[number]) continue;
      this.byText.delete(text);
      this.texts[number] = null;
      this.free.push(number);
      freed.push(number);
    }
    return freed;
  }
}

/** Texts that are kept before the first look for those that nothing needs any more. */
const NUMBERS_MIN = 1000;

/** Lanes of a host whose slots are not known. */
const LANES_MAX = 64;

export const ENDINGS = ["done", "failed", "lost"];

/**
 * The newest sampled tasks, in typed arrays, in the order in which they ended.
 *
 * Each is put into a lane of its host when it comes: the first that was free when it began. The manager hears of an
 * end a little late, and of several at the same time, so that a lane counts as free a little early; if none is, the
 * lane is taken that is free soonest, and the two overlap.
 */
export class SampleRing {
  constructor(capacity = 100_000) {
    this.capacity = capacity;
    this.end = new Float64Array(capacity);
    this.ran = new Float64Array(capacity);
    this.task = new Float64Array(capacity);
    this.host = new Uint32Array(capacity);
    this.job = new Uint32Array(capacity);
    this.stands = new Uint32Array(capacity);
    this.lane = new Uint16Array(capacity);
    this.ending = new Uint8Array(capacity);
    this.slots = new Map();
    this.clear();
  }

  clear() {
    this.size = 0;
    this.next = 0;
    this.longest = 0;
    this.hosts = new Numbers();
    this.jobs = new Numbers();
    this.lanes = [];
    this.limit = NUMBERS_MIN;
    /** Grows with each change, for those who draw. */
    this.version = (this.version ?? 0) + 1;
  }

  /** Says how many slots a host has: the number of lanes among which its tasks are spread. */
  setSlots(host, slots) {
    this.slots.set(host, Math.min(slots, 0xffff));
  }

  /** Forgets the slots of hosts that are not among these keys. */
  keepSlots(keys) {
    for (const key of this.slots.keys()) {
      if (!keys.has(key)) this.slots.delete(key);
    }
  }

  push(sample) {
    if (this.size > 0 && sample.end_unix_us < this.newestEnd() - 10e6) this.clear();
    const at = this.next;
    const host = this.hosts.of(sample.host);
    this.end[at] = this.size > 0 ? Math.max(sample.end_unix_us, this.newestEnd()) : sample.end_unix_us;
    this.ran[at] = sample.ran_us;
    this.task[at] = sample.task;
    this.host[at] = host;
    this.job[at] = this.jobs.of(sample.job);
    this.stands[at] = sample.stands_for;
    this.ending[at] = Math.max(0, ENDINGS.indexOf(sample.ending));
    this.lane[at] = this.findLane(host, sample);
    this.longest = Math.max(this.longest, sample.ran_us);
    this.next = (at + 1) % this.capacity;
    this.size = Math.min(this.size + 1, this.capacity);
    this.version += 1;
    if (at === this.capacity - 1) this.measure();
    if (this.hosts.byText.size + this.jobs.byText.size > this.limit) this.compact();
  }

  findLane(host, sample) {
    const ends = (this.lanes[host] ??= []);
    const begin = sample.end_unix_us - sample.ran_us + Math.min(5000, sample.ran_us / 4);
    let soonest = 0;
    for (let lane = 0; lane < ends.length; lane += 1) {
      if (ends[lane] <= begin) {
        ends[lane] = sample.end_unix_us;
        return lane;
      }
      if (ends[lane] < ends[soonest]) soonest = lane;
    }
    const most = this.slots.get(sample.host) ?? LANES_MAX;
    const lane = ends.length < most ? ends.length : soonest;
    ends[lane] = sample.end_unix_us;
    return lane;
  }

  /** Number of lanes that a host needs to be shown. */
  laneCount(host) {
    return Math.max(this.lanes[host]?.length ?? 0, 1);
  }

  newestEnd() {
    return this.end[(this.next - 1 + this.capacity) % this.capacity];
  }

  /** Where the entry of this age is kept; 0 is the oldest. */
  place(index) {
    const at = this.next - this.size + index;
    return at < 0 ? at + this.capacity : at;
  }

  /** The index of the first entry that ended at this moment or later. */
  firstEndingFrom(us) {
    let low = 0;
    let high = this.size;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.end[this.place(middle)] < us) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  measure() {
    this.longest = 0;
    for (let at = 0; at < this.size; at += 1) this.longest = Math.max(this.longest, this.ran[at]);
  }

  compact() {
    const hosts = new Uint8Array(this.hosts.texts.length);
    const jobs = new Uint8Array(this.jobs.texts.length);
    for (let at = 0; at < this.size; at += 1) {
      hosts[this.host[at]] = 1;
      jobs[this.job[at]] = 1;
    }
    for (const freed of this.hosts.keep(hosts)) this.lanes[freed] = undefined;
    this.jobs.keep(jobs);
    this.limit = Math.max(NUMBERS_MIN, 2 * (this.hosts.byText.size + this.jobs.byText.size));
  }

  /** An entry as an object, for what is shown of one. */
  entry(index) {
    const at = this.place(index);
    return {
      index,
      host: this.hosts.texts[this.host[at]],
      job: this.jobs.texts[this.job[at]],
      task: this.task[at],
      endUs: this.end[at],
      ranUs: this.ran[at],
      ending: ENDINGS[this.ending[at]],
      standsFor: this.stands[at],
    };
  }

  /** Time that each host ran tasks for since a moment, in microseconds, by the host's key. */
  busySince(us) {
    const busy = new Map();
    for (let index = this.firstEndingFrom(us); index < this.size; index += 1) {
      const at = this.place(index);
      const within = Math.min(this.ran[at], this.end[at] - us);
      const host = this.hosts.texts[this.host[at]];
      busy.set(host, (busy.get(host) ?? 0) + within * this.stands[at]);
    }
    return busy;
  }
}

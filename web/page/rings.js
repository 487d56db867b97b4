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

  /** Takes in samples as the manager tells them: columns, and lists of the texts that they share. */
  take({ endings, hosts, jobs, tasks }) {
    for (let row = 0; row < tasks.seq.length; row += 1) {
      this.push({
        end: tasks.end_unix_us[row],
        ran: tasks.ran_us[row],
        task: tasks.task[row],
        host: hosts[tasks.host[row]],
        job: jobs[tasks.job[row]],
        ending: endings[tasks.ending[row]],
        standsFor: tasks.stands_for[row],
      });
    }
  }

  push({ end, ran, task, host, job, ending, standsFor }) {
    if (this.size > 0 && end < this.newestEnd() - 10e6) this.clear();
    const at = this.next;
    const number = this.hosts.of(host);
    this.end[at] = this.size > 0 ? Math.max(end, this.newestEnd()) : end;
    this.ran[at] = ran;
    this.task[at] = task;
    this.host[at] = number;
    this.job[at] = this.jobs.of(job);
    this.stands[at] = standsFor;
    this.ending[at] = Math.max(0, ENDINGS.indexOf(ending));
    this.lane[at] = this.findLane(number, host, end, ran);
    this.longest = Math.max(this.longest, ran);
    this.next = (at + 1) % this.capacity;
    this.size = Math.min(this.size + 1, this.capacity);
    this.version += 1;
    if (at === this.capacity - 1) this.measure();
    if (this.hosts.byText.size + this.jobs.byText.size > this.limit) this.compact();
  }

  findLane(number, host, end, ran) {
    const ends = (this.lanes[number] ??= []);
    const begin = end - ran + Math.min(5000, ran / 4);
    let soonest = 0;
    for (let lane = 0; lane < ends.length; lane += 1) {
      if (ends[lane] <= begin) {
        ends[lane] = end;
        return lane;
      }
      if (ends[lane] < ends[soonest]) soonest = lane;
    }
    const most = this.slots.get(host) ?? LANES_MAX;
    const lane = ends.length < most ? ends.length : soonest;
    ends[lane] = end;
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

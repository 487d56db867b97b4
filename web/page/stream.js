// The page's one stream from the manager: figures, events and sampled tasks.

import { askWho, get, whoIsThere } from "./api.js";
import { setManagerTime } from "./format.js";
import { Ring, SampleRing } from "./rings.js";

/** Events that the page keeps. */
const EVENTS_MAX = 500;

/** Events and samples from before the page was opened that it asks for. */
const EVENTS_BEFORE = 200;
const SAMPLES_BEFORE = 8000;

/** How long the stream stays open in a tab that is hidden, and how long it may be silent, in milliseconds. */
const HIDDEN_MS = 60_000;
const SILENT_MS = 15_000;

/** Waits between attempts to connect, in milliseconds: each is twice the one before. */
const RETRY_MIN_MS = 1000;
const RETRY_MAX_MS = 30_000;

class Feed {
  constructor() {
    /** `off`, `connecting`, `live`, `lost` or `asleep`. */
    this.state = "off";
    this.status = null;
    this.overview = null;
    this.events = new Ring(EVENTS_MAX);
    this.samples = new SampleRing();
    this.missedEvents = 0;
    this.missedSamples = 0;
    this.lastEvent = null;
    this.lastSample = null;
    this.wantsSamples = 0;
    this.bringsSamples = false;
    this.listeners = new Map();
    this.untold = new Set();
    this.source = null;
    this.timer = null;
    this.retryMs = RETRY_MIN_MS;
    this.heard = 0;
  }

  /** Calls `act` now and whenever something of this name is new (`overview`, `events`, `samples`, `state`). */
  on(name, signal, act) {
    if (!this.listeners.has(name)) this.listeners.set(name, new Set());
    const among = this.listeners.get(name);
    among.add(act);
    signal?.addEventListener("abort", () => among.delete(act), { once: true });
    act();
  }

  /** Has what is new drawn with the next frame: once, however much comes until then; not while the tab is hidden. */
  tell(name) {
    if (this.untold.size === 0) {
      requestAnimationFrame(() => {
        const names = [...this.untold];
        this.untold.clear();
        for (const one of names) for (const act of this.listeners.get(one) ?? []) act();
      });
    }
    this.untold.add(name);
  }

  setState(state) {
    if (this.state === state) return;
    this.state = state;
    this.tell("state");
  }

  /** Opens the stream, and keeps it open while the page is looked at. */
  start() {
    if (this.state === "off") this.connect();
  }

  /** Closes the stream and forgets everything. */
  stop() {
    this.close();
    this.setState("off");
    [this.status, this.overview, this.lastEvent, this.lastSample] = [null, null, null, null];
    [this.missedEvents, this.missedSamples] = [0, 0];
    this.events.clear();
    this.samples.clear();
  }

  /** Asks for sampled tasks as long as a view shows them. */
  needSamples(signal) {
    this.wantsSamples += 1;
    if (this.source && !this.bringsSamples) this.connect();
    signal.addEventListener("abort", () => {
      this.wantsSamples -= 1;
    }, { once: true });
  }

  close() {
    this.source?.close();
    this.source = null;
    clearTimeout(this.timer);
  }

  async connect() {
    this.close();
    const attempt = (this.attempt = Symbol("attempt"));
    this.setState(this.state === "lost" ? "lost" : "connecting");
    let newest;
    try {
      newest = await get("/overview");
    } catch {
      if (attempt === this.attempt) this.retry();
      return;
    }
    if (attempt !== this.attempt || this.state === "off") return;
    this.aim(newest);
    const query = new URLSearchParams({ after: this.lastEvent });
    this.bringsSamples = this.wantsSamples > 0;
    if (this.bringsSamples) query.set("samples", this.lastSample);
    this.source = new EventSource(`/api/v1/stream?${query}`);
    this.heard = performance.now();
    this.source.onopen = () => {
      this.retryMs = RETRY_MIN_MS;
      this.setState("live");
    };
    this.source.onerror = () => this.retry();
    const take = (name, act) => {
      this.source.addEventListener(name, (event) => act.call(this, JSON.parse(event.data)));
    };
    take("overview", this.takeOverview);
    take("events", this.takeEvents);
    take("samples", this.takeSamples);
    this.watch();
  }

  /** Chooses the numbers to go on from. A manager that was started anew counts from 1 again. */
  aim(newest) {
    if (this.lastEvent === null || newest.newest_event < this.lastEvent) {
      this.lastEvent = Math.max(0, newest.newest_event - EVENTS_BEFORE);
      this.events.clear();
    }
    if (this.lastSample === null || newest.newest_sample < this.lastSample) this.lastSample = 0;
    this.lastSample = Math.max(this.lastSample, newest.newest_sample - SAMPLES_BEFORE);
  }

  /** Tries again later. */
  async retry() {
    this.close();
    if (this.state === "off" || this.state === "asleep") return;
    this.setState("lost");
    this.timer = setTimeout(async () => {
      // The stream itself does not say why it was refused; this does, and leads to the login if need be.
      await askWho().catch(() => {});
      if (whoIsThere() && !document.hidden) this.connect();
      else this.retry();
    }, this.retryMs * (0.75 + Math.random() / 2));
    this.retryMs = Math.min(2 * this.retryMs, RETRY_MAX_MS);
  }

  /** A connection may be dead without a word; the overview comes each second. */
  watch() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (!document.hidden && performance.now() - this.heard > SILENT_MS) this.retry();
      else if (this.source) this.watch();
    }, SILENT_MS / 3);
  }

  takeOverview({ status, overview }) {
    this.heard = performance.now();
    [this.status, this.overview] = [status, overview];
    setManagerTime(overview.unix_ms);
    if (overview.newest_event < this.lastEvent) this.connect();
    this.tell("overview");
  }

  takeEvents({ events, missed, next }) {
    this.missedEvents += missed;
    for (const event of events) this.events.push(event);
    this.lastEvent = next;
    this.tell("events");
  }

  takeSamples(samples) {
    this.missedSamples += samples.missed;
    this.samples.take(samples);
    this.lastSample = samples.next;
    this.tell("samples");
  }
}

export const feed = new Feed();

let hiddenTimer = null;
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiddenTimer);
  if (document.hidden) {
    hiddenTimer = setTimeout(() => {
      if (feed.state === "off") return;
      feed.close();
      feed.setState("asleep");
    }, HIDDEN_MS);
  } else if (feed.state === "asleep" || feed.state === "lost") {
    feed.retryMs = RETRY_MIN_MS;
    feed.connect();
  }
});

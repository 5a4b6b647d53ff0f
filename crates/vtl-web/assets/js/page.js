// One page at a time: it is loaded, shown, and brought up to date until another one is.
//
// A page is an object: `load(page, reasons)` asks the API and gives data (reasons: a set of `start`, `asked`,
// `event`, `tick`); `view(data, page)` makes elements of it, without side effects; `events` names the types of
// changes after which it loads again, `every` the seconds; `hear(page, changes)`, `isLong(data)`, `enter(page)`
// and `leave(page)` are optional. `hear` takes up what it can by itself, and says whether the page has to load
// for the rest.

import { h, render } from './dom.js';
import * as live from './live.js';
import { failure } from './ui.js';
import { t } from './text.js';

/** What nobody has asked for waits so many times as long as the last load took, but not for ever: a page that is
 *  open takes a small part of the server. */
const REST = { times: 3, most: 60_000 };
/** With a list that one request does not give whole: a hundred thousand rows are a hundred requests. */
const LONG_REST = { times: 10, most: 600_000 };
/** So long after a load that failed the next one begins, however long that one took; twice as long after each that
 *  fails in a row. */
const AGAIN_MS = 5000;
/** The statuses below 500 that are over by themselves. */
const PASSING = [408, 429];
const isRefused = ({ status }) => status >= 400 && status < 500 && !PASSING.includes(status);

export class Page {
  #kind;
  #box;
  #ends = [];
  #loading = null;
  /** Of the load that comes next, at once. */
  #reasons = new Set();
  /** Of the one that comes when the page has rested. */
  #waiting = new Set();
  /** Of one that was refused: they come with the next one, and call for none. */
  #refused = new Set();
  #restsUntil = 0;
  /** So long it rests when the next load fails. */
  #again = AGAIN_MS;
  #timer = null;
  #gone = false;

  constructor(kind, box, params, query) {
    this.#kind = kind;
    this.#box = box;
    this.params = params;
    this.query = query;
    /** What the reader has chosen: filters, tabs, what is open. */
    this.state = kind.state?.(query) ?? {};
    this.data = null;
    this.failed = null;
  }

  async start() {
    render(this.#box, h('p', { class: 'loading', role: 'status' }, t('loading')));
    await this.#kind.enter?.(this);
    if (this.#gone) return;
    // Before the first load: what happens meanwhile may not be in it.
    const { events, every } = this.#kind;
    if (events) this.#ends.push(live.on(events, (changes) => this.#hear(changes)));
    if (every) this.#ends.push(live.every(every, () => this.later('tick')));
    this.#ends.push(live.onLook(() => this.#wake()));
    await this.refresh('start');
  }

  #hear(changes) {
    if (this.#kind.hear && !this.#kind.hear(this, changes)) return;
    if (changes.some((one) => one.own)) this.refresh();
    else this.later('event');
  }

  /** Loads again and shows it. Requests in a row are one more load, not many. */
  async refresh(reason = 'asked') {
    this.#reasons.add(reason);
    this.#loading ??= this.#loads();
    await this.#loading;
  }

  /** Loads again when it has rested and somebody looks. */
  later(reason = 'event') {
    this.#waiting.add(reason);
    this.#wake();
  }

  #wake() {
    if (this.#gone || this.#loading || this.#timer || this.#waiting.size === 0 || !live.isSeen()) return;
    const wait = Math.max(0, this.#restsUntil - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = null;
      if (live.isSeen()) this.#loading ??= this.#loads();
    }, wait);
  }

  async #loads() {
    try {
      do {
        await this.#loadOnce();
      } while (this.#reasons.size > 0 && !this.#gone);
    } finally {
      // Also where the picture cannot be made: the next load may give what can be shown, and who has asked meanwhile
      // waits for it.
      this.#reasons.forEach((reason) => this.#waiting.add(reason));
      this.#reasons.clear();
      this.#loading = null;
      this.#wake();
    }
  }

  async #loadOnce() {
    // Whoever waits is served by this load, too.
    const asked = [this.#reasons, this.#waiting, this.#refused];
    const reasons = new Set(asked.flatMap((some) => [...some]));
    asked.forEach((some) => some.clear());
    clearTimeout(this.#timer);
    this.#timer = null;
    const begun = performance.now();
    try {
      this.data = await this.#kind.load(this, reasons);
      // The rest after a failure is over with it.
      if (this.failed) this.#restsUntil = 0;
      this.failed = null;
      this.#again = AGAIN_MS;
      const { times, most } = this.#pace();
      this.#restsFor(Math.min((performance.now() - begun) * times, most));
    } catch (failed) {
      if (this.#gone) return;
      this.failed = failed;
      if (failed.status === undefined && !(failed instanceof TypeError)) console.error(failed);
      // What it was to be loaded for is still to be loaded.
      const left = isRefused(failed) ? this.#refused : this.#waiting;
      reasons.forEach((reason) => left.add(reason));
      this.#restsFor(this.#again);
      this.#again = Math.min(this.#again * 2, this.#pace().most);
    }
    this.show();
  }

  #pace() {
    return this.data !== null && this.#kind.isLong?.(this.data) ? LONG_REST : REST;
  }

  #restsFor(wait) {
    this.#restsUntil = Math.max(this.#restsUntil, performance.now() + wait);
  }

  /** Shows what is there with what the reader has chosen now. */
  show() {
    if (this.#gone) return;
    if (this.data === null) return render(this.#box, this.failed ? failure(this.failed) : null);
    render(this.#box, this.failed && failure(this.failed), this.#kind.view(this.data, this));
  }

  /** Changes what the reader has chosen. */
  set(change) {
    Object.assign(this.state, change);
    this.show();
  }

  end() {
    this.#gone = true;
    clearTimeout(this.#timer);
    this.#ends.forEach((end) => end());
    this.#kind.leave?.(this);
  }
}

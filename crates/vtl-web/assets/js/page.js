// One page at a time: it is loaded, shown, and brought up to date until another one is.
//
// A page is an object: `load(page, reasons)` asks the API and gives data (reasons: a set of `start`, `event`,
// `tick`); `view(data, page)` makes elements of it, without side effects; `events` names the types of events
// after which it loads again, `every` the seconds; `enter(page)` and `leave(page)` are optional.

import { h, render } from './dom.js';
import * as live from './live.js';
import { failure } from './ui.js';
import { t } from './text.js';

export class Page {
  #kind;
  #box;
  #ends = [];
  #loading = null;
  #reasons = new Set();
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
    await this.refresh('start');
    if (this.#gone) return;
    if (this.#kind.events) this.#ends.push(live.on(this.#kind.events, () => this.refresh('event')));
    if (this.#kind.every) this.#ends.push(live.every(this.#kind.every, () => this.refresh('tick')));
  }

  /** Loads again and shows it. Requests in a row are one more load, not many. */
  async refresh(reason = 'event') {
    this.#reasons.add(reason);
    this.#loading ??= this.#loads();
    await this.#loading;
  }

  async #loads() {
    do {
      const reasons = this.#reasons;
      this.#reasons = new Set();
      try {
        this.data = await this.#kind.load(this, reasons);
        this.failed = null;
      } catch (failed) {
        if (this.#gone) return;
        this.failed = failed;
        if (failed.status === undefined && !(failed instanceof TypeError)) console.error(failed);
      }
      this.show();
    } while (this.#reasons.size > 0 && !this.#gone);
    this.#loading = null;
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
    this.#ends.forEach((end) => end());
    this.#kind.leave?.(this);
  }
}

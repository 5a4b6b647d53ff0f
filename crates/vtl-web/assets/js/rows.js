// A table of any length of which only what is in sight exists, with search, filters and order.
//
// The rows are sorted once for each column and order (numbers or words as they are, no rules of a language),
// and what is typed only goes over them: a hundred thousand rows are a few milliseconds.

import { h, render } from './dom.js';
import { icon } from './icons.js';

const ROW_PX = 44;
const MARGIN_ROWS = 8;

/** What rows there are, in which order, and which of them are wanted. Plain data: no element is touched
 *  here. */
export class Rows {
  #rows = [];
  #columns;
  #key;
  #text;
  #orders = new Map();
  #texts = [];
  /** Where the row of a key is. */
  #places = new Map();

  /** `key(row)`: which row is which; `text(row)`: what a search looks through. */
  constructor(columns, key, text) {
    this.#columns = columns;
    this.#key = key;
    this.#text = (row) => text(row).toLowerCase();
  }

  take(rows) {
    this.#rows = rows;
    this.#texts = rows.map((row) => this.#text(row));
    this.#places = new Map(rows.map((row, at) => [this.#key(row), at]));
    this.#orders.clear();
  }

  /** One row, new or in the place of what it was. Only the orders that it changes are made again. */
  put(row) {
    const key = this.#key(row);
    const at = this.#places.get(key) ?? this.#rows.length;
    const old = this.#rows[at];
    this.#places.set(key, at);
    this.#rows[at] = row;
    this.#texts[at] = this.#text(row);
    for (const name of [...this.#orders.keys()]) {
      const of = this.#sort(name);
      if (!old || of(old) !== of(row)) this.#orders.delete(name);
    }
  }

  has(key) {
    return this.#places.has(key);
  }

  /** The row of this key is no more. */
  drop(key) {
    if (this.has(key)) this.take(this.#rows.filter((row) => this.#key(row) !== key));
  }

  get length() {
    return this.#rows.length;
  }

  /** The wanted rows in order. `wanted(row)`: the filters; `words`: all of them must be in a row. */
  select({ column, down, search, wanted }) {
    const words = search.toLowerCase().split(/\s+/).filter(Boolean);
    const order = this.#order(column);
    const out = [];
    for (let n = 0; n < order.length; n += 1) {
      const at = order[down ? order.length - 1 - n : n];
      if (words.every((word) => this.#texts[at].includes(word)) && wanted(this.#rows[at]))
        out.push(this.#rows[at]);
    }
    return out;
  }

  #sort(name) {
    return this.#columns.find((one) => one.id === name)?.sort ?? (() => 0);
  }

  #order(name) {
    const known = this.#orders.get(name);
    if (known) return known;
    const of = this.#sort(name);
    const keys = this.#rows.map(of);
    const order = Uint32Array.from(keys.keys());
    order.sort((a, b) => (keys[a] < keys[b] ? -1 : keys[a] > keys[b] ? 1 : a - b));
    this.#orders.set(name, order);
    return order;
  }
}

/** The table. `columns`: `{id, name, sort?(row), show(row), number?, class?}`; `state`: `{column, down}`
 *  and what else the page keeps. */
export class LongTable {
  #columns;
  #open;
  #key;
  #rows = [];
  #head;
  #body;
  #space;
  #shown = '';

  constructor({ columns, key, open, test, caption, order }) {
    this.#columns = columns;
    this.#key = key;
    this.#open = open;
    this.#head = h('div', { class: 'long-head', role: 'row', 'aria-rowindex': 1 });
    this.#body = h('div', { class: 'long-body', role: 'presentation' });
    this.#space = h('div', { class: 'long-space', role: 'presentation' }, this.#body);
    this.element = h(
      'div',
      {
        class: 'long',
        test,
        key: test,
        keep: true,
        role: 'grid',
        'aria-label': caption,
        'aria-readonly': 'true',
        tabindex: '0',
        onscroll: () => this.#draw(),
        onkeydown: (event) => this.#keys(event),
      },
      h('div', { role: 'rowgroup', class: 'long-top' }, this.#head),
      h('div', { role: 'rowgroup' }, this.#space),
    );
    this.order = order;
    new ResizeObserver(() => this.#draw(true)).observe(this.element);
  }

  /** Shows these rows; `state` says by which column they are sorted. */
  show(rows, state) {
    this.#rows = rows;
    this.element.setAttribute('aria-rowcount', rows.length + 1);
    render(
      this.#head,
      this.#columns.map((column) => this.#title(column, state)),
    );
    this.#space.style.setProperty('height', `${rows.length * ROW_PX}px`);
    this.#draw(true);
  }

  #title(column, state) {
    const sorted = state.column === column.id;
    const kind = `long-cell ${column.number ? 'number' : ''} ${column.class ?? ''}`;
    const order = {
      role: 'columnheader',
      key: column.id,
      class: kind,
      'aria-sort': sorted ? (state.down ? 'descending' : 'ascending') : 'none',
    };
    if (!column.sort) return h('div', { ...order, 'aria-sort': null }, column.name);
    return h(
      'div',
      order,
      h(
        'button',
        { type: 'button', test: `sort-${column.id}`, onclick: () => this.order(column.id) },
        column.name,
        sorted && icon(state.down ? 'down' : 'up'),
      ),
    );
  }

  #draw(again = false) {
    const height = this.element.clientHeight || ROW_PX * 20;
    const from = Math.max(0, Math.floor(this.element.scrollTop / ROW_PX) - MARGIN_ROWS);
    const to = Math.min(this.#rows.length, from + Math.ceil(height / ROW_PX) + 2 * MARGIN_ROWS);
    const range = `${from}-${to}`;
    if (!again && range === this.#shown) return;
    this.#shown = range;
    this.#body.style.setProperty('transform', `translateY(${from * ROW_PX}px)`);
    render(
      this.#body,
      this.#rows.slice(from, to).map((row, n) => this.#row(row, from + n)),
    );
  }

  #row(row, at) {
    return h(
      'div',
      {
        class: 'long-row',
        role: 'row',
        key: this.#key(row),
        'aria-rowindex': at + 2,
        test: 'long-row',
        onclick: () => this.#open(row),
      },
      this.#columns.map((column, n) =>
        h(
          'div',
          {
            role: n === 0 ? 'rowheader' : 'gridcell',
            class: `long-cell ${column.number ? 'number' : ''} ${column.class ?? ''}`,
          },
          column.show(row),
        ),
      ),
    );
  }

  #keys(event) {
    if (event.target !== this.element) return;
    const page = this.element.clientHeight - ROW_PX;
    const by = {
      ArrowDown: ROW_PX,
      ArrowUp: -ROW_PX,
      PageDown: page,
      PageUp: -page,
      Home: -this.element.scrollHeight,
      End: this.element.scrollHeight,
    }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    this.element.scrollBy({ top: by });
  }
}

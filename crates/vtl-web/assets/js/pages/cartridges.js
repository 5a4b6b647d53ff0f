// All cartridges, however many; and one of them.

import * as api from '../api.js';
import { h } from '../dom.js';
import { bytes, percent, day } from '../format.js';
import { LongTable, Rows } from '../rows.js';
import { askCreate, marks, where } from '../cartridge.js';
import { count, t } from '../text.js';
import { bar, button, pageHead } from '../ui.js';
import cartridgePage from './cartridge.js';

const link = (row) =>
  h(
    'a',
    { href: `#/cartridges/${encodeURIComponent(row.label)}`, class: 'label', test: 'cartridge-link' },
    row.label,
  );

const COLUMNS = [
  { id: 'label', name: t('cartridge.label'), sort: (row) => row.label, show: link },
  {
    id: 'place',
    name: t('cartridge.place'),
    sort: (row) =>
      `${row.library ?? '~'} ${row.place.kind} ${String(row.place.number ?? 0).padStart(6, '0')}`,
    show: where,
  },
  {
    id: 'used',
    name: t('cartridge.used'),
    sort: (row) => row.used_bytes,
    show: (row) => bytes(row.used_bytes),
    number: true,
  },
  {
    id: 'full',
    name: t('cartridge.full'),
    sort: (row) => percent(row.used_bytes, row.capacity_bytes),
    class: 'only-wide',
    show: (row) => bar(row.used_bytes, row.capacity_bytes, t('cartridge.full')),
  },
  {
    id: 'capacity',
    name: t('cartridge.capacity'),
    sort: (row) => row.capacity_bytes,
    show: (row) => bytes(row.capacity_bytes),
    number: true,
    class: 'only-wide',
  },
  {
    id: 'exports',
    name: t('cartridge.exports'),
    sort: (row) => row.exports.length,
    show: (row) => String(row.exports.length),
    number: true,
    class: 'only-wide',
  },
  {
    id: 'created',
    name: t('cartridge.created'),
    sort: (row) => row.created,
    show: (row) => day(row.created),
    class: 'only-wide',
  },
  {
    id: 'marks',
    name: t('cartridge.marks'),
    class: 'only-wide',
    show: (row) => marks(row).map(([name, text]) => h('span', { class: 'chip', key: name }, text)),
  },
];

/** What can be asked for, by name: a test of a row. */
const FILTERS = {
  all: () => true,
  library: (row) => row.place.kind !== 'vault',
  drive: (row) => row.place.kind === 'drive',
  vault: (row) => row.place.kind === 'vault',
  blank: (row) => row.used_bytes === 0,
  written: (row) => row.used_bytes > 0,
  not_exported: (row) => row.used_bytes > 0 && row.exports.length === 0,
  kept: (row) => row.hold || Boolean(row.retain_until),
};

/** When something has happened to so many cartridges at once, asking for each of them is no gain any more. */
const FEW = 20;

const label = (row) => row.label;

function makeTable(page) {
  const rows = new Rows(COLUMNS, label, text);
  const table = new LongTable({
    columns: COLUMNS,
    key: label,
    test: 'cartridges',
    caption: t('cartridges.title'),
    open: (row) => {
      location.hash = `#/cartridges/${encodeURIComponent(row.label)}`;
    },
    order: (column) => {
      page.set({ down: page.state.column === column && !page.state.down, column });
    },
  });
  return { rows, table };
}

const text = (row) =>
  `${row.label} ${row.library ?? ''} ${row.place.kind} ${row.pool} ${row.exports.join(' ')}`;

const show = (page) => {
  page.data = { total: page.parts.rows.length };
  page.show();
};

/** A list that one request does not give whole is asked for again only after a change that nobody knows more of. */
const isLong = (data) => data.total > api.PAGE_ROWS;

async function load(page, reasons) {
  const isTick = [...reasons].every((reason) => reason === 'tick');
  const isKnown = isTick && isLong(page.data) && page.changed.size <= FEW;
  await inTurn(page, isKnown ? askForRows : askForAll);
  return page.data;
}

/** One after the other, so that no answer is put over a newer one. `ask` is given the labels that something has
 *  happened to since the last one; when it fails they are still to be asked for. */
function inTurn(page, ask) {
  const turn = async () => {
    const labels = [...page.changed];
    page.changed.clear();
    try {
      await ask(page, labels);
    } catch (failed) {
      labels.forEach((one) => page.changed.add(one));
      throw failed;
    }
  };
  page.turn = page.turn.then(turn, turn);
  return page.turn;
}

async function askForAll(page) {
  let shown = 0;
  const take = (rows) => {
    shown = rows.length;
    page.parts.rows.take(rows);
    show(page);
  };
  const all = await api.list(api.paged('/cartridges'), (some) => {
    if (page.left) throw new Error('nobody waits for the rest');
    // A list that is there stays until the new one is whole. The first time: the first page at once, and
    // then whenever there are twice as many, since each look sorts again.
    if (page.first && some.length >= 2 * shown) take(some.slice());
  });
  take(all);
  page.first = false;
}

async function askForRows(page, labels) {
  // Many by now: a load of all waits already, or comes with the next tick.
  if (labels.length > FEW) {
    labels.forEach((one) => page.changed.add(one));
    return;
  }
  const ask = (one) => api.get(api.path(['cartridges'], { label: one, limit: 1 }));
  const found = await Promise.all(labels.map(ask));
  found.forEach(([row], n) => (row ? page.parts.rows.put(row) : page.parts.rows.drop(labels[n])));
  if (labels.length > 0) show(page);
}

/** Jobs that make a cartridge. */
const MAKERS = ['import', 'ingest'];

/** Which cartridge a change is about. Jobs name pools and devices, too. */
function labelOf(page, { type, data }) {
  const isMade = () => data.state === 'completed' && MAKERS.includes(data.kind);
  return type === 'move' || isMade() || page.parts.rows.has(data.label) ? data.label : null;
}

/** A move and the state of a job name their cartridge: its row is asked for, and not the list. */
function hear(page, changes) {
  const known = changes.filter(({ data }) => data);
  const labels = known.map((change) => labelOf(page, change)).filter(Boolean);
  labels.forEach((one) => page.changed.add(one));
  if (changes.some(({ data }) => !data) || page.changed.size > FEW) return true;
  if (labels.length > 0) inTurn(page, askForRows).catch(() => page.later('tick'));
  return false;
}

function view(data, page) {
  const { column, down, search, filter } = page.state;
  const found = page.parts.rows.select({ column, down, search, wanted: FILTERS[filter] });
  page.parts.table.show(found, page.state);
  return h(
    'div',
    { class: 'fill' },
    pageHead(
      t('cartridges.title'),
      found.length === data.total
        ? count('cartridges.number', data.total)
        : t('cartridges.found', {
            n: found.length.toLocaleString('en'),
            all: data.total.toLocaleString('en'),
          }),
      button(
        t('library.new_cartridges'),
        async () => askCreate(await api.get('/libraries'), await api.get('/pools')),
        { test: 'new-cartridges', sign: 'plus', kind: 'primary' },
      ),
    ),
    h(
      'div',
      { class: 'tools', role: 'search' },
      h(
        'label',
        { class: 'grow' },
        h('span', { class: 'unseen' }, t('cartridges.search')),
        h('input', {
          type: 'search',
          test: 'search',
          placeholder: t('cartridges.search'),
          value: search,
          oninput: (event) => page.set({ search: event.target.value }),
        }),
      ),
      h(
        'label',
        {},
        h('span', { class: 'unseen' }, t('cartridges.filter')),
        h(
          'select',
          { test: 'filter', value: filter, onchange: (event) => page.set({ filter: event.target.value }) },
          Object.keys(FILTERS).map((name) => h('option', { value: name }, t(`cartridges.filter_${name}`))),
        ),
      ),
    ),
    h('p', { class: 'unseen', role: 'status' }, t('cartridges.found', { n: found.length, all: data.total })),
    page.parts.table.element,
    found.length === 0 && h('p', { class: 'empty' }, t('cartridges.none')),
  );
}

const all = {
  load,
  view,
  hear,
  events: ['move', 'job'],
  every: 15,
  isLong,
  enter: (page) => {
    page.parts = makeTable(page);
    Object.assign(page, { changed: new Set(), turn: Promise.resolve(), first: true });
  },
  leave: (page) => {
    page.left = true;
  },
  state: (query) => ({
    column: 'label',
    down: false,
    search: query.get('search') ?? '',
    filter: FILTERS[query.get('place')] ? query.get('place') : 'all',
  }),
};

export default (params) => (params[0] ? cartridgePage(params[0]) : all);

// The store: what hosts have written, what it takes on disk, and what keeps it in order.

import * as api from '../api.js';
import * as live from '../live.js';
import { h } from '../dom.js';
import { ask, dialog } from '../forms.js';
import { bytes, duration, integer, percent, ratio, shortTime } from '../format.js';
import { fullIn, plot } from '../chart.js';
import { askJob } from '../plans.js';
import { t, word } from '../text.js';
import { badge, bar, button, facts, figure, note, pageHead, panel, table } from '../ui.js';

/** Time that the plots show: name and seconds. */
const SPANS = { day: 86400, week: 7 * 86400, month: 31 * 86400, year: 366 * 86400 };

async function load(page) {
  const since = new Date(Date.now() - SPANS[page.state.span] * 1000).toISOString();
  const [stats, pools, scrub, history, status] = await Promise.all([
    api.get('/store/stats'),
    api.get('/pools'),
    api.get('/store/scrub'),
    api.get(api.path(['store', 'history'], { since })),
    api.get('/system/status'),
  ]);
  return { stats, pools, scrub, history, status };
}

/** Saved by finding content that is there already, and by compressing what is left. */
const saved = (one) => ({
  ...one,
  by_dedupe: Math.max(0, one.logical_bytes - one.unique_bytes),
  by_compression: Math.max(0, one.unique_bytes - one.stored_bytes),
});

function view({ stats, pools, scrub, history, status }, page) {
  const samples = history.map(saved);
  const now = saved(stats);
  const full = fullIn(samples, 'stored_bytes', status.free_bytes);
  return [
    pageHead(
      t('store.title'),
      t('store.about', { packs: integer(stats.packs), chunks: integer(stats.chunks) }),
      button(t('store.gc'), () => askPass('gc', '/store/gc', { background: true }, pools), {
        test: 'gc',
        kind: 'primary',
      }),
      button(t('store.scrub'), () => askPass('scrub', '/store/scrub', {}, pools), { test: 'scrub' }),
      button(t('store.account'), () => account(page), { test: 'account' }),
      button(t('store.repair'), () => repair(page), { test: 'repair' }),
      button(t('store.new_pool'), askPool, { test: 'new-pool', sign: 'plus' }),
    ),
    h(
      'div',
      { class: 'figures' },
      figure(t('store.logical'), bytes(stats.logical_bytes), t('store.logical_more'), 'figure-logical'),
      figure(
        t('store.stored'),
        bytes(stats.stored_bytes),
        t('store.ratio', { ratio: ratio(stats.logical_bytes / stats.stored_bytes) }),
        'figure-stored',
      ),
      figure(t('store.by_dedupe'), bytes(now.by_dedupe), share(now.by_dedupe, stats)),
      figure(t('store.by_compression'), bytes(now.by_compression), share(now.by_compression, stats)),
      figure(
        t('store.free'),
        bytes(status.free_bytes),
        t('store.pool_used', { n: status.pool_used_percent }),
      ),
      figure(
        t('store.forecast'),
        full === null ? t('store.no_growth') : t('store.full_in', { time: duration(full) }),
        t('store.forecast_more'),
        'forecast',
      ),
    ),
    h(
      'div',
      { class: 'tools' },
      h('h2', {}, t('store.over_time')),
      h('span', { class: 'spring' }),
      h(
        'label',
        {},
        h('span', { class: 'unseen' }, t('store.span')),
        h(
          'select',
          {
            test: 'span',
            value: page.state.span,
            onchange: (event) => {
              page.set({ span: event.target.value });
              page.refresh();
            },
          },
          Object.keys(SPANS).map((name) => h('option', { value: name }, t(`store.span_${name}`))),
        ),
      ),
    ),
    h(
      'div',
      { class: 'columns' },
      h(
        'div',
        { class: 'panel' },
        plot(
          t('store.plot_bytes'),
          samples,
          [
            { name: 'logical_bytes', label: t('store.logical') },
            { name: 'stored_bytes', label: t('store.stored') },
          ],
          { test: 'plot-bytes' },
        ),
      ),
      h(
        'div',
        { class: 'panel' },
        plot(
          t('store.plot_saved'),
          samples,
          [
            { name: 'by_dedupe', label: t('store.by_dedupe') },
            { name: 'by_compression', label: t('store.by_compression') },
          ],
          { test: 'plot-saved' },
        ),
      ),
    ),
    panel(t('store.scrub_title'), scrubPart(scrub)),
    h(
      'div',
      { class: 'panel flush' },
      table(t('store.pools'), POOLS(page), pools, (pool) => pool.name, { test: 'pools' }),
    ),
  ];
}

const share = (part, stats) => t('store.share', { n: percent(part, stats.logical_bytes).toFixed(0) });

const POOLS = (page) => [
  {
    name: t('pool.name'),
    show: (pool) => [
      h('span', {}, pool.name),
      pool.default && h('span', { class: 'chip' }, t('pool.default')),
    ],
  },
  {
    name: t('pool.state'),
    show: (pool) => [
      badge(pool.state, word('pool_state', pool.state)),
      pool.why && h('span', { class: 'line' }, pool.why),
    ],
  },
  { name: t('store.stored'), number: true, show: (pool) => bytes(pool.stored_bytes) },
  { name: t('store.free'), number: true, show: (pool) => bytes(pool.free_bytes) },
  {
    name: t('pool.full'),
    class: 'wide',
    show: (pool) => bar(pool.stored_bytes, pool.stored_bytes + pool.free_bytes, t('pool.full')),
  },
  { name: t('cartridges.title'), number: true, show: (pool) => integer(pool.cartridges) },
  { name: t('pool.encrypted'), show: (pool) => (pool.encrypted ? t('yes') : t('no')) },
  {
    name: t('actions'),
    show: (pool) =>
      h(
        'div',
        { class: 'actions' },
        button(t('pool.folders'), () => showFolders(pool), { test: 'pool-folders' }),
        pool.state === 'closed' &&
          button(
            t('pool.open'),
            async () => {
              note((await api.post(api.path(['pools', pool.name, 'open']))).message);
              await page.refresh();
            },
            { test: 'pool-open' },
          ),
        !pool.default &&
          button(t('pool.remove'), () => removePool(pool, page), {
            test: 'pool-remove',
            kind: 'danger quiet',
          }),
      ),
  },
];

function scrubPart(scrub) {
  return [
    h(
      'div',
      { class: 'panel-head' },
      badge(scrub.state, word('state', scrub.state)),
      scrub.state === 'running' && bar(scrub.bytes ?? 0, scrub.total_bytes, t('store.scrub_title')),
    ),
    facts([
      [t('store.last_scrub'), scrub.last_finished ? shortTime(scrub.last_finished) : t('store.never')],
      [t('store.scrub_read'), bytes(scrub.last_bytes)],
      [t('store.scrub_found'), integer(scrub.last_damaged)],
      [t('store.unread'), integer(scrub.unread_packs)],
      [t('store.damaged'), integer(scrub.damaged_chunks)],
    ]),
    scrub.damage.length > 0 &&
      table(
        t('cartridge.damage'),
        [
          { name: t('cartridge.label'), show: (one) => one.cartridge },
          { name: t('damage.offset'), number: true, show: (one) => integer(one.offset) },
          { name: t('damage.length'), number: true, show: (one) => bytes(one.length) },
          { name: t('damage.why'), show: (one) => one.why },
        ],
        scrub.damage,
        (one) => `${one.cartridge}${one.offset}`,
      ),
  ];
}

/** A job over one pool or all. */
function askPass(name, to, body, pools) {
  const pool = {
    name: 'pool',
    type: 'select',
    label: t('cartridge.pool'),
    options: [['', t('store.all_pools')], ...pools.map((one) => [one.name, one.name])],
  };
  return askJob(`start-${name}`, t(`store.${name}`), [pool], to, {
    body,
    atOnce: true,
    before: h('p', {}, t(`store.${name}_about`)),
    label: t('store.start'),
  });
}

async function account(page) {
  const found = await api.post('/store/account');
  note(t('store.accounted', { bytes: bytes(found.reclaimable_bytes) }));
  await page.refresh();
}

async function repair(page) {
  const done = await api.post('/store/repair');
  note(
    t('store.repaired', {
      healed: integer(done.healed),
      mended: integer(done.mended),
      lost: integer(done.lost),
    }),
  );
  await page.refresh();
}

function askPool() {
  return ask(
    t('store.new_pool'),
    [
      { name: 'name', label: t('pool.name'), required: true },
      { name: 'paths', type: 'list', label: t('pool.folders'), required: true, hint: t('pool.folders_hint') },
      { name: 'size_bytes', type: 'size', label: t('pool.size'), hint: t('form.size_hint') },
      { name: 'encrypted', type: 'checkbox', label: t('pool.encrypt') },
      { name: 'key_file', label: t('pool.key_file'), required: true, when: (values) => values.encrypted },
    ],
    async (values) => {
      note((await api.post('/pools', values)).message);
      live.tell('move');
    },
    { label: t('library.create'), test: 'create-pool' },
  );
}

function showFolders(pool) {
  return dialog(
    t('pool.folders_of', { name: pool.name }),
    () =>
      table(
        t('pool.folders'),
        [
          { name: t('pool.path'), show: (one) => h('code', {}, one.path) },
          { name: t('pool.state'), show: (one) => badge(one.state, word('folder_state', one.state)) },
          { name: t('store.stored'), number: true, show: (one) => bytes(one.stored_bytes) },
          { name: t('store.free'), number: true, show: (one) => bytes(one.free_bytes) },
        ],
        pool.folders,
        (one) => one.number,
      ),
    { wide: true, test: 'folders' },
  );
}

async function removePool(pool, page) {
  await ask(
    t('pool.remove_title', { name: pool.name }),
    [],
    async () => note((await api.remove(api.path(['pools', pool.name]))).message),
    {
      before: h('p', {}, t('pool.remove_about')),
      label: t('pool.remove'),
      kind: 'danger',
      test: 'confirm-remove-pool',
    },
  );
  await page.refresh();
}

export default () => ({ load, view, events: ['job', 'move'], every: 10, state: () => ({ span: 'week' }) });

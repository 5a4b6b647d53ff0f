// One cartridge: its tape as a map, its copies elsewhere, its jobs, and what is wrong with it.

import * as api from '../api.js';
import { h } from '../dom.js';
import { bytes, integer, percent } from '../format.js';
import { cartridgeActions, cartridgeFacts, marks } from '../cartridge.js';
import { exportActions, showExport } from '../exports.js';
import { jobTable } from '../jobs.js';
import { count, t } from '../text.js';
import { facts, pageHead, panel, table } from '../ui.js';

/** So many of its jobs are shown. */
const JOBS = 20;

async function load(label) {
  const here = (...more) => api.path(['cartridges', label, ...more]);
  const optional = (asked) => asked.catch(() => null);
  const [it, map, jobs, status, scrub] = await Promise.all([
    api.get(here()),
    optional(api.get(here('map'))),
    // The newest; a label that is exported every hour has thousands.
    api.get(api.path(['jobs'], { label, sort: '-id', limit: JOBS })),
    optional(api.get('/system/status')),
    optional(api.get('/store/scrub')),
  ]);
  return {
    it,
    map,
    jobs,
    problems: (status?.problems ?? []).filter((one) => one.subject === label),
    damage: (scrub?.damage ?? []).filter((one) => one.cartridge === label),
  };
}

function view({ it, map, jobs, problems, damage }, page) {
  return [
    h('p', { class: 'crumbs' }, h('a', { href: '#/cartridges' }, t('cartridges.title'))),
    pageHead(
      h('span', { class: 'label' }, it.label),
      marks(it).map(([name, text]) => h('span', { class: 'chip', key: name }, text)),
      cartridgeActions(it, null, () => page.refresh()),
    ),
    problems.map((one) =>
      h('div', { class: 'failure', key: one.message }, h('strong', {}, one.message), h('p', {}, one.remedy)),
    ),
    damage.length > 0 &&
      panel(
        t('cartridge.damage'),
        table(t('cartridge.damage'), DAMAGE, damage, (one) => one.offset),
      ),
    h(
      'div',
      { class: 'columns' },
      panel(
        t('cartridge.about'),
        cartridgeFacts(it),
        map &&
          facts([
            [t('cartridge.write_generation'), integer(map.write_generation)],
            [t('cartridge.loads'), integer(map.load_count)],
            [t('cartridge.blocks'), integer(map.blocks)],
            [t('cartridge.filemarks'), integer(map.filemarks)],
            [t('cartridge.serial'), map.serial],
          ]),
      ),
      panel(t('cartridge.map'), tapeMap(map, page)),
    ),
    panel(t('cartridge.exports'), exportTable(it, page)),
    panel(t('cartridge.jobs'), jobTable(jobs, page)),
  ];
}

const DAMAGE = [
  { name: t('damage.offset'), show: (one) => integer(one.offset), number: true },
  { name: t('damage.length'), show: (one) => bytes(one.length), number: true },
  { name: t('damage.why'), show: (one) => one.why },
];

const FILES = [
  {
    name: t('map.file'),
    show: (file) =>
      file.files > 1
        ? `${integer(file.number)} – ${integer(file.number + file.files - 1)}`
        : integer(file.number),
    number: true,
  },
  { name: t('map.bytes'), show: (file) => bytes(file.bytes), number: true },
  { name: t('map.blocks'), show: (file) => integer(file.blocks), number: true },
];

/** The tape from its beginning to its end: what stands between filemarks, as wide as it is long. */
function tapeMap(map, page) {
  if (!map) return h('p', { class: 'empty' }, t('map.none'));
  const chosen = page.state.file;
  const shown = map.files.filter((file) => file.bytes > 0 || file.files > 1 || map.files.length < 50);
  const part = (file) =>
    h('button', {
      type: 'button',
      key: file.number,
      class: `map-file${chosen === file.number ? ' chosen' : ''}`,
      style: { 'flex-grow': Math.max(file.bytes, map.used_bytes / 400) },
      title: fileText(file),
      'aria-label': fileText(file),
      'aria-pressed': String(chosen === file.number),
      test: 'map-file',
      onclick: () => page.set({ file: file.number }),
    });
  const found = map.files.find((file) => file.number === chosen);
  const used = Math.max(percent(map.used_bytes, map.capacity_bytes), map.used_bytes ? 12 : 0);
  return [
    h(
      'div',
      { class: 'map', test: 'map' },
      h('div', { class: 'map-used', style: { width: `${used}%` } }, shown.map(part)),
    ),
    h(
      'div',
      { class: 'map-scale muted' },
      h('span', {}, t('map.beginning')),
      map.used_bytes > 0 && h('span', {}, bytes(map.used_bytes)),
      h('span', {}, bytes(map.capacity_bytes)),
    ),
    h('p', { role: 'status' }, found ? fileText(found) : count('map.number', map.filemarks)),
    map.grouped && h('p', { class: 'muted' }, t('map.grouped')),
    h(
      'details',
      {},
      h('summary', {}, t('map.table')),
      table(t('map.table'), FILES, map.files.slice(0, 200), (file) => file.number, { test: 'map-table' }),
    ),
  ];
}

const fileText = (file) =>
  t(file.files > 1 ? 'map.some' : 'map.one', {
    n: integer(file.number),
    last: integer(file.number + file.files - 1),
    bytes: bytes(file.bytes),
    blocks: integer(file.blocks),
  });

function exportTable(it, page) {
  if (it.exports_problem) return h('p', { class: 'failure' }, it.exports_problem);
  const rows = it.exports.map((text) => {
    const at = text.indexOf('/');
    return { remote: text.slice(0, at), folder: text.slice(at + 1) };
  });
  return table(
    t('cartridge.exports'),
    [
      {
        name: t('export.folder'),
        show: (row) =>
          h(
            'button',
            {
              type: 'button',
              class: 'link',
              test: 'export-show',
              onclick: () => showExport(row.remote, row.folder),
            },
            row.folder,
          ),
      },
      { name: t('export.remote'), show: (row) => row.remote },
      { name: t('actions'), show: (row) => exportActions(row.remote, row.folder, () => page.refresh()) },
    ],
    rows,
    (row) => `${row.remote}/${row.folder}`,
    { test: 'exports', empty: t('cartridge.no_exports') },
  );
}

export default (label) => ({
  load: () => load(label),
  view,
  // Of the others of a busy server this page knows nothing.
  hear: (page, changes) => changes.some(({ data }) => !data || data.label === label),
  events: ['move', 'job', 'progress'],
  every: 10,
  state: () => ({ file: null, open: null }),
});

// Keys of exports: who can open them, who signs them. No secret is ever shown, since none is ever sent.

import * as api from '../api.js';
import * as live from '../live.js';
import { h } from '../dom.js';
import { ask, dialog } from '../forms.js';
import { integer } from '../format.js';
import { t, word } from '../text.js';
import { badge, button, facts, note, pageHead, panel, table } from '../ui.js';

async function load() {
  const [keys, pools] = await Promise.all([api.get('/keys'), api.get('/pools')]);
  const store = await Promise.all(
    pools
      .filter((pool) => pool.encrypted)
      .map(async (pool) => ({
        pool: pool.name,
        ...(await api.get(api.path(['store', 'key'], { pool: pool.name }))),
      })),
  );
  return { keys, store };
}

function view({ keys, store }) {
  return [
    pageHead(
      t('keys.title'),
      t('keys.about'),
      button(t('keys.import'), askImportKey, { test: 'import-key', sign: 'plus', kind: 'primary' }),
      button(t('keys.make'), askMake, { test: 'make-key' }),
    ),
    h(
      'div',
      { class: 'panel flush' },
      table(t('keys.title'), COLUMNS, keys, (one) => one.name, { test: 'keys', empty: t('keys.none') }),
    ),
    panel(
      t('keys.store'),
      store.length === 0 ? h('p', { class: 'muted' }, t('keys.store_none')) : store.map(storeKey),
    ),
  ];
}

const COLUMNS = [
  { name: t('key.name'), show: (key) => key.name },
  {
    name: t('keys.use'),
    show: (key) => (key.problem ? badge('failed', key.problem) : word('key_use', key.type)),
  },
  { name: t('keys.bits'), number: true, show: (key) => integer(key.bits) },
  { name: t('key.private'), show: (key) => (key.private ? t('yes') : t('no')) },
  { name: t('key.fingerprint'), show: (key) => h('code', { class: 'hash' }, key.fingerprint ?? '–') },
  {
    name: t('actions'),
    show: (key) =>
      h(
        'div',
        { class: 'actions' },
        button(t('keys.public'), () => showPublic(key), { test: 'key-public' }),
        button(t('keys.remove'), () => askRemoveKey(key), { test: 'key-remove', kind: 'danger quiet' }),
      ),
  },
];

function storeKey(key) {
  return h(
    'div',
    { key: key.pool },
    facts([
      [t('cartridge.pool'), key.pool],
      [t('keys.method'), key.method],
      [t('keys.revision'), integer(key.revision)],
      [t('keys.exported'), key.exported ? t('yes') : t('no')],
    ]),
    h(
      'div',
      { class: 'actions' },
      button(t('keys.store_export'), () => askStoreExport(key), { test: 'store-key-export' }),
    ),
  );
}

async function showPublic(key) {
  const { pem } = await api.get(api.path(['keys', key.name, 'public']));
  return dialog(
    t('keys.public_of', { name: key.name }),
    () => h('pre', { tabindex: '0', test: 'pem' }, pem),
    { wide: true, test: 'public-key' },
  );
}

function changed(text) {
  note(text);
  live.tell('move');
}

function askImportKey() {
  return ask(
    t('keys.import'),
    [
      { name: 'name', label: t('key.name'), required: true },
      {
        name: 'file',
        label: t('keys.file'),
        required: true,
        hint: t('remotes.path_hint'),
        placeholder: '/etc/vtl/keys/off-site.pem',
      },
    ],
    async (values) => {
      await api.post('/keys', values);
      changed(t('keys.imported', { name: values.name }));
    },
    { label: t('keys.import'), test: 'import-key-form' },
  );
}

function askMake() {
  return ask(
    t('keys.make'),
    [{ name: 'name', label: t('key.name'), required: true }],
    async ({ name }) => {
      await api.post(api.path(['keys', name]), { type: 'ed25519' });
      changed(t('keys.made', { name }));
    },
    { before: h('p', {}, t('keys.make_about')), label: t('keys.make'), test: 'make-key-form' },
  );
}

function askRemoveKey(key) {
  return ask(
    t('keys.remove_title', { name: key.name }),
    [{ name: 'confirm', label: t('export.prune_confirm', { folder: key.name }), required: true }],
    async (values) => {
      await api.remove(api.path(['keys', key.name]), values);
      changed(t('keys.removed', { name: key.name }));
    },
    {
      before: h('p', {}, key.private ? t('keys.remove_private') : t('keys.remove_public')),
      label: t('keys.remove'),
      kind: 'danger',
      test: 'remove-key',
    },
  );
}

function askStoreExport(key) {
  return ask(
    t('keys.store_export'),
    [{ name: 'file', label: t('keys.store_file'), required: true, hint: t('keys.store_file_hint') }],
    async (values) => {
      changed((await api.post('/store/key/export', { pool: key.pool, ...values })).message);
    },
    { before: h('p', {}, t('keys.store_about')), label: t('keys.store_export'), test: 'export-store-key' },
  );
}

export default () => ({ load, view, events: ['move'] });

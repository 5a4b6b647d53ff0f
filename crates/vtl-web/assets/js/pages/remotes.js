// Remotes: places where exports lie.

import * as api from '../api.js';
import * as live from '../live.js';
import { h, render } from '../dom.js';
import { ask, confirm, dialog } from '../forms.js';
import { bytes, integer, shortTime } from '../format.js';
import { exportActions, showExport } from '../exports.js';
import { t, word } from '../text.js';
import { badge, button, failure, note, pageHead, table } from '../ui.js';

/** Which settings a type has: name, whether it must be there, and how it is typed. */
const TYPES = {
  folder: [['path', true]],
  s3: [
    ['endpoint', true],
    ['bucket', true],
    ['prefix'],
    ['region'],
    ['access_key_file', true],
    ['secret_key_file', true],
    ['ca_file'],
    ['allow_http', false, 'checkbox'],
  ],
  azure: [
    ['account', true],
    ['container', true],
    ['prefix'],
    ['secret_key_file', true],
    ['endpoint'],
    ['ca_file'],
    ['allow_http', false, 'checkbox'],
  ],
  gcs: [
    ['bucket', true],
    ['prefix'],
    ['credentials_file', true],
    ['endpoint'],
    ['ca_file'],
    ['allow_http', false, 'checkbox'],
  ],
  webdav: [['endpoint', true], ['user'], ['password_file'], ['ca_file'], ['allow_http', false, 'checkbox']],
  rclone: [
    ['rclone_remote', true],
    ['rclone_flags', false, 'list'],
  ],
};

const at = (remote, ...more) => api.path(['remotes', remote, ...more]);

async function load(page) {
  const remotes = await api.get('/remotes');
  const { open } = page.state;
  const exports =
    open && remotes.some((one) => one.name === open)
      ? await api.get(api.path(['exports'], { remote: open })).catch((refusal) => refusal)
      : null;
  return { remotes, exports };
}

function view({ remotes, exports }, page) {
  return [
    pageHead(
      t('remotes.title'),
      t('remotes.about'),
      button(t('remotes.new'), askRemote, { test: 'new-remote', sign: 'plus', kind: 'primary' }),
    ),
    h(
      'div',
      { class: 'panel flush' },
      table(t('remotes.title'), COLUMNS(page), remotes, (one) => one.name, {
        test: 'remotes',
        empty: t('remotes.none'),
      }),
    ),
    exports &&
      h(
        'section',
        { class: 'panel flush', test: 'remote-exports' },
        h(
          'header',
          { class: 'panel-head pad' },
          h('h2', {}, t('remotes.exports_of', { name: page.state.open })),
        ),
        exports instanceof Error
          ? failure(exports)
          : table(
              t('remotes.exports_of', { name: page.state.open }),
              EXPORTS(page),
              exports,
              (one) => one.folder,
              { test: 'folders' },
            ),
      ),
  ];
}

const COLUMNS = (page) => [
  { name: t('remotes.name'), show: (one) => one.name },
  { name: t('remotes.type'), show: (one) => word('remote_type', one.type) },
  { name: t('remotes.place'), show: (one) => h('code', { class: 'iqn' }, one.place) },
  { name: t('cartridge.created'), show: (one) => shortTime(one.created) },
  {
    name: t('actions'),
    show: (one) =>
      h(
        'div',
        { class: 'actions' },
        button(t('remotes.test'), () => test(one), { test: 'remote-test' }),
        button(
          t('remotes.exports'),
          () => {
            page.set({ open: page.state.open === one.name ? null : one.name });
            return page.refresh();
          },
          { test: 'remote-open', 'aria-expanded': String(page.state.open === one.name) },
        ),
        button(t('remotes.objects'), () => objects(one), { test: 'remote-objects' }),
        button(t('remotes.details'), () => details(one), { test: 'remote-details' }),
        button(t('remotes.remove'), () => removeRemote(one), { test: 'remote-remove', kind: 'danger quiet' }),
      ),
  },
];

const EXPORTS = (page) => [
  {
    name: t('export.folder'),
    show: (one) =>
      one.complete
        ? h(
            'button',
            {
              type: 'button',
              class: 'link',
              test: 'export-show',
              onclick: () => showExport(page.state.open, one.folder),
            },
            one.folder,
          )
        : h('code', {}, one.folder),
  },
  { name: t('cartridge.label'), show: (one) => h('span', { class: 'label' }, one.label) },
  { name: t('job.objects'), number: true, show: (one) => integer(one.objects) },
  { name: t('map.bytes'), number: true, show: (one) => bytes(one.bytes) },
  {
    name: t('remotes.complete'),
    show: (one) => badge(one.complete ? 'completed' : 'waiting', one.complete ? t('yes') : t('no')),
  },
  { name: t('remotes.here'), show: (one) => one.cartridge ?? '–' },
  {
    name: t('actions'),
    show: (one) => one.complete && exportActions(page.state.open, one.folder, () => page.refresh()),
  },
];

/** The probe takes a while; what it finds is told step by step. */
function test(remote) {
  return dialog(
    t('remotes.test_of', { name: remote.name }),
    () => {
      const box = h(
        'div',
        { test: 'probe' },
        h('p', { class: 'loading', role: 'status' }, t('remotes.testing')),
      );
      api.post(at(remote.name, 'test')).then(
        (found) =>
          render(
            box,
            h(
              'p',
              {},
              badge(
                found.usable ? 'ok' : 'failed',
                found.usable ? t('remotes.usable') : t('remotes.not_usable'),
                { 'data-test': 'probe-result' },
              ),
            ),
            table(t('remotes.steps'), STEPS, found.steps, (one) => one.step),
          ),
        (failed) => render(box, failure(failed)),
      );
      return box;
    },
    { wide: true, test: 'test-remote' },
  );
}

const STEPS = [
  { name: t('remotes.step'), show: (one) => one.step },
  { name: t('remotes.finding'), show: (one) => badge(one.finding, word('finding', one.finding)) },
  { name: t('damage.why'), show: (one) => one.why ?? '' },
];

async function objects(remote) {
  let after = null;
  const rows = [];
  const box = h('div', { test: 'objects' });
  const more = async () => {
    const found = await api.get(
      `${at(remote.name, 'objects')}${after ? `?${new URLSearchParams({ after })}` : ''}`,
    );
    rows.push(...found.objects);
    after = found.next;
    render(
      box,
      table(
        t('remotes.objects'),
        [
          { name: t('remotes.object'), show: (one) => h('code', {}, one.name) },
          { name: t('map.bytes'), number: true, show: (one) => bytes(one.size_bytes) },
        ],
        rows,
        (one) => one.name,
        { empty: t('remotes.no_objects') },
      ),
      after && button(t('remotes.more'), more, { test: 'more-objects' }),
    );
  };
  await more();
  return dialog(t('remotes.objects_of', { name: remote.name }), () => box, {
    wide: true,
    test: 'remote-objects-dialog',
  });
}

async function details(remote) {
  const it = await api.get(at(remote.name));
  const rows = Object.entries(it.settings);
  return dialog(
    remote.name,
    () => [
      table(
        t('remotes.settings'),
        [
          { name: t('settings.key'), show: ([key]) => h('code', {}, key) },
          { name: t('settings.value'), show: ([, value]) => String(value) },
        ],
        rows,
        ([key]) => key,
      ),
      h(
        'p',
        {},
        it.used_by.length ? t('remotes.used_by', { names: it.used_by.join(', ') }) : t('remotes.unused'),
      ),
    ],
    { wide: true, test: 'remote-detail' },
  );
}

function askRemote() {
  const names = new Map();
  for (const [type, fields] of Object.entries(TYPES))
    for (const [name, required, kind] of fields) {
      const known = names.get(name) ?? {
        name,
        type: kind,
        label: t(`remote_field.${name}`),
        types: [],
        needed: [],
      };
      known.types.push(type);
      if (required) known.needed.push(type);
      names.set(name, known);
    }
  const fields = [...names.values()].map(({ types, needed, ...field }) => ({
    ...field,
    when: (values) => types.includes(values.type),
    required: needed.length === types.length,
    hint: field.name.endsWith('_file') || field.name === 'path' ? t('remotes.path_hint') : undefined,
  }));
  return ask(
    t('remotes.new'),
    [
      { name: 'name', label: t('remotes.name'), required: true },
      {
        name: 'type',
        type: 'select',
        label: t('remotes.type'),
        options: Object.keys(TYPES).map((type) => [type, t(`remote_type.${type}`)]),
      },
      ...fields,
      {
        name: 'known_exports',
        type: 'select',
        label: t('remotes.known'),
        options: ['', 'keep', 'forget'].map((what) => [what, t(`known_exports.${what || 'ask'}`)]),
        hint: t('remotes.known_hint'),
      },
    ],
    async (values) => {
      note((await api.post('/remotes', values)).message ?? t('remotes.made', { name: values.name }));
      live.tell('move');
    },
    { label: t('library.create'), test: 'create-remote' },
  );
}

function removeRemote(remote) {
  return confirm(
    t('remotes.remove_title', { name: remote.name }),
    t('remotes.remove_about'),
    t('remotes.remove'),
    {
      danger: true,
      test: 'confirm-remove-remote',
      act: async () => {
        await api.remove(at(remote.name));
        note(t('remotes.removed', { name: remote.name }));
        live.tell('move');
      },
    },
  );
}

export default () => ({ load, view, events: ['move', 'job'], state: () => ({ open: null }) });

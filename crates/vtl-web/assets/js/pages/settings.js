// Settings: what the configuration is and where each value comes from. The file is checked before it is
// taken.

import * as api from '../api.js';
import { h } from '../dom.js';
import { ask, confirm, form } from '../forms.js';
import { shortTime } from '../format.js';
import { mayDo } from '../needs.js';
import { t } from '../text.js';
import { badge, button, facts, note, pageHead, panel, table } from '../ui.js';

async function load() {
  const [config, status, hooks] = await Promise.all([
    api.get('/config/effective'),
    api.get('/system/status'),
    api.get('/hooks'),
  ]);
  return { config, status, hooks };
}

function view({ config, status, hooks }, page) {
  const { search, changed } = page.state;
  const words = search.toLowerCase();
  const shown = config.filter(
    (one) =>
      (!changed || one.origin !== 'default' || one.next_start !== undefined) &&
      `${one.key} ${one.value}`.toLowerCase().includes(words),
  );
  return [
    pageHead(
      t('settings.title'),
      t('settings.about'),
      button(t('settings.reload'), () => askReload(page), {
        test: 'reload',
        kind: 'primary',
      }),
      button(t('settings.backup'), askBackup, { test: 'backup' }),
    ),
    h(
      'div',
      { class: 'columns' },
      panel(
        t('settings.server'),
        facts([
          [t('settings.version'), status.version],
          [t('settings.started'), shortTime(status.started)],
          [t('settings.installation'), h('code', { class: 'hash' }, status.installation)],
          [t('settings.portals'), status.portals.map((one) => h('code', { class: 'iqn', key: one }, one))],
          [t('settings.scrub'), status.scrub],
        ]),
      ),
      mayDo('check-config-submit') &&
        panel(t('settings.check'), h('p', { class: 'muted' }, t('settings.check_about')), checkForm(page)),
      panel(
        t('settings.hooks'),
        table(t('settings.hooks'), HOOKS, hooks, (one) => one.name, { test: 'hooks' }),
      ),
    ),
    h(
      'div',
      { class: 'tools', role: 'search' },
      h(
        'label',
        { class: 'grow' },
        h('span', { class: 'unseen' }, t('settings.search')),
        h('input', {
          type: 'search',
          test: 'settings-search',
          placeholder: t('settings.search'),
          value: search,
          oninput: (event) => page.set({ search: event.target.value }),
        }),
      ),
      h(
        'label',
        { class: 'inline' },
        h('input', {
          type: 'checkbox',
          test: 'settings-changed',
          checked: changed,
          onchange: (event) => page.set({ changed: event.target.checked }),
        }),
        h('span', {}, t('settings.changed')),
      ),
    ),
    h(
      'div',
      { class: 'panel flush' },
      table(
        t('settings.title'),
        [
          { name: t('settings.key'), show: (one) => h('code', {}, one.key) },
          { name: t('settings.value'), show: valueText },
          {
            name: t('settings.origin'),
            show: (one) =>
              one.origin === 'default'
                ? h('span', { class: 'muted' }, one.origin)
                : badge('active', one.origin),
          },
        ],
        shown,
        (one) => one.key,
        { test: 'config' },
      ),
    ),
  ];
}

/** The value in effect, and the one that waits for a start. */
function valueText({ value, next_start: next }) {
  const code = h('code', {}, value);
  if (next === undefined) return code;
  return [code, ' ', h('span', { class: 'muted' }, t('settings.next_start', { value: next }))];
}

/** The one form of the page, made once so that what is typed stays. */
function checkForm(page) {
  const file = {
    name: 'file',
    label: t('settings.file'),
    hint: t('settings.file_hint'),
    placeholder: '/etc/vtl/vtl.toml',
  };
  const check = async (values) => note((await api.post('/config/check', values)).message);
  page.check ??= h(
    'div',
    { keep: true, key: 'check' },
    form([file], check, { label: t('settings.check'), test: 'check-config' }),
  );
  return page.check;
}

const HOOKS = [
  { name: t('settings.hook'), show: (one) => one.name },
  {
    name: t('settings.program'),
    show: (one) => (one.program ? h('code', {}, one.program) : t('settings.no_hook')),
  },
  {
    name: t('actions'),
    show: (one) =>
      one.program &&
      button(
        t('settings.hook_test'),
        async () => {
          const found = await api.post(api.path(['hooks', one.name, 'test']));
          note(
            [found.ok ? t('settings.hook_ok') : found.why, found.said].filter(Boolean).join(' '),
            found.ok ? 'good' : 'bad',
          );
        },
        { test: 'hook-test' },
      ),
  },
];

/** The server checks the file before it takes it; a wrong one changes nothing. */
async function askReload(page) {
  const checked = await api.post('/config/check').then((done) => done.message);
  const done = await confirm(
    t('settings.reload'),
    [h('p', { test: 'checked' }, checked), h('p', {}, t('settings.reload_about'))],
    t('settings.reload'),
    {
      test: 'confirm-reload',
      act: () => api.post('/system/reload'),
    },
  );
  if (done) note(done.message);
  await page.refresh();
}

function askBackup() {
  return ask(
    t('settings.backup'),
    [
      {
        name: 'file',
        label: t('settings.backup_file'),
        required: true,
        hint: t('settings.backup_hint'),
        placeholder: '/var/backups/inventory.db',
      },
    ],
    async (values) => note((await api.post('/system/backup', values)).message),
    { before: h('p', {}, t('settings.backup_about')), label: t('settings.backup'), test: 'backup-form' },
  );
}

export default () => ({ load, view, events: ['alert'], state: () => ({ search: '', changed: false }) });

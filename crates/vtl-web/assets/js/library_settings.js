// Settings of a library: how large it is, how its devices are told, and what becomes of what is put into its
// mailslots.

import * as api from './api.js';
import * as live from './live.js';
import { h } from './dom.js';
import { ask } from './forms.js';
import { mayDo } from './needs.js';
import { t } from './text.js';
import { note } from './ui.js';

const words = (...all) => all.map((one) => [one, one]);

/** Key of the API, and how it is typed. Which remotes and keys there are is asked when the dialog opens. */
function settingFields(of, remotes, keys) {
  const inherited = ['', t('setting.inherited')];
  // Who may not delete cartridges may still have nobody delete them.
  const deleting = mayDo('set-deleting') ? words('true', 'false') : words('false');
  const names = (rows) => rows.map((one) => [one.name, one.name]);
  const choices = {
    'migrate.remote': [['none', t('setting.none')], ...names(remotes)],
    'migrate.key': [['none', t('setting.none')], ...names(keys.filter((key) => key.type === 'rsa'))],
    'migrate.sign_with': [
      ['none', t('setting.none')],
      ...names(keys.filter((key) => key.type === 'ed25519')),
    ],
    'migrate.compress': words('zstd', 'lz4', 'none'),
    'migrate.verify': words('remote-hash', 'readback', 'none'),
    'migrate.delete_after_export': deleting,
    'migrate.delete_clean_import': deleting,
    'migrate.create_spare': words('true', 'false'),
    'migrate.triggers': null,
    'migrate.chunk_size': null,
    'migrate.spare_label': null,
  };
  return Object.entries(choices).map(([key, options]) => {
    const name = key.replace('migrate.', '');
    const own = of[key]?.origin === 'library' ? of[key].value : '';
    const hint =
      of[key]?.origin === 'configuration' ? t('setting.configured', { value: of[key].value }) : undefined;
    const known =
      options && own && !options.some(([value]) => value === own) ? [...options, [own, own]] : options;
    return {
      name: key,
      label: t(`setting.${name}`),
      type: known ? 'select' : undefined,
      options: known && [inherited, ...known],
      value: own,
      hint,
    };
  });
}

export async function askLibrarySettings(library) {
  const [remotes, keys, pools] = await Promise.all([
    api.get('/remotes'),
    api.get('/keys'),
    api.get('/pools'),
  ]);
  const of = Object.fromEntries(library.settings.map((one) => [one.key, one]));
  const number = (name) => ({
    name,
    type: 'number',
    label: t(`library.${name}`),
    value: library[name],
    props: { min: 0 },
  });
  const fields = [
    number('drives'),
    number('slots'),
    number('mailslots'),
    {
      name: 'targets',
      type: 'select',
      label: t('library.targets'),
      value: library.layout,
      options: [
        ['one', t('library.targets_one')],
        ['per-device', t('library.targets_per_device')],
      ],
    },
    {
      name: 'pool',
      type: 'select',
      label: t('cartridge.pool'),
      value: library.pool,
      options: pools.map((one) => [one.name, one.name]),
    },
    ...settingFields(of, remotes, keys),
  ];
  return ask(
    t('library.settings_of', { name: library.name }),
    fields,
    async (values) => {
      const change = changes(library, of, values);
      if (Object.keys(change).length === 0) return;
      note((await api.patch(api.path(['libraries', library.name]), change)).message);
      live.tell('move');
    },
    { wide: true, test: 'settings', before: h('p', { class: 'muted' }, t('library.settings_about')) },
  );
}

/** Only what is another than before is sent. */
function changes(library, of, values) {
  const before = {
    drives: library.drives,
    slots: library.slots,
    mailslots: library.mailslots,
    targets: library.layout,
    pool: library.pool,
  };
  const out = {};
  for (const [name, old] of Object.entries(before))
    if (values[name] !== undefined && values[name] !== old) out[name] = values[name];
  const keys = Object.keys({ ...of, ...values }).filter((key) => key.startsWith('migrate.'));
  const own = (key) => (of[key]?.origin === 'library' ? of[key].value : '');
  const settings = Object.fromEntries(
    keys.filter((key) => (values[key] ?? '') !== own(key)).map((key) => [key, values[key] ?? '']),
  );
  return Object.keys(settings).length ? { ...out, settings } : out;
}

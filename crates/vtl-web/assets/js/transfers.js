// Exports and imports: what is asked for before one is started.

import * as api from './api.js';
import { h } from './dom.js';
import { ask } from './forms.js';
import { bytes } from './format.js';
import { askJob } from './plans.js';
import { t, word } from './text.js';

const AS_CONFIGURED = () => ['', t('export.as_configured')];
const same = (words) => words.map((one) => [one, one]);

/** When its turn comes. What is empty is left out, and means normal. */
const PRIORITY = () => ({
  name: 'priority',
  type: 'select',
  label: t('job.priority'),
  options: [['', word('priority', 'normal')], ...['high', 'low'].map((one) => [one, word('priority', one)])],
});

/** Asks where to and how. */
export async function askExport(cartridge) {
  const [remotes, keys] = await Promise.all([api.get('/remotes'), api.get('/keys')]);
  const seals = keys.filter((key) => key.type === 'rsa');
  const signs = keys.filter((key) => key.type === 'ed25519' && key.private);
  return askJob(
    'export',
    t('export.title', { label: cartridge.label }),
    [
      {
        name: 'remote',
        type: 'select',
        label: t('export.remote'),
        options: [AS_CONFIGURED(), ...remotes.map((one) => [one.name, `${one.name} (${one.type})`])],
      },
      {
        name: 'key',
        type: 'select',
        label: t('export.key'),
        options: [AS_CONFIGURED(), ['none', t('export.no_key')], ...seals.map((one) => [one.name, one.name])],
      },
      {
        name: 'sign_with',
        type: 'select',
        label: t('export.sign'),
        options: [
          AS_CONFIGURED(),
          ['none', t('export.no_sign')],
          ...signs.map((one) => [one.name, one.name]),
        ],
      },
      { name: 'chunk_size_bytes', type: 'size', label: t('export.chunk'), hint: t('form.size_hint') },
      {
        name: 'compress',
        type: 'select',
        label: t('export.compress'),
        options: [AS_CONFIGURED(), ...same(['zstd', 'lz4', 'none'])],
      },
      {
        name: 'verify',
        type: 'select',
        label: t('export.verify'),
        options: [AS_CONFIGURED(), ...same(['remote-hash', 'readback', 'none'])],
      },
      PRIORITY(),
    ],
    api.path(['cartridges', cartridge.label, 'export']),
    { label: t('export.go') },
  );
}

/** Imports what an export job has made. */
export function importJob(job) {
  return askJob('import-job', t('import.job_title', { label: job.label, id: job.id }), HOW(), '/imports', {
    body: { job: job.id },
    before: h('p', {}, t('import.job_about', { remote: job.remote ?? '', folder: job.folder ?? '' })),
    label: t('import.go'),
  });
}

const HOW = () => [
  { name: 'as_label', label: t('import.as_label'), hint: t('import.as_label_hint') },
  { name: 'lazy', type: 'checkbox', label: t('import.lazy'), hint: t('import.lazy_hint') },
  PRIORITY(),
];

/** Imports a folder of a remote that is chosen first. */
export async function chooseImport() {
  const remotes = await api.get('/remotes');
  const chosen = await ask(
    t('import.title'),
    [
      {
        name: 'remote',
        type: 'select',
        label: t('import.remote'),
        required: true,
        options: remotes.map((one) => [one.name, one.name]),
      },
    ],
    async (values) => values,
    { before: h('p', {}, t('import.which')), label: t('next'), test: 'import-remote' },
  );
  return chosen && askImport(chosen.remote);
}

/** Imports a folder of a remote. */
export async function askImport(remote, folder) {
  const rows = await api.get(api.path(['exports'], { remote }));
  const name = (row) => `${row.folder} · ${bytes(row.bytes)}`;
  const which = {
    name: 'folder',
    type: 'select',
    label: t('import.folder'),
    required: true,
    value: folder,
    options: rows.filter((row) => row.complete).map((row) => [row.folder, name(row)]),
  };
  return askJob('import', t('import.title'), [which, ...HOW()], '/imports', {
    body: { remote },
    before: h('p', {}, t('import.about', { remote })),
    label: t('import.go'),
  });
}

// Exports and imports: what is asked for, and the plan before anything is started.

import * as api from './api.js';
import * as live from './live.js';
import { h, render } from './dom.js';
import { ask, valuesOf } from './forms.js';
import { bytes } from './format.js';
import { planText } from './moves.js';
import { t } from './text.js';
import { button, failure, note } from './ui.js';

const AS_CONFIGURED = () => ['', t('export.as_configured')];
const same = (words) => words.map((word) => [word, word]);

/** Asks where to and how; a plan can be seen first, which starts nothing. */
export async function askExport(cartridge) {
  const [remotes, keys] = await Promise.all([api.get('/remotes'), api.get('/keys')]);
  const seals = keys.filter((key) => key.type === 'rsa');
  const signs = keys.filter((key) => key.type === 'ed25519' && key.private);
  const to = api.path(['cartridges', cartridge.label, 'export']);
  const said = h('div', {});
  const look = button(
    t('export.plan'),
    async (event) => {
      const values = valuesOf(event.target.closest('form'));
      render(said, await api.post(to, { ...values, plan: true }).then(planText, failure));
    },
    { test: 'export-plan' },
  );
  const job = await ask(
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
    ],
    (values) => api.post(to, values),
    { before: said, extra: [look], label: t('export.go'), test: 'export' },
  );
  started(job);
}

function started(job) {
  if (!job) return;
  note(
    h(
      'span',
      {},
      t('job.started', { id: job.id ?? job.job }),
      ' ',
      h('a', { href: `#/jobs?open=${job.id ?? job.job}` }, t('job.see')),
    ),
  );
  live.tell('job');
}

/** Imports what an export job has made. */
export async function importJob(job) {
  started(
    await ask(
      t('import.job_title', { label: job.label, id: job.id }),
      [...HOW()],
      (values) => api.post('/imports', { job: job.id, ...values }),
      {
        before: h('p', {}, t('import.job_about', { remote: job.remote ?? '', folder: job.folder ?? '' })),
        label: t('import.go'),
        test: 'import-job',
      },
    ),
  );
}

const HOW = () => [
  { name: 'as_label', label: t('import.as_label'), hint: t('import.as_label_hint') },
  { name: 'lazy', type: 'checkbox', label: t('import.lazy'), hint: t('import.lazy_hint') },
];

/** Imports a folder of a remote. */
export async function askImport(remotes, remote, folder) {
  const rows = remote ? await api.get(api.path(['exports'], { remote })) : [];
  const name = (row) => `${row.folder} · ${bytes(row.bytes)}`;
  const which = remote
    ? [
        {
          name: 'folder',
          type: 'select',
          label: t('import.folder'),
          required: true,
          value: folder,
          options: rows.filter((row) => row.complete).map((row) => [row.folder, name(row)]),
        },
        ...HOW(),
      ]
    : [
        {
          name: 'remote',
          type: 'select',
          label: t('import.remote'),
          required: true,
          options: remotes.map((one) => [one.name, one.name]),
        },
      ];
  const done = await ask(
    t('import.title'),
    which,
    async (values) => (remote ? { job: await api.post('/imports', { remote, ...values }) } : values),
    {
      before: h('p', {}, remote ? t('import.about', { remote }) : t('import.which')),
      label: remote ? t('import.go') : t('next'),
      test: remote ? 'import' : 'import-remote',
    },
  );
  if (done?.remote) return askImport(remotes, done.remote);
  started(done?.job);
  return undefined;
}

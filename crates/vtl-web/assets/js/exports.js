// What lies on remotes: one export, what it says of itself, and what can be done with it.

import * as api from './api.js';
import { h } from './dom.js';
import { dialog } from './forms.js';
import { bytes, integer } from './format.js';
import { askJob } from './plans.js';
import { t } from './text.js';
import { button, facts, table } from './ui.js';
import { askImport } from './transfers.js';

/** Opens what the manifest of a folder says. */
export async function showExport(remote, folder) {
  const it = await api.get(api.path(['exports', 'show'], { remote, folder }));
  return dialog(folder, () => content(it), { wide: true, test: 'export-detail' });
}

function content(it) {
  return [
    facts([
      [t('cartridge.label'), it.label],
      [t('export.created'), it.created],
      [t('cartridge.write_generation'), integer(it.generation)],
      [t('export.image'), bytes(it.image_bytes)],
      [t('export.stored'), t('export.objects_of', { bytes: bytes(it.stored_bytes), n: integer(it.objects) })],
      [t('export.compress'), it.codec],
      [t('export.encrypted'), it.encrypted ? t('yes') : t('no')],
      [t('export.made_by'), it.made_by],
      [t('export.manifest'), h('code', { class: 'hash' }, it.manifest_sha256)],
    ]),
    it.recipients.length > 0 && h('h3', {}, t('export.recipients')),
    it.recipients.length > 0 &&
      table(
        t('export.recipients'),
        [
          { name: t('key.name'), show: (one) => one.key ?? t('key.unknown') },
          { name: t('key.private'), show: (one) => (one.private ? t('yes') : t('no')) },
          { name: t('key.fingerprint'), show: (one) => h('code', { class: 'hash' }, one.fingerprint) },
        ],
        it.recipients,
        (one) => one.fingerprint,
      ),
    it.inside_problem && h('p', { class: 'muted' }, it.inside_problem),
    it.inside && h('h3', {}, t('export.inside')),
    it.inside &&
      facts([
        [t('cartridge.blocks'), integer(it.inside.blocks)],
        [t('cartridge.filemarks'), integer(it.inside.filemarks)],
        ['BLAKE3', h('code', { class: 'hash' }, it.inside.blake3)],
      ]),
  ];
}

/** Buttons for a folder of a remote. */
export function exportActions(remote, folder, after = () => {}) {
  const body = { remote, folder };
  const asks = (job) => async () => {
    if (await job()) after();
  };
  return h(
    'div',
    { class: 'actions' },
    button(t('export.verify_now'), asks(() => askVerify(body)), { test: 'export-verify' }),
    button(t('export.import'), () => askImport(remote, folder), { test: 'export-import' }),
    button(t('export.rewrap'), asks(() => askRewrap(body)), { test: 'export-rewrap' }),
    button(t('export.prune'), asks(() => askPrune(body)), { test: 'export-prune', kind: 'danger quiet' }),
  );
}

function askVerify(body) {
  return askJob('verify', t('export.verify_title'), [], '/exports/verify', {
    body,
    atOnce: true,
    before: h('p', {}, t('export.verify_about', { remote: body.remote })),
    label: t('export.verify_go'),
  });
}

async function askRewrap(body) {
  const keys = (await api.get('/keys')).filter((key) => key.type === 'rsa');
  const key = {
    name: 'key',
    type: 'select',
    label: t('export.key'),
    required: true,
    options: keys.map((one) => [one.name, one.name]),
  };
  return askJob('rewrap', t('export.rewrap_title'), [key], '/exports/rewrap', {
    body,
    before: h('p', {}, t('export.rewrap_about')),
    label: t('export.rewrap'),
  });
}

/** What is typed once more keeps from pressing the wrong button; the plan does not wait for it. */
function askPrune(body) {
  const { remote, folder } = body;
  const confirm = { name: 'confirm', label: t('export.prune_confirm', { folder }), required: true };
  return askJob('prune', t('export.prune_title'), [confirm], '/exports/prune', {
    body,
    plan: { confirm: folder },
    atOnce: true,
    before: h('p', {}, t('export.prune_about', { remote })),
    label: t('export.prune'),
    kind: 'danger',
  });
}

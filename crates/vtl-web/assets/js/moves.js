// Moves of cartridges, and the questions that come before those that cannot be taken back by a move.

import * as api from './api.js';
import * as live from './live.js';
import { h } from './dom.js';
import { ask, confirm } from './forms.js';
import { planOf } from './plans.js';
import { t } from './text.js';
import { note, noteFailure } from './ui.js';

/** `slot:3` → `slot 3`, for people. */
export function placeText(kind, number) {
  return number === null || number === undefined
    ? t(`place.${kind}`)
    : t('place.numbered', { kind: t(`place.${kind}`), n: number });
}

/** Moves a cartridge to `{kind, number}` of a library, after the question that a mailslot needs. */
export async function move(label, library, to, from) {
  const go = (force) =>
    api.post(api.path(['cartridges', label, 'move']), {
      to: to.kind === 'vault' ? 'vault' : `${to.kind}:${to.number}`,
      library: to.kind === 'vault' ? undefined : library,
      force,
    });
  const done =
    to.kind === 'mailslot' && from?.kind !== 'vault'
      ? await askEject(label, library, to, go)
      : await moveNow(label, go);
  if (done) told(done.message);
  return done;
}

function told(message) {
  note(message);
  live.tell('move');
  live.tell('job');
}

/** What stands in the way of a drive's cartridge is told, and whoever insists may go on. */
async function moveNow(label, go) {
  try {
    return await go(false);
  } catch (refusal) {
    if (refusal.code !== 'conflict' || !refusal.remedy?.includes('--force')) throw refusal;
    const text = [h('p', {}, refusal.message), h('p', { class: 'muted' }, t('move.force_about'))];
    return confirm(t('move.force_title', { label }), text, t('move.force'), {
      danger: true,
      test: 'move-force',
      act: () => go(true),
    });
  }
}

/** A move to a mailslot may export the cartridge and delete it here: said before, from the library's
 *  settings. */
async function askEject(label, library, to, go) {
  const { settings } = await api.get(api.path(['libraries', library]));
  const of = Object.fromEntries(settings.map((one) => [one.key, one.value]));
  const plan = exports(of) ? await planOf(api.path(['cartridges', label, 'export'])) : null;
  return confirm(
    t('eject.title', { label, n: to.number }),
    ejectText(label, to, of, plan),
    exports(of) ? t('eject.go') : t('move.go'),
    {
      danger: exports(of) && (isOn(of, 'delete_after_export') || isOn(of, 'delete_clean_import')),
      test: 'eject',
      act: () => go(false),
    },
  );
}

const exports = (of) =>
  Boolean(of['migrate.remote']) &&
  of['migrate.remote'] !== 'none' &&
  (of['migrate.triggers'] ?? 'mailslot').split(',').includes('mailslot');

const isOn = (of, name) => of[`migrate.${name}`] === 'true';

function ejectText(label, to, of, plan) {
  if (!exports(of)) return h('p', { test: 'eject-stays' }, t('eject.stays', { label, n: to.number }));
  const key = of['migrate.key'];
  const encrypted = key && key !== 'none';
  const remote = of['migrate.remote'];
  const gone = isOn(of, 'delete_after_export');
  const cleanGone = isOn(of, 'delete_clean_import');
  return [
    h('p', {}, t('eject.about')),
    h(
      'ol',
      { class: 'steps' },
      h('li', {}, t('eject.vault', { label, n: to.number })),
      h(
        'li',
        { test: 'eject-clean', class: cleanGone ? 'warn' : null },
        cleanGone ? t('eject.clean_delete', { remote }) : t('eject.clean_keep'),
      ),
      h('li', { test: 'eject-remote' }, t('eject.job', { remote })),
      h('li', { test: 'eject-key' }, encrypted ? t('eject.key', { key }) : t('eject.no_key')),
      h('li', {}, t(`eject.verify_${(of['migrate.verify'] ?? 'remote-hash').replace('-', '_')}`)),
      h('li', { test: 'eject-after', class: gone ? 'warn' : null }, kept(gone, cleanGone)),
    ),
    plan,
  ];
}

/** What becomes of a cartridge that a job exports. */
function kept(gone, cleanGone) {
  if (gone) return t('eject.delete');
  return cleanGone ? t('eject.keep_exported') : t('eject.keep');
}

/** Chooses a target by name: the way without a pointer. `elements`: those of the library. */
export function askTarget(label, library, elements, from) {
  const free = elements
    .filter((one) => !one.label)
    .map((one) => [`${one.kind}:${one.number}`, placeText(one.kind, one.number)]);
  const options = [...free, ...(from?.kind === 'vault' ? [] : [['vault:', t('place.vault')]])];
  return ask(
    t('move.title', { label }),
    [{ name: 'to', type: 'select', label: t('move.to'), options, required: true }],
    async ({ to }) => {
      const [kind, number] = to.split(':');
      queueMicrotask(() =>
        move(label, library, { kind, number: number === '' ? null : Number(number) }, from).catch(
          noteFailure,
        ),
      );
    },
    { label: t('move.go'), test: 'move' },
  );
}

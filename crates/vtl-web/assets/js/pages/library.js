// The library: where every cartridge is, and what the drives do.

import * as api from '../api.js';
import * as live from '../live.js';
import { h } from '../dom.js';
import { ask, confirm } from '../forms.js';
import { cabinet, vault } from '../cabinet.js';
import { askCreate, cartridgeActions, cartridgeFacts, marks } from '../cartridge.js';
import { withRates } from '../drives.js';
import { move } from '../moves.js';
import { mayDo } from '../needs.js';
import { askLibrarySettings } from '../library_settings.js';
import { t } from '../text.js';
import { button, figure, note, noteFailure, pageHead, signButton, tabs } from '../ui.js';

/** Above this many elements the picture says nothing of how full cartridges are: it would take a long
 *  list each time. */
const TELL_FILL = 1500;

/** The drives are asked each time, the cartridges only when something has moved. */
async function load(page, reasons) {
  const changed = page.data === null || [...reasons].some((reason) => reason !== 'tick');
  const [libraries, drives, sessions] = await Promise.all([
    changed ? api.get('/libraries') : page.data.libraries,
    api.get('/drives'),
    api.get('/iscsi/sessions'),
  ]);
  const name = libraries.some((one) => one.name === page.state.library)
    ? page.state.library
    : libraries[0]?.name;
  const same = page.data?.library?.name === name && !changed;
  const [library, vaulted, cartridges] = same
    ? [page.data.library, page.data.vault, page.data.cartridges]
    : await contents(name);
  const mine = withRates(drives.filter((one) => one.library === name));
  const loaded = await inDrives(mine, cartridges);
  return {
    libraries,
    library,
    drives: mine,
    sessions,
    vault: vaulted,
    cartridges: new Map([...cartridges, ...loaded]),
    last: lastMove(page, library),
  };
}

/** Of the vault its first page: the shelf shows no more than that, and all of it may be a long list. */
async function contents(name) {
  const [library, vaulted] = await Promise.all([
    name ? api.get(api.path(['libraries', name])) : null,
    api.first(api.paged('/vault')),
  ]);
  const few = library && library.elements.length <= TELL_FILL;
  const rows = few ? await api.list(api.paged(api.path(['cartridges'], { library: name }))) : [];
  return [library, vaulted, new Map([...rows, ...vaulted.rows].map((row) => [row.label, row]))];
}

/** What is in a drive changes without a move. */
async function inDrives(drives, cartridges) {
  const labels = drives
    .filter((one) => one.cartridge && (one.written_bytes || !cartridges.has(one.cartridge)))
    .map((one) => one.cartridge);
  const rows = await Promise.all(
    labels.map((label) => api.get(api.path(['cartridges', label])).catch(() => null)),
  );
  return rows.filter(Boolean).map((row) => [row.label, row]);
}

/** The element that has something since the last look: the robot has been there. */
function lastMove(page, library) {
  const before = page.data?.library;
  if (!library || before?.name !== library.name) return null;
  const old = new Map(before.elements.filter((one) => one.label).map((one) => [one.label, one]));
  const moved = library.elements.find(
    (one) =>
      one.label && (old.get(one.label)?.kind !== one.kind || old.get(one.label)?.number !== one.number),
  );
  return moved ?? page.data.last;
}

function view(data, page) {
  const { library } = data;
  const actions = [
    button(t('library.new_cartridges'), async () => askCreate(data.libraries, await api.get('/pools')), {
      test: 'new-cartridges',
      sign: 'plus',
      kind: 'primary',
    }),
    library &&
      button(t('library.settings'), () => askLibrarySettings(library), {
        test: 'library-settings',
        sign: 'settings',
      }),
    button(t('library.new'), () => askLibrary(), { test: 'new-library', sign: 'plus' }),
    library &&
      button(t('library.remove'), () => askRemove(library), { test: 'remove-library', kind: 'danger quiet' }),
  ];
  const head = pageHead(
    t('library.title'),
    library &&
      t('library.about', { drives: library.drives, slots: library.slots, mailslots: library.mailslots }),
    ...actions.filter(Boolean),
  );
  if (!library) return [head, h('p', { class: 'empty' }, t('library.none'))];
  const act = {
    choose: (label) => page.set({ chosen: label }),
    bank: (bank) => page.set({ bank }),
    move: (label, to) => moveTo(page, data, label, to),
  };
  const seen = {
    elements: library.elements,
    drives: data.drives,
    sessions: data.sessions,
    cartridges: data.cartridges,
    vault: data.vault,
    last: data.last,
    ...page.state,
  };
  const chosen =
    page.state.chosen && placeOf(data, page.state.chosen) && data.cartridges.get(page.state.chosen);
  return h(
    'div',
    { onkeydown: (event) => event.key === 'Escape' && page.set({ chosen: null }) },
    head,
    data.libraries.length > 1 &&
      tabs(
        t('library.choose'),
        data.libraries.map((one) => [one.name, one.name]),
        library.name,
        (name) => {
          page.set({ library: name, chosen: null });
          page.refresh();
        },
        'cabinet',
      ),
    h(
      'div',
      { class: chosen ? 'split open' : 'split' },
      h('div', { id: 'cabinet', class: 'split-main' }, cabinet(library, seen, act), vault(seen, act)),
      chosen && inspector(chosen, data, page),
    ),
    h(
      'div',
      { class: 'figures' },
      figure(t('library.cartridges'), String(library.cartridges)),
      figure(
        t('library.free_slots'),
        String(library.elements.filter((one) => one.kind === 'slot' && !one.label).length),
      ),
      figure(t('library.loaded'), String(data.drives.filter((one) => one.state === 'loaded').length)),
      figure(
        t('library.sessions'),
        String(
          data.sessions.filter((one) => library.targets.some((target) => target.name === one.target)).length,
        ),
      ),
    ),
  );
}

function placeOf(data, label) {
  return (
    data.library.elements.find((one) => one.label === label) ??
    (data.vault.rows.some((one) => one.label === label) ? { kind: 'vault', number: null } : null)
  );
}

async function moveTo(page, data, label, to) {
  try {
    if (await move(label, data.library.name, to, placeOf(data, label))) page.set({ chosen: null });
  } catch (failed) {
    noteFailure(failed);
  }
}

function inspector(chosen, data, page) {
  return h(
    'aside',
    {
      class: 'panel inspector',
      test: 'inspector',
      'aria-label': t('cartridge.one', { label: chosen.label }),
    },
    h(
      'header',
      { class: 'panel-head' },
      h('h2', { class: 'label' }, chosen.label),
      h('span', { class: 'spring' }),
      signButton(t('close'), 'close', () => page.set({ chosen: null }), { test: 'inspector-close' }),
    ),
    marks(chosen).length > 0 &&
      h(
        'p',
        { class: 'chips' },
        marks(chosen).map(([name, text]) => h('span', { class: 'chip', key: name }, text)),
      ),
    mayDo('do-move') && h('p', { class: 'hint' }, t('library.choose_target')),
    cartridgeFacts(chosen),
    h(
      'p',
      {},
      h(
        'a',
        { href: `#/cartridges/${encodeURIComponent(chosen.label)}`, test: 'inspector-open' },
        t('cartridge.open'),
      ),
    ),
    cartridgeActions(chosen, { library: data.library.name, all: data.library.elements }),
  );
}

function askLibrary() {
  const number = (name, value) => ({
    name,
    type: 'number',
    label: t(`library.${name}`),
    value,
    required: true,
    props: { min: name === 'mailslots' ? 0 : 1 },
  });
  return ask(
    t('library.new'),
    [
      { name: 'name', label: t('library.name'), required: true, placeholder: 'lib1' },
      { name: 'profile', label: t('library.profile'), required: true, value: 'ibm-03584l32' },
      number('drives', 2),
      number('slots', 24),
      number('mailslots', 4),
    ],
    async (values) => {
      note((await api.post('/libraries', values)).message);
      live.tell('move');
    },
    { label: t('library.create'), test: 'create-library' },
  );
}

function askRemove(library) {
  return confirm(
    t('library.remove_title', { name: library.name }),
    t('library.remove_about'),
    t('library.remove'),
    {
      danger: true,
      test: 'confirm-remove-library',
      act: async () => {
        note((await api.remove(api.path(['libraries', library.name]))).message);
        live.tell('move');
      },
    },
  );
}

export default () => ({
  load,
  view,
  events: ['move', 'job'],
  every: 2,
  state: (query) => ({ library: query.get('library'), chosen: null, bank: 0 }),
});

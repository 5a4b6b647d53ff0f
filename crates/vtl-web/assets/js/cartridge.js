// One cartridge: what it is, and what can be done with it. The picture of the library and the page of a
// cartridge both show it.

import * as api from './api.js';
import * as live from './live.js';
import { h } from './dom.js';
import { ask } from './forms.js';
import { bytes, integer, ratio, shortTime } from './format.js';
import { askExport } from './transfers.js';
import { t } from './text.js';
import { bar, button, facts, note } from './ui.js';
import { askTarget, placeText } from './moves.js';

export const where = (cartridge) =>
  [
    placeText(cartridge.place.kind, cartridge.place.number),
    cartridge.library && t('place.of', { library: cartridge.library }),
  ]
    .filter(Boolean)
    .join(' ');

/** Its marks in a word each. */
export function marks(one) {
  return [
    one.write_protected && ['protected', t('cartridge.protected')],
    one.worm && ['worm', t('cartridge.worm')],
    one.hold && ['hold', t('cartridge.on_hold')],
    one.retain_until && ['retained', t('cartridge.retained')],
    one.quarantined && ['quarantined', t('cartridge.quarantined')],
    one.lazy && ['lazy', t('cartridge.lazy')],
  ].filter(Boolean);
}

export function cartridgeFacts(one) {
  return [
    h(
      'div',
      { class: 'usage' },
      bar(one.used_bytes, one.capacity_bytes, t('cartridge.used')),
      h(
        'span',
        { class: 'muted' },
        t('cartridge.used_of', { used: bytes(one.used_bytes), whole: bytes(one.capacity_bytes) }),
      ),
    ),
    facts([
      [t('cartridge.place'), where(one)],
      [t('cartridge.generation'), t('cartridge.lto', { n: one.generation })],
      [t('cartridge.pool'), one.pool],
      one.arrived_bytes > 0 && [t('cartridge.compression'), ratio(one.logical_bytes / one.arrived_bytes)],
      one.exclusive_bytes !== null && [t('cartridge.exclusive'), bytes(one.exclusive_bytes)],
      [t('cartridge.created'), shortTime(one.created)],
      one.retention_ends && [t('cartridge.retained_until'), shortTime(one.retention_ends)],
      one.lazy && [
        t('cartridge.here'),
        t('cartridge.used_of', { used: bytes(one.lazy.here_bytes), whole: bytes(one.lazy.image_bytes) }),
      ],
      [t('cartridge.exports'), one.exports_problem ?? integer(one.exports.length)],
    ]),
    one.quarantined && h('p', { class: 'failure' }, one.quarantined),
    one.lazy?.problem && h('p', { class: 'failure' }, one.lazy.problem),
  ];
}

const one = (label, ...more) => api.path(['cartridges', label, ...more]);

async function change(label, what) {
  const done = await api.patch(one(label), what);
  note(done.message);
  live.tell('move');
}

async function release(label) {
  note((await api.post(one(label, 'release'))).message);
  live.tell('move');
}

/** Buttons by what the cartridge is: `[name, when, act]`. */
export function cartridgeActions(it, elements, after = () => {}) {
  const all = [
    [
      'move',
      elements !== null,
      () => askTarget(it.label, it.library ?? elements.library, elements.all, it.place),
    ],
    ['load', it.place.kind === 'vault' && elements === null, () => askLoad(it)],
    ['export', true, () => askExport(it)],
    [
      it.write_protected ? 'unprotect' : 'protect',
      true,
      () => change(it.label, { write_protect: !it.write_protected }),
    ],
    [it.hold ? 'unhold' : 'hold', true, () => change(it.label, { hold: !it.hold })],
    ['retain', true, () => askRetain(it)],
    [
      'release',
      Boolean(it.quarantined),
      () => release(it.label),
    ],
    ['remove', it.place.kind !== 'drive', () => askRemove(it)],
  ];
  return h(
    'div',
    { class: 'actions' },
    all
      .filter(([, when]) => when)
      .map(([name, , act]) =>
        button(
          t(`cartridge.do_${name}`),
          async () => {
            await act();
            after();
          },
          { key: name, test: `do-${name}`, kind: name === 'remove' ? 'danger quiet' : 'plain' },
        ),
      ),
  );
}

async function askLoad(it) {
  const libraries = await api.get('/libraries');
  return ask(
    t('cartridge.load_title', { label: it.label }),
    [
      {
        name: 'library',
        type: 'select',
        label: t('cartridge.library'),
        options: libraries.map((row) => [row.name, row.name]),
      },
    ],
    async ({ library }) => {
      note((await api.post(api.path(['vault', it.label, 'load']), { library })).message);
      live.tell('move');
    },
    { label: t('cartridge.do_load'), test: 'load' },
  );
}

function askRetain(it) {
  const before = h('p', {}, t('cartridge.retain_about'));
  return ask(
    t('cartridge.retain_title', { label: it.label }),
    [
      {
        name: 'retain_until',
        label: t('cartridge.retained_until'),
        required: true,
        placeholder: '2027-01-31',
        hint: t('cartridge.retain_hint'),
      },
    ],
    (values) => change(it.label, values),
    { before, label: t('cartridge.do_retain'), test: 'retain' },
  );
}

/** The trash keeps it for seven days; at once wants the label typed. */
function askRemove(it) {
  return ask(
    t('cartridge.remove_title', { label: it.label }),
    [
      { name: 'now', type: 'checkbox', label: t('cartridge.remove_now') },
      {
        name: 'confirm',
        label: t('cartridge.remove_confirm', { label: it.label }),
        when: (values) => values.now,
        required: true,
      },
    ],
    async (values) => {
      note((await api.remove(one(it.label), values)).message);
      live.tell('move');
    },
    {
      before: h('p', {}, t('cartridge.remove_about')),
      label: t('cartridge.do_remove'),
      kind: 'danger',
      test: 'remove',
    },
  );
}

/** New blank ones. */
export function askCreate(libraries, pools) {
  return ask(
    t('cartridge.create_title'),
    [
      {
        name: 'label',
        label: t('cartridge.label'),
        required: true,
        placeholder: 'VTL101L8',
        hint: t('cartridge.label_hint'),
      },
      { name: 'count', type: 'number', label: t('cartridge.count'), value: 1, props: { min: 1, max: 1000 } },
      {
        name: 'library',
        type: 'select',
        label: t('cartridge.library'),
        options: libraries.map((row) => [row.name, row.name]),
      },
      { name: 'size_bytes', type: 'size', label: t('cartridge.size'), hint: t('form.size_hint') },
      {
        name: 'pool',
        type: 'select',
        label: t('cartridge.pool'),
        options: [['', t('cartridge.pool_of_library')], ...pools.map((row) => [row.name, row.name])],
      },
      { name: 'worm', type: 'checkbox', label: t('cartridge.worm_wanted') },
    ],
    async (values) => {
      note((await api.post('/cartridges', values)).message);
      live.tell('move');
    },
    { label: t('cartridge.create'), test: 'create-cartridge' },
  );
}

// The library as a picture: slots, robot, drives, mailslots, and the shelf of the vault beside it.
//
// A cartridge is dragged to a free place, or chosen and then its place is: every place is a button then.

import { h } from './dom.js';
import { icon } from './icons.js';
import { percent } from './format.js';
import { count, t, word } from './text.js';
import { badge } from './ui.js';
import { placeText } from './moves.js';
import { mayDo } from './needs.js';
import { driveFacts } from './drives.js';

/** So many slots are one magazine, and so many magazines are drawn at once. */
const MAGAZINE = 60;
const DRAWN = 10;
/** So many cartridges of the vault are drawn; the list of cartridges has the others. */
const SHELF = 120;

const DRAG = 'application/x-vtl-label';

/** `view`: `{elements, drives, cartridges: Map, vault: {rows, more}, chosen, bank}`; `act`: `{choose, move, bank}`. */
export function cabinet(library, view, act) {
  const of = (kind) => view.elements.filter((one) => one.kind === kind);
  const slots = of('slot');
  return h(
    'div',
    { class: 'cabinet', test: 'cabinet' },
    h(
      'div',
      { class: 'cabinet-head' },
      h('span', { class: 'lamp good' }),
      h('strong', {}, library.name),
      h('span', { class: 'plate' }, library.profile),
      h('span', { class: 'spring' }),
      h('code', { class: 'plate only-wide' }, library.target),
    ),
    magazines(slots, view, act),
    rail(view, slots.length),
    h(
      'div',
      { class: 'lower' },
      h(
        'section',
        { class: 'drives', 'aria-label': t('library.drives') },
        h('h2', { class: 'small' }, t('library.drives')),
        of('drive').map((element) => drive(element, view, act)),
      ),
      h(
        'section',
        { class: 'station', 'aria-label': t('library.mailslots') },
        h('h2', { class: 'small' }, t('library.mailslots')),
        h(
          'ul',
          { class: 'bays' },
          of('mailslot').map((element) => place(element, view, act)),
        ),
      ),
    ),
  );
}

function magazines(slots, view, act) {
  const all = [];
  for (let at = 0; at < slots.length; at += MAGAZINE) all.push(slots.slice(at, at + MAGAZINE));
  const banks = Math.ceil(all.length / DRAWN);
  const bank = Math.min(view.bank, banks - 1);
  const drawn = all.slice(bank * DRAWN, (bank + 1) * DRAWN);
  return h(
    'section',
    { class: 'magazines', 'aria-label': t('library.slots') },
    banks > 1 &&
      h(
        'label',
        { class: 'bank' },
        t('library.bank'),
        h(
          'select',
          { test: 'bank', value: bank, onchange: (event) => act.bank(Number(event.target.value)) },
          Array.from({ length: banks }, (_, n) =>
            h(
              'option',
              { value: n },
              t('library.bank_range', {
                from: n * DRAWN * MAGAZINE + 1,
                to: Math.min(slots.length, (n + 1) * DRAWN * MAGAZINE),
              }),
            ),
          ),
        ),
      ),
    drawn.map((magazine) =>
      h(
        'ul',
        { class: 'magazine', key: magazine[0]?.number },
        magazine.map((one) => place(one, view, act)),
      ),
    ),
  );
}

/** The robot stands where it has last put something. */
function rail(view, slots) {
  const last = view.last;
  const at = !last
    ? 0
    : last.kind === 'slot'
      ? ((last.number - 1) % 12) / 12
      : last.kind === 'drive'
        ? 0.2
        : 0.9;
  return h(
    'div',
    { class: 'rail', 'aria-hidden': 'true' },
    h(
      'div',
      { class: 'robot', style: { '--at': slots ? at : 0 } },
      h('span', { class: 'gripper' }),
      last && h('span', { class: 'robot-label' }, last.label),
    ),
  );
}

function place(element, view, act) {
  const key = `${element.kind}${element.number}`;
  return h('li', { key }, element.label ? full(element, view, act) : free(element, view, act));
}

function full(element, view, act) {
  const { label } = element;
  const chosen = view.chosen === label;
  return h(
    'button',
    {
      type: 'button',
      class: `bay full${chosen ? ' chosen' : ''}`,
      test: `cell-${element.kind}-${element.number}`,
      draggable: String(mayDo('do-move')),
      'aria-pressed': String(chosen),
      onclick: () => act.choose(chosen ? null : label),
      ...drag(label),
    },
    said(`${label}, ${placeText(element.kind, element.number)}`),
    plate(element.number),
    spine(label, view.cartridges.get(label)),
  );
}

/** What is heard in the place of what is drawn. */
const said = (text) => h('span', { class: 'unseen' }, text);
const plate = (number) => h('span', { class: 'bay-number', 'aria-hidden': 'true' }, String(number));

/** The back of a cartridge, with how full it is. */
export function spine(label, cartridge) {
  const generation = cartridge ? `g${cartridge.generation}` : '';
  return h(
    'span',
    { class: `spine ${generation}`, 'aria-hidden': 'true' },
    h(
      'span',
      { class: 'spine-label' },
      h('span', {}, label.slice(0, 6)),
      h('span', { class: 'media' }, label.slice(6)),
    ),
    h(
      'span',
      { class: 'spine-fill' },
      h('span', {
        style: { width: `${cartridge ? percent(cartridge.used_bytes, cartridge.capacity_bytes) : 0}%` },
      }),
    ),
    (cartridge?.write_protected || cartridge?.hold || cartridge?.worm) && icon('lock'),
  );
}

function free(element, view, act) {
  const where = placeText(element.kind, element.number);
  const test = `cell-${element.kind}-${element.number}`;
  const number = plate(element.number);
  const drop = dropHere(element, act);
  if (!view.chosen || !mayDo('do-move'))
    return h('span', { class: 'bay', test, ...drop }, number, said(t('library.free', { where })));
  return h(
    'button',
    {
      type: 'button',
      class: 'bay target',
      test,
      ...drop,
      onclick: () => act.move(view.chosen, element),
    },
    said(t('library.move_here', { label: view.chosen, where })),
    number,
    icon('down'),
  );
}

function drive(element, view, act) {
  const found = view.drives.find((one) => one.number === element.number);
  const state = found?.state ?? 'empty';
  return h(
    'article',
    { class: `drive is-${state}`, key: `drive${element.number}`, test: `drive-${element.number}` },
    h(
      'header',
      {},
      h('span', { class: `lamp ${state === 'failed' ? 'bad' : state === 'loaded' ? 'good' : ''}` }),
      h('strong', {}, placeText('drive', element.number)),
      h('span', { class: 'plate' }, found?.profile),
      h('span', { class: 'spring' }),
      badge(state, word('drive_state', state), { 'data-test': `drive-${element.number}-state` }),
    ),
    h('div', { class: 'mouth' }, element.label ? full(element, view, act) : free(element, view, act)),
    found && driveFacts(found, view.cartridges.get(element.label), view),
  );
}

/** The shelf of cartridges that no host sees. */
export function vault(view, act) {
  const { rows, more } = view.vault;
  const shown = rows.slice(0, SHELF);
  return h(
    'section',
    {
      class: 'panel vault',
      test: 'vault',
      'aria-label': t('library.vault'),
      ...dropHere({ kind: 'vault', number: null }, act),
    },
    h(
      'header',
      { class: 'panel-head' },
      h('h2', {}, t('library.vault')),
      h(
        'span',
        { class: 'muted' },
        more
          ? t('library.vault_above', { n: rows.length.toLocaleString('en') })
          : count('library.vault_number', rows.length),
      ),
      h('span', { class: 'spring' }),
      view.chosen &&
        mayDo('to-vault') &&
        !rows.some((one) => one.label === view.chosen) &&
        h(
          'button',
          {
            type: 'button',
            class: 'button',
            test: 'to-vault',
            onclick: () => act.move(view.chosen, { kind: 'vault', number: null }),
          },
          icon('down'),
          h('span', {}, t('library.move_to_vault', { label: view.chosen })),
        ),
    ),
    shown.length === 0
      ? h('p', { class: 'empty' }, t('library.vault_empty'))
      : h(
          'ul',
          { class: 'shelf' },
          shown.map((one) =>
            h(
              'li',
              { key: one.label },
              h(
                'button',
                {
                  type: 'button',
                  class: `bay full${view.chosen === one.label ? ' chosen' : ''}`,
                  test: `vault-${one.label}`,
                  draggable: String(mayDo('do-move')),
                  'aria-pressed': String(view.chosen === one.label),
                  onclick: () => act.choose(view.chosen === one.label ? null : one.label),
                  ...drag(one.label),
                },
                said(`${one.label}, ${t('place.vault')}`),
                spine(one.label, one),
              ),
            ),
          ),
        ),
    rows.length > SHELF &&
      h('p', {}, h('a', { href: '#/cartridges?place=vault' }, t('library.vault_all'))),
  );
}

function drag(label) {
  return {
    ondragstart: (event) => {
      event.dataTransfer.setData(DRAG, label);
      event.dataTransfer.setData('text/plain', label);
      event.dataTransfer.effectAllowed = 'move';
      document.documentElement.classList.add('dragging');
    },
    ondragend: () => document.documentElement.classList.remove('dragging'),
  };
}

function dropHere(element, act) {
  return {
    ondragover: (event) => {
      if (!event.dataTransfer.types.includes(DRAG)) return;
      event.preventDefault();
      event.currentTarget.classList.add('over');
    },
    ondragleave: (event) => event.currentTarget.classList.remove('over'),
    ondrop: (event) => {
      event.preventDefault();
      event.currentTarget.classList.remove('over');
      document.documentElement.classList.remove('dragging');
      const label = event.dataTransfer.getData(DRAG);
      if (label) act.move(label, element);
    },
  };
}

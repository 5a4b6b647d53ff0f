// The parts that pages are made of: buttons, badges, tables, forms, dialogs, notes.

import { h } from './dom.js';
import { icon } from './icons.js';
import { mayDo } from './needs.js';
import { t } from './text.js';
import { percent } from './format.js';

/** A button. `act` may take time: the button waits, and a refusal becomes a note. None when it may not be
 *  done. */
export function button(label, act, { test, sign, kind = 'plain', ...rest } = {}) {
  if (!mayDo(test)) return null;
  const onclick = async (event) => {
    const pressed = event.currentTarget;
    if (pressed.getAttribute('aria-busy') === 'true') return;
    pressed.setAttribute('aria-busy', 'true');
    try {
      await act(event);
    } catch (failed) {
      noteFailure(failed);
    } finally {
      pressed.removeAttribute('aria-busy');
    }
  };
  return h(
    'button',
    { type: 'button', class: `button ${kind}`, test, onclick, ...rest },
    sign && icon(sign),
    h('span', {}, label),
  );
}

/** A button that only shows a sign. */
export function signButton(label, sign, act, { test, ...rest } = {}) {
  return h(
    'button',
    { type: 'button', class: 'button sign', test, title: label, 'aria-label': label, onclick: act, ...rest },
    icon(sign),
  );
}

/** How words of states look. */
const TONES = {
  running: 'active',
  queued: 'quiet',
  paused: 'warn',
  pausing: 'warn',
  stopping: 'warn',
  completed: 'good',
  cancelled: 'quiet',
  failed: 'bad',
  ok: 'good',
  problem: 'bad',
  full: 'warn',
  'read-only': 'warn',
  degraded: 'warn',
  hung: 'bad',
  closed: 'bad',
  loaded: 'active',
  unloaded: 'quiet',
  empty: 'quiet',
  works: 'good',
  limited: 'warn',
  skipped: 'quiet',
  raised: 'bad',
  acknowledged: 'warn',
  cleared: 'good',
  critical: 'bad',
  warning: 'warn',
  info: 'active',
  'in-use': 'good',
  leaving: 'warn',
  missing: 'bad',
  done: 'good',
  waiting: 'quiet',
  planned: 'quiet',
  idle: 'quiet',
};

export function badge(name, label = name, props = {}) {
  return h('span', { class: `badge ${TONES[name] ?? 'quiet'}`, ...props }, label);
}

/** A bar for a share of something. Its text says the same. */
export function bar(part, whole, label, { tone = '', test } = {}) {
  const share = percent(part, whole);
  return h(
    'div',
    {
      class: `bar ${tone}`,
      test,
      role: 'progressbar',
      'aria-label': label,
      'aria-valuemin': 0,
      'aria-valuemax': 100,
      'aria-valuenow': Math.round(share),
    },
    h('div', { class: 'bar-fill', style: { width: `${share}%` } }),
  );
}

export function panel(title, ...children) {
  return h('section', { class: 'panel' }, title && h('h2', {}, title), ...children);
}

/** The head of a page: its name, a line about it, its actions. */
export function pageHead(title, about, ...actions) {
  return h(
    'header',
    { class: 'page-head' },
    h('div', {}, h('h1', { tabindex: '-1' }, title), about && h('p', { class: 'muted' }, about)),
    h('div', { class: 'actions' }, ...actions),
  );
}

/** Name and value, one below the other. */
export function facts(rows, props = {}) {
  return h(
    'dl',
    { class: 'facts', ...props },
    rows
      .filter(Boolean)
      .map(([name, value]) => h('div', { key: name }, h('dt', {}, name), h('dd', {}, value))),
  );
}

/** A number that matters. */
export function figure(label, value, more, test) {
  return h(
    'div',
    { class: 'figure', test },
    h('div', { class: 'figure-label' }, label),
    h('div', { class: 'figure-value' }, value),
    more && h('div', { class: 'muted' }, more),
  );
}

/**
 * A table. `columns`: `{name, show(row), number?, wide?}`; `key(row)` says which row is which.
 */
export function table(
  caption,
  columns,
  rows,
  key,
  { test, empty = t('none'), row: rowProps = () => ({}) } = {},
) {
  if (rows.length === 0) return h('p', { class: 'empty', test }, empty);
  const cell = (column, row, at) => {
    const props = { class: column.number ? 'number' : column.class, 'data-label': column.name };
    const shown = h('div', { class: 'cell' }, column.show(row));
    return at === 0 ? h('th', { scope: 'row', ...props }, shown) : h('td', props, shown);
  };
  return h(
    'div',
    { class: 'table-box', tabindex: '0', role: 'region', 'aria-label': caption },
    h(
      'table',
      { test },
      h('caption', { class: 'unseen' }, caption),
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          columns.map((one) => h('th', { scope: 'col', class: one.number ? 'number' : null }, one.name)),
        ),
      ),
      h(
        'tbody',
        {},
        rows.map((row) =>
          h(
            'tr',
            { key: key(row), test: test && `${test}-row`, ...rowProps(row) },
            columns.map((column, at) => cell(column, row, at)),
          ),
        ),
      ),
    ),
  );
}

/** Tabs that choose what the panel below shows. `tabs`: `[name, label, number?]`. */
export function tabs(label, all, chosen, choose, panelId) {
  const step = (event) => {
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!move) return;
    const at = (all.findIndex(([name]) => name === chosen) + move + all.length) % all.length;
    choose(all[at][0]);
    event.currentTarget.children[at]?.focus();
  };
  return h(
    'div',
    { class: 'tabs', role: 'tablist', 'aria-label': label, onkeydown: step },
    all.map(([name, text, number]) =>
      h(
        'button',
        {
          key: name,
          type: 'button',
          role: 'tab',
          test: `tab-${name}`,
          'aria-selected': String(name === chosen),
          'aria-controls': panelId,
          tabindex: name === chosen ? '0' : '-1',
          onclick: () => choose(name),
        },
        text,
        number !== undefined && h('span', { class: 'tab-number' }, String(number)),
      ),
    ),
  );
}

const noteBox = h('div', { class: 'notes', role: 'status', 'aria-live': 'polite', 'data-test': 'notes' });

export const notes = () => noteBox;

/** Says for a while what has been done. */
export function note(text, tone = 'good') {
  const one = h(
    'div',
    { class: `note ${tone}`, test: `note-${tone}` },
    h('span', {}, text),
    signButton(t('close'), 'close', () => one.remove(), { test: 'note-close' }),
  );
  noteBox.append(one);
  if (tone === 'good') setTimeout(() => one.remove(), 8000);
}

/** Says what went wrong, and what to do about it. */
export function noteFailure(failed) {
  if (failed.approval) return note(failed.message, 'warn');
  note(h('span', {}, failed.message, failed.remedy && h('span', { class: 'remedy' }, failed.remedy)), 'bad');
  if (failed.status === undefined) console.error(failed);
}

export function failure(failed) {
  return h(
    'div',
    { class: 'failure', role: 'alert', test: 'failure' },
    h('strong', {}, failed.message),
    failed.remedy && h('p', {}, failed.remedy),
  );
}

// The audit log: who has done what, from where, and what came of it. Nobody can change it; whether somebody
// has is verified here.

import * as api from '../api.js';
import { h } from '../dom.js';
import { dialog, form } from '../forms.js';
import { integer, time } from '../format.js';
import { t, word } from '../text.js';
import { badge, button, facts, pageHead, table } from '../ui.js';

const ROWS = 100;
const KINDS = ['request', 'outcome', 'login', 'event'];

async function load(page) {
  page.rows ??= ROWS;
  const first = api.path(['audit'], { ...page.state.filter, limit: page.rows });
  return api.first(first);
}

function view({ rows, more }, page) {
  return [
    pageHead(
      t('audit.title'),
      t('audit.about'),
      button(t('audit.verify'), verify, { test: 'audit-verify', kind: 'primary' }),
    ),
    h('div', { class: 'panel' }, filterForm(page)),
    h(
      'div',
      { class: 'panel flush' },
      table(t('audit.title'), COLUMNS, rows, (one) => one.number, { test: 'audit', empty: t('audit.none') }),
      more &&
        rows.length < 1000 &&
        button(
          t('audit.more'),
          () => {
            page.rows = Math.min(1000, page.rows + ROWS);
            return page.refresh();
          },
          { test: 'audit-more' },
        ),
    ),
  ];
}

/** Made once, so that what is typed stays. */
function filterForm(page) {
  const kinds = KINDS.map((kind) => [kind, t(`audit_kind.${kind}`)]);
  const fields = [
    { name: 'who', label: t('audit.who') },
    { name: 'what', label: t('audit.what') },
    { name: 'text', label: t('audit.text') },
    { name: 'kind', type: 'select', label: t('audit.kind'), options: [['', t('audit.all_kinds')], ...kinds] },
    { name: 'since', label: t('audit.since'), placeholder: '2026-01-31T00:00:00Z' },
  ];
  const filter = async (values) => {
    page.state.filter = values;
    await page.refresh();
    if (page.failed) throw page.failed;
  };
  page.form ??= h(
    'div',
    { keep: true, key: 'filter', class: 'form-row' },
    form(fields, filter, { label: t('audit.filter'), test: 'audit-filter' }),
  );
  return page.form;
}

const COLUMNS = [
  { name: t('audit.number'), number: true, show: (one) => integer(one.number) },
  { name: t('audit.at'), show: (one) => time(one.at) },
  { name: t('audit.kind'), show: (one) => badge(one.kind, word('audit_kind', one.kind)) },
  { name: t('audit.who'), show: (one) => [one.who, h('span', { class: 'muted line' }, one.from)] },
  { name: t('audit.what'), show: (one) => h('code', {}, one.what) },
  {
    name: t('audit.detail'),
    show: (one) => h('code', { class: 'hash' }, one.detail === null ? '' : JSON.stringify(one.detail)),
  },
  { name: t('audit.result'), show: (one) => one.result },
];

async function verify() {
  const found = await api.get('/audit/verify');
  return dialog(
    t('audit.verify'),
    () => [
      h(
        'p',
        {},
        badge(found.whole ? 'ok' : 'failed', found.whole ? t('audit.whole') : t('audit.broken'), {
          'data-test': 'audit-whole',
        }),
      ),
      facts([
        [t('audit.entries'), integer(found.entries)],
        [t('audit.number'), integer(found.number)],
        [t('audit.head'), h('code', { class: 'hash' }, found.head)],
      ]),
      h('p', { class: 'muted' }, t('audit.head_about')),
      found.faults.length > 0 &&
        h(
          'ul',
          { class: 'failure' },
          found.faults.map((one) => h('li', { key: one }, one)),
        ),
    ],
    { wide: true, test: 'audit-report' },
  );
}

export default () => ({ load, view, every: 15, state: () => ({ filter: {} }) });

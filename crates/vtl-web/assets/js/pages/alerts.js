// Alerts: what needs somebody now, and what did.

import * as api from '../api.js';
import * as live from '../live.js';
import { h } from '../dom.js';
import { ago, shortTime } from '../format.js';
import { t, word } from '../text.js';
import { badge, button, note, pageHead, panel, table, tabs } from '../ui.js';

/** Tab and the alerts that are in it. */
const TABS = {
  open: (one) => one.state !== 'cleared',
  cleared: (one) => one.state === 'cleared',
};

async function load() {
  const [status, alerts] = await Promise.all([api.get('/system/status'), api.get('/alerts')]);
  return { status, alerts };
}

function view({ status, alerts }, page) {
  const { tab } = page.state;
  return [
    pageHead(t('alerts.title'), t('alerts.about'), button(t('alerts.test'), test, { test: 'alert-test' })),
    panel(
      t('alerts.now'),
      status.problems.length === 0
        ? h('p', { class: 'good-news', test: 'no-problems' }, t('alerts.none_now'))
        : h(
            'ul',
            { class: 'problems', test: 'problems' },
            status.problems.map((one) =>
              h(
                'li',
                { key: one.subject + one.message, class: 'problem' },
                h('code', {}, one.subject),
                h('strong', {}, one.message),
                h('p', { class: 'muted' }, one.remedy),
              ),
            ),
          ),
    ),
    tabs(
      t('alerts.states'),
      Object.entries(TABS).map(([name, fits]) => [name, t(`alerts.tab_${name}`), alerts.filter(fits).length]),
      tab,
      (name) => page.set({ tab: name }),
      'alerts-panel',
    ),
    h(
      'div',
      { id: 'alerts-panel', role: 'tabpanel', 'aria-label': t(`alerts.tab_${tab}`), class: 'panel flush' },
      table(t('alerts.title'), COLUMNS, alerts.filter(TABS[tab]), (one) => one.id, {
        test: 'alerts',
        empty: t('alerts.none'),
      }),
    ),
  ];
}

const COLUMNS = [
  { name: t('alerts.subject'), show: (one) => one.subject },
  { name: t('alerts.severity'), show: (one) => badge(one.severity, word('severity', one.severity)) },
  {
    name: t('alerts.what'),
    show: (one) => [h('span', {}, one.message), h('span', { class: 'muted line' }, one.remedy)],
  },
  { name: t('job.state'), show: (one) => badge(one.state, word('alert_state', one.state)) },
  { name: t('alerts.raised'), show: (one) => h('span', { title: shortTime(one.raised) }, ago(one.raised)) },
  {
    name: t('actions'),
    show: (one) =>
      one.state === 'raised' &&
      button(
        t('alerts.ack'),
        async () => {
          await api.post(api.path(['alerts', String(one.id), 'ack']));
          note(t('alerts.acked'));
          live.tell('alert');
        },
        { test: 'alert-ack' },
      ),
  },
];

async function test() {
  const found = await api.post('/alerts/test');
  found.forEach((one) =>
    note(
      one.ok
        ? t('alerts.sent', { receiver: one.receiver })
        : t('alerts.not_sent', { receiver: one.receiver, why: one.why }),
      one.ok ? 'good' : 'bad',
    ),
  );
}

export default () => ({ load, view, events: ['alert', 'job'], every: 15, state: () => ({ tab: 'open' }) });

// Jobs: how a row looks, what can be done with it in which state.

import * as api from './api.js';
import * as live from './live.js';
import { h } from './dom.js';
import { bytes, duration, integer, rate, shortTime, time } from './format.js';
import { importJob } from './transfers.js';
import { t, word } from './text.js';
import { badge, bar, button, facts, note, table } from './ui.js';

const ACTIVE = ['queued', 'running', 'paused', 'pausing', 'stopping'];

/** What can be asked of a job, and in which states. */
const ACTIONS = [
  { name: 'pause', states: ['queued', 'running'] },
  { name: 'resume', states: ['paused', 'pausing'] },
  { name: 'cancel', states: ['queued', 'running', 'paused', 'pausing'], danger: true },
  { name: 'retry', states: ['failed', 'cancelled'] },
];

export const isActive = (job) => ACTIVE.includes(job.state);

/** Of what an import can be made: an export that is complete. */
const canImport = (job) => job.kind === 'export' && job.state === 'completed' && Boolean(job.folder);

export function jobActions(job) {
  const asked = async (name) => {
    const changed = await api.post(api.path(['jobs', String(job.id), name]));
    note(t(`job.did_${name}`, { id: changed.id }));
    live.tell('job');
  };
  const fit = ACTIONS.filter((one) => one.states.includes(job.state));
  return h(
    'div',
    { class: 'actions' },
    canImport(job) && button(t('job.do_import'), () => importJob(job), { key: 'import', test: 'job-import' }),
    // A job that waits for its next attempt can be told to begin it.
    job.state === 'queued' &&
      job.next_attempt &&
      button(t('job.do_retry'), () => asked('retry'), { key: 'retry', test: 'job-retry' }),
    fit.map((one) =>
      button(t(`job.do_${one.name}`), () => asked(one.name), {
        key: one.name,
        test: `job-${one.name}`,
        kind: one.danger ? 'danger quiet' : 'plain',
      }),
    ),
  );
}

function progress(job) {
  if (!isActive(job) && job.state !== 'failed') return bytes(job.total_bytes || job.done_bytes);
  return h(
    'div',
    { class: 'progress' },
    bar(job.done_bytes, job.total_bytes, t('job.progress')),
    h(
      'span',
      { class: 'muted' },
      job.total_bytes
        ? t('job.done_of', { done: bytes(job.done_bytes), total: bytes(job.total_bytes) })
        : bytes(job.done_bytes),
    ),
  );
}

function speed(job) {
  if (job.state !== 'running')
    return job.next_attempt ? t('job.next_attempt', { at: shortTime(job.next_attempt) }) : '–';
  return [
    h('span', {}, rate(job.bytes_per_s)),
    job.left_s !== null && h('span', { class: 'muted line' }, t('job.left', { time: duration(job.left_s) })),
  ];
}

/** Its state; of an export that had nothing to send, that too: it must not be taken for one that has. */
function state(job) {
  return [
    badge(job.state, word('state', job.state), { 'data-test': 'job-state' }),
    job.skipped && h('span', { class: 'muted line', test: 'job-skipped' }, word('skipped', job.skipped)),
  ];
}

function about(job) {
  return [
    h('span', { class: 'label' }, job.label ?? ''),
    job.remote && h('span', { class: 'muted line' }, [job.remote, job.folder].filter(Boolean).join('/')),
  ];
}

/** The table of jobs; the chosen one is open below its row. `page.state.open`: its number. */
export function jobTable(jobs, page) {
  const toggle = (job) => page.set({ open: page.state.open === job.id ? null : job.id, detail: null });
  const columns = [
    {
      name: t('job.id'),
      number: true,
      show: (job) =>
        h(
          'button',
          {
            type: 'button',
            class: 'link',
            test: 'job-open',
            'aria-expanded': String(page.state.open === job.id),
            'aria-label': t('job.open', { id: job.id }),
            onclick: async () => {
              toggle(job);
              await page.refresh();
            },
          },
          `#${job.id}`,
        ),
    },
    { name: t('job.kind'), show: (job) => word('kind', job.kind) },
    { name: t('job.about'), show: about },
    { name: t('job.state'), show: state },
    { name: t('job.progress'), show: progress, class: 'wide' },
    { name: t('job.rate'), show: speed },
    { name: t('job.objects'), show: (job) => integer(job.objects), number: true },
    { name: t('job.attempts'), show: (job) => integer(job.attempts), number: true },
    { name: t('job.created'), show: (job) => shortTime(job.created) },
    { name: t('actions'), show: jobActions },
  ];
  return table(t('jobs.title'), columns, jobs, (job) => job.id, {
    test: 'jobs',
    empty: t('jobs.none'),
    row: (job) => ({ 'data-job': job.id, class: page.state.open === job.id ? 'chosen' : null }),
  });
}

/** One job with its parts and its log. */
export function jobDetail(job) {
  return h(
    'section',
    { class: 'panel job-detail', test: 'job-detail', 'aria-label': t('job.one', { id: job.id }) },
    h(
      'header',
      { class: 'panel-head' },
      h('h2', {}, t('job.one', { id: job.id })),
      badge(job.state, word('state', job.state)),
      h('span', { class: 'spring' }),
      jobActions(job),
    ),
    job.error &&
      h('div', { class: 'failure' }, h('strong', {}, job.error), job.remedy && h('p', {}, job.remedy)),
    facts([
      [t('job.kind'), word('kind', job.kind)],
      job.label && [
        t('cartridge.label'),
        h('a', { href: `#/cartridges/${encodeURIComponent(job.label)}` }, job.label),
      ],
      job.skipped && [t('job.skipped'), word('skipped', job.skipped)],
      [t('job.priority'), word('priority', job.priority)],
      [t('job.created'), time(job.created)],
      [t('job.started_at'), time(job.started)],
      [t('job.finished'), time(job.finished)],
      [t('job.attempts'), integer(job.attempts)],
      job.objects !== null && job.objects !== undefined && [t('job.objects'), integer(job.objects)],
      job.remote && [t('export.remote'), job.remote],
      job.folder && [t('export.folder'), job.folder],
    ]),
    job.tasks.length > 0 &&
      table(t('job.tasks'), TASKS, job.tasks, (task) => task.name, { test: 'job-tasks' }),
    h('h3', {}, t('job.log')),
    h(
      'ol',
      { class: 'log', test: 'job-log', tabindex: '0', 'aria-label': t('job.log') },
      job.events.map((event, n) =>
        h(
          'li',
          { key: n },
          h('time', { datetime: event.at }, time(event.at)),
          h('code', {}, event.event),
          h('span', {}, event.text),
        ),
      ),
    ),
    h(
      'details',
      {},
      h('summary', {}, t('job.raw')),
      h('pre', { tabindex: '0' }, JSON.stringify({ request: job.request, result: job.result }, null, 2)),
    ),
  );
}

const TASKS = [
  { name: t('job.task'), show: (task) => word('task', task.name) },
  { name: t('job.state'), show: (task) => badge(task.state, word('state', task.state)) },
  {
    name: t('job.progress'),
    show: (task) =>
      bar(task.done_bytes, task.total_bytes || (task.state === 'done' ? task.done_bytes || 1 : 0), task.name),
    class: 'wide',
  },
  {
    name: t('map.bytes'),
    show: (task) => t('job.done_of', { done: bytes(task.done_bytes), total: bytes(task.total_bytes) }),
    number: true,
  },
];

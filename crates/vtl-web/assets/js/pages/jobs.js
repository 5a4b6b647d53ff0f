// Job management: exports and imports, and whatever else takes time.

import * as api from '../api.js';
import * as live from '../live.js';
import { h } from '../dom.js';
import { ask, confirm } from '../forms.js';
import { isActive, jobDetail, jobTable } from '../jobs.js';
import { askExport, chooseImport } from '../transfers.js';
import { t, word } from '../text.js';
import { button, note, pageHead, tabs } from '../ui.js';

/** Tab and the jobs that are in it. */
const TABS = {
  all: () => true,
  running: isActive,
  completed: (job) => job.state === 'completed',
  cancelled: (job) => job.state === 'cancelled',
  failed: (job) => job.state === 'failed',
};

/** So many rows of a tab are drawn; more come with a button. */
const STEP = 200;

const TRANSFERS = ['export', 'import', 'ingest'];

/** After so long a list that is one request is asked for again without a reason: what others have cleared is
 *  not told. */
const WHOLE_MS = 30_000;

/** All jobs are asked for when nobody knows what has changed; else those that run, for how fast they do. */
async function load(page) {
  const isWhole = !page.data || page.unknown || isDue(page);
  [page.unknown, page.heard] = [false, []];
  const asked = [
    isWhole ? api.list(api.paged('/jobs')) : api.get('/jobs?state=running'),
    detailOf(page.state.open),
  ];
  const [jobs, detail] = await Promise.all(asked).catch((failed) => {
    page.unknown ||= isWhole;
    throw failed;
  });
  if (isWhole) page.whole = Date.now();
  // What was heard meanwhile is newer than what was asked for.
  return { jobs: put(put(isWhole ? [] : page.data.jobs, jobs), page.heard), detail };
}

const isDue = (page) =>
  page.data.jobs.length <= api.PAGE_ROWS && Date.now() - page.whole > WHOLE_MS;

function detailOf(open) {
  const gone = (refusal) => (refusal.code === 'not-found' ? null : Promise.reject(refusal));
  return open ? api.get(api.path(['jobs', String(open)])).catch(gone) : null;
}

/** The list with these in the place of what they were, the newest first. */
function put(jobs, rows) {
  const all = new Map(jobs.map((job) => [job.id, job]));
  // An event does not count the objects of an export.
  for (const row of rows) all.set(row.id, { ...row, objects: row.objects ?? all.get(row.id)?.objects });
  return [...all.values()].sort((a, b) => b.id - a.id);
}

/** An event has the whole row. Only what is open below it is asked for. */
function hear(page, changes) {
  const rows = changes.map(({ data }) => data).filter(Boolean);
  page.heard.push(...rows);
  page.unknown ||= rows.length < changes.length;
  if (page.data && rows.length > 0) {
    page.data = { ...page.data, jobs: put(page.data.jobs, rows) };
    page.show();
  }
  return page.unknown || rows.some((row) => row.id === page.state.open);
}

function view({ jobs, detail }, page) {
  const { tab, kind, rows } = page.state;
  const kinds = [...new Set(jobs.map((job) => job.kind))].sort();
  const fit = jobs.filter(
    (job) => !kind || (kind === 'transfers' ? TRANSFERS.includes(job.kind) : job.kind === kind),
  );
  const shown = fit.filter(TABS[tab]);
  const ended = jobs.filter((job) => !isActive(job)).length;
  return [
    pageHead(
      t('jobs.title'),
      t('jobs.about'),
      button(t('jobs.export'), chooseExport, { test: 'new-export', sign: 'up', kind: 'primary' }),
      button(t('jobs.import'), () => chooseImport(), { test: 'new-import', sign: 'down' }),
      button(t('jobs.clear'), () => clear(ended), { test: 'clear-jobs', disabled: ended === 0 }),
    ),
    h(
      'div',
      { class: 'tools' },
      tabs(
        t('jobs.states'),
        Object.entries(TABS).map(([name, fits]) => [name, t(`jobs.tab_${name}`), fit.filter(fits).length]),
        tab,
        (name) => page.set({ tab: name, rows: STEP }),
        'jobs-panel',
      ),
      h('span', { class: 'spring' }),
      h(
        'label',
        {},
        h('span', { class: 'unseen' }, t('job.kind')),
        h(
          'select',
          { test: 'job-kind', value: kind, onchange: (event) => page.set({ kind: event.target.value }) },
          h('option', { value: '' }, t('jobs.all_kinds')),
          h('option', { value: 'transfers' }, t('jobs.transfers')),
          kinds.map((one) => h('option', { value: one }, word('kind', one))),
        ),
      ),
    ),
    h(
      'div',
      { id: 'jobs-panel', role: 'tabpanel', 'aria-label': t(`jobs.tab_${tab}`), class: 'panel flush' },
      jobTable(shown.slice(0, rows), page),
      shown.length > rows &&
        button(t('jobs.more', { n: shown.length - rows }), () => page.set({ rows: rows + STEP }), {
          test: 'more-jobs',
        }),
    ),
    detail && page.state.open === detail.id && jobDetail(detail),
  ];
}

async function chooseExport() {
  const label = await ask(
    t('jobs.export'),
    [{ name: 'label', label: t('cartridge.label'), required: true, placeholder: 'VTL001L8' }],
    async (values) => api.get(api.path(['cartridges', values.label])),
    { label: t('next'), test: 'choose-cartridge' },
  );
  if (label) await askExport(label);
}

function clear(ended) {
  return confirm(t('jobs.clear_title'), t('jobs.clear_about', { n: ended }), t('jobs.clear'), {
    test: 'confirm-clear',
    act: async () => {
      const { removed } = await api.remove('/jobs');
      note(t('jobs.cleared', { n: removed }));
      live.tell('job');
    },
  });
}

export default () => ({
  load,
  view,
  hear,
  events: ['job', 'progress'],
  every: 3,
  isLong: ({ jobs }) => jobs.length > api.PAGE_ROWS,
  enter: (page) => {
    Object.assign(page, { unknown: false, heard: [] });
  },
  state: (query) => ({
    tab: 'all',
    kind: '',
    open: Number(query.get('open')) || null,
    rows: STEP,
  }),
});

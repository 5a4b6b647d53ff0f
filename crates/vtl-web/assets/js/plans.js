// Dialogs that start a job: what it would do is told by the server before it is started.

import * as api from './api.js';
import * as live from './live.js';
import { h, render } from './dom.js';
import { ask, typed } from './forms.js';
import { bytes } from './format.js';
import { t, word } from './text.js';
import { button, note } from './ui.js';

/** Asks for what a job needs and starts it: `body` and what is typed go to `to`. Its plan is shown below the
 *  fields when somebody asks for it, and goes when what is typed changes; `atOnce`: nothing has to be typed
 *  for it, so it is there from the beginning. `plan`: what the plan is asked with besides. Resolves with the
 *  job, or with undefined when none was started. */
export async function askJob(name, title, fields, to, { body = {}, plan, atOnce = false, ...options }) {
  const shown = h('div', { role: 'status' });
  let asked = 0;
  const show = async () => {
    const mine = ++asked;
    render(shown, h('p', { class: 'muted' }, t('loading')));
    const told = await planOf(to, () => ({ ...body, ...typed(look.form), ...plan }));
    // What was typed meanwhile has another plan.
    if (mine === asked) render(shown, told);
  };
  const look = button(t('plan.show'), show, { test: `${name}-plan` });
  const answer = ask(title, fields, (values) => api.post(to, { ...body, ...values }), {
    ...options,
    test: name,
    below: [shown],
    extra: [look],
  });
  look.form.addEventListener('input', () => {
    asked += 1;
    render(shown);
  });
  if (atOnce) show();
  const job = await answer;
  if (job) started(job);
  return job;
}

function started(job) {
  const id = job.id ?? job.job;
  note(h('span', {}, t('job.started', { id }), ' ', h('a', { href: `#/jobs?open=${id}` }, t('job.see'))));
  live.tell('job');
}

/** What a request would start, as the server says, or why there is no plan of it. It starts nothing. */
export async function planOf(to, body = () => ({})) {
  try {
    return planText(await api.post(to, { ...body(), plan: true }));
  } catch (failed) {
    if (failed.status === undefined) console.error(failed);
    return refused(failed);
  }
}

function planText(plan) {
  return h(
    'div',
    { class: 'plan', test: 'plan' },
    h('h3', {}, t('plan.title')),
    plan.tasks.length > 0 && h('ul', {}, plan.tasks.map(taskText)),
    plan.notes.map((text) => h('p', { class: 'muted' }, text)),
  );
}

function taskText(task) {
  return h(
    'li',
    {},
    h('span', {}, word('task', task.name)),
    task.total_bytes > 0 && h('span', { class: 'number' }, bytes(task.total_bytes)),
  );
}

function refused({ message, remedy }) {
  return h(
    'div',
    { class: 'failure', test: 'plan-refused' },
    h('strong', {}, t('plan.refused', { why: message })),
    remedy && h('p', {}, remedy),
  );
}

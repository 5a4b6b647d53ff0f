// Job management: one job in each state, all that can be asked of one, and the list cleared.

import { equal, has, size } from './browser.mjs';

const state = async (browser, id) => (await browser.get(`/jobs/${id}`)).state;
const ENDED = ['completed', 'cancelled', 'failed'];
const row = (browser, id) => browser.page.locator(`tr[data-job="${id}"]`);

/** A job on a slow remote: how far it is, how fast, and for how long it will go on. */
export async function running(browser) {
  await browser.go('jobs');
  await browser.press('tab-running');
  const { id } = await browser.request('POST', '/cartridges/VTL001L8/export', {
    remote: 'slow',
    key: 'none',
    compress: 'none',
    chunk_size_bytes: 2 ** 20,
  });
  const now = () => browser.get(`/jobs/${id}`);
  const line = row(browser, id);
  await line.waitFor();
  const share = async () => Number(await line.getByRole('progressbar').getAttribute('aria-valuenow'));
  const first = await browser.until('it is under way', async () => {
    const text = await line.textContent();
    return /[\d.]+ [KM]iB\/s/.test(text) && /\d+ (s|min) left/.test(text) && (await share());
  });
  const { state: is, total_bytes: total } = await now();
  equal(is, 'running', 'the state in the API');
  has(await line.textContent(), ` of ${(total / 2 ** 20).toFixed(1)} MiB`, 'how much there is to do');
  await browser.until('it gets on', async () => (await share()) > first);
  const told = await share();
  const { done_bytes: done } = await now();
  if (told === 0 || told > Math.round((done / total) * 100))
    throw new Error(`the page says ${told} %, and the API ${done} bytes of ${total}`);
  await browser.press('job-cancel', { within: line });
  await browser.note();
  await browser.until('it does not run any more', async () => (await now()).state !== 'running');
}

/** A remote that drops everything: its job waits for its next attempt, and can be asked anything. */
export async function control(browser) {
  await browser.go('jobs');
  await browser.press('new-export');
  await browser.send('choose-cartridge', { label: 'VTL002L8' });
  await browser.send('export', { remote: 'broken', key: 'none', priority: 'low' });
  await browser.note();
  const { id } = await browser.until('the job waits', async () =>
    (await browser.get('/jobs')).find(
      (one) => one.remote === 'broken' && one.state === 'queued' && one.next_attempt,
    ),
  );
  equal((await browser.get(`/jobs/${id}`)).priority, 'low', 'the priority that was chosen');
  await browser.press('tab-running');
  await row(browser, id).waitFor();
  await browser.press('job-open', { within: row(browser, id) });
  has(await browser.at('job-log').textContent(), 'queued', 'the log of the job');
  await browser.press('job-pause', { within: row(browser, id) });
  await browser.note();
  await browser.until('paused', async () => (await state(browser, id)) === 'paused');
  await browser.press('job-resume', { within: row(browser, id) });
  await browser.note();
  await browser.until('resumed', async () => (await state(browser, id)) !== 'paused');
  await browser.press('job-cancel', { within: row(browser, id) });
  await browser.note();
  await browser.until('cancelled', async () => (await state(browser, id)) === 'cancelled');
  await browser.press('tab-cancelled');
  await row(browser, id).waitFor();
  await browser.press('job-retry', { within: row(browser, id) });
  has(await browser.note(), 'tries again', 'a retry');
  const again = await browser.until('a new job', async () =>
    (await browser.get('/jobs')).find((one) => one.remote === 'broken' && one.id > id),
  );
  await browser.request('POST', `/jobs/${again.id}/cancel`);
  await browser.until('cancelled, too', async () => (await state(browser, again.id)) === 'cancelled');
}

/** What the tabs count is what the API has in these states. */
export async function tabs(browser) {
  await browser.go('jobs');
  const jobs = await browser.until('nothing changes any more', async () => {
    const all = await browser.get('/jobs');
    return all.every((job) => ENDED.includes(job.state)) && all;
  });
  for (const name of ENDED) {
    const wanted = jobs.filter((job) => job.state === name).length;
    if (wanted === 0) throw new Error(`there is no ${name} job to look at`);
    await browser.press(`tab-${name}`);
    await browser.until(`${name} jobs`, async () => (await browser.at('jobs-row').count()) === wanted);
    equal(await browser.at('job-state').allTextContents(), Array(wanted).fill(name), 'states in the tab');
  }
  await browser.press('tab-all');
  await browser.at('job-kind').selectOption('import');
  await browser.until(
    'imports alone',
    async () => (await browser.at('jobs-row').count()) === jobs.filter((job) => job.kind === 'import').length,
  );
  await browser.at('job-kind').selectOption('');
}

export async function importing(browser) {
  await browser.go('jobs');
  const source = (await browser.get('/jobs')).find(
    (job) =>
      job.kind === 'export' &&
      job.label === 'VTL002L8' &&
      job.state === 'completed' &&
      job.remote === 'off-site',
  );
  await browser.press('job-import', { within: row(browser, source.id) });
  const { stored_bytes: stored } = await browser.get(`/exports/show?remote=off-site&folder=${source.folder}`);
  const planned = await browser.plan('import-job', { as_label: 'VTL302L8' });
  has(planned, `fetch${size(stored)}`, 'bytes in the plan of an import');
  has(planned, `VTL302L8 of folder ${source.folder} of remote off-site`, 'what is imported');
  await browser.send('import-job');
  await browser.note();
  await browser.until('it is here again', async () =>
    (await browser.get('/cartridges')).some((one) => one.label === 'VTL302L8' && one.used_bytes > 0),
  );
  await browser.press('new-import');
  await browser.send('import-remote', { remote: 'off-site' });
  await browser.at('import-submit').waitFor();
  const lazily = { folder: source.folder, as_label: 'VTL303L8', lazy: true };
  const inPart = await browser.plan('import', lazily);
  has(inPart, 'blocks are fetched when they are read', 'the plan of a lazy import');
  await browser.send('import');
  await browser.note();
  await browser.until('it is here in part', async () =>
    (await browser.get('/cartridges')).some((one) => one.label === 'VTL303L8'),
  );
  const ended = (await browser.get('/jobs')).filter((job) => ENDED.includes(job.state)).map((job) => job.id);
  await browser.press('clear-jobs');
  await browser.send('confirm-clear');
  has(await browser.note(), 'removed', 'clearing');
  const left = (await browser.get('/jobs')).filter((job) => ended.includes(job.id));
  equal(left, [], 'jobs that had ended before the list was cleared');
}

/** So many rows of a list are drawn at once. */
const DRAWN = 200;

/** More jobs than are drawn at once: exports of a blank cartridge, which have nothing to do. */
export async function many(browser) {
  const ask = () => browser.request('POST', '/cartridges/VTL006L8/export', {});
  for (let n = 0; n < 11; n += 1) await Promise.all(Array.from({ length: 20 }, ask));
  await browser.go('library');
  await browser.go('jobs');
  const all = (await browser.get('/jobs')).length;
  const drawn = () => browser.at('jobs-row').count();
  await browser.until('the first of them', async () => (await drawn()) === DRAWN);
  await browser.until('that nothing was sent', async () => (await browser.at('job-skipped').count()) > 0);
  has(await browser.at('job-skipped').first().textContent(), 'blank', 'why nothing was sent');
  await browser.press('more-jobs');
  await browser.until('the others', async () => (await drawn()) === all);
}

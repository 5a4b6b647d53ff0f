// The list of cartridges, also a very long one; and the page of one.

import { equal, has, look, size } from './browser.mjs';

const MANY = 100_000;
/** More rows than a screen has are never there. */
const MOST_ROWS = 60;

const rows = (browser) => browser.at('long-row').count();
const firstLabel = (browser) => browser.at('cartridge-link').first().textContent();

export async function list(browser) {
  await browser.go('cartridges');
  const all = await browser.get('/cartridges');
  equal(await rows(browser), all.length, 'rows of the list');
  await browser.at('search').fill('vtl00 slot');
  const wanted = all.filter((one) => one.label.startsWith('VTL00') && one.place.kind === 'slot').length;
  await browser.until('the search is done', async () => (await rows(browser)) === wanted);
  await browser.at('search').fill('');
  await browser.at('filter').selectOption('written');
  await browser.until(
    'the filter is done',
    async () => (await rows(browser)) === all.filter((one) => one.used_bytes > 0).length,
  );
  await browser.at('filter').selectOption('all');
  const most = Math.max(...all.map((one) => one.used_bytes));
  const fullest = all.filter((one) => one.used_bytes === most).map((one) => one.label);
  await browser.press('sort-used');
  await browser.press('sort-used');
  await browser.until('sorted by what is written', async () => fullest.includes(await firstLabel(browser)));
  for (const column of ['place', 'full', 'capacity', 'exports', 'created', 'label'])
    await browser.press(`sort-${column}`);
  await browser.until(
    'sorted by label',
    async () => (await firstLabel(browser)) === all.map((one) => one.label).sort()[0],
  );
  await browser.press('new-cartridges');
  await browser.press('dialog-close');
  await browser.press('cartridge-link');
  await browser.page.waitForSelector('[data-test="do-export"]');
  await browser.go('cartridges');
  await browser.press('long-row', { nth: 2 });
  await browser.page.waitForSelector('[data-test="do-export"]');
}

/** Runs in the page: the list of cartridges has this many, made of one. How often it is asked for is counted. */
function pretend({ one, many }) {
  const ask = globalThis.fetch;
  const rows = Array.from({ length: many }, (_, n) => ({
    ...one,
    label: `${String(n).padStart(6, '0')}L8`,
    used_bytes: (n * 7919) % many,
    library: 'lib0',
    place: { kind: 'slot', number: n },
  }));
  const body = JSON.stringify(rows);
  globalThis.listsAsked = 0;
  globalThis.fetch = (to, options) => {
    if (!to.endsWith('/cartridges?limit=1000')) return ask(to, options);
    globalThis.listsAsked += 1;
    return Promise.resolve(new Response(body));
  };
}

/** A hundred thousand rows are searched and sorted, and only those in sight exist. A change is one row, and not the list
 *  once more. */
export async function longList(browser) {
  const [one] = await browser.get('/cartridges');
  await browser.go('settings');
  await browser.page.evaluate(pretend, { one, many: MANY });
  await browser.go('cartridges');
  await browser.until('all rows are there', async () => {
    return (await browser.at('cartridges').getAttribute('aria-rowcount')) === '100001';
  });
  await fewRows(browser);
  await browser.at('search').fill('09999');
  await browser.until('found among all', async () => (await firstLabel(browser)) === '009999L8');
  equal(await rows(browser), 11, 'rows with 09999 in them');
  await browser.at('search').fill('');
  await browser.press('sort-used');
  await browser.press('sort-used');
  // 82321 * 7919 ends in 99999: no other row has that many bytes.
  await browser.until('sorted', async () => (await firstLabel(browser)) === '082321L8');
  await browser.at('cartridges').evaluate((table) => {
    table.scrollTop = table.scrollHeight;
  });
  await browser.until('the end is shown', async () => {
    return (await browser.at('cartridge-link').last().textContent()) === '000000L8';
  });
  await fewRows(browser);
  // The row is asked for in vain, and again: with that of the next change, or before it if the page has rested.
  const isCut = await browser.cut('/cartridges?label=VTL010L8');
  await browser.request('POST', '/cartridges/VTL010L8/move', { to: 'slot:24' });
  await browser.until('its row is asked for', isCut);
  await browser.request('POST', '/cartridges/VTL009L8/move', { to: 'slot:25' });
  await browser.at('search').fill('vtl010l8');
  await browser.until('the row of what has moved', async () => (await rows(browser)) === 1);
  has(await browser.at('long-row').textContent(), 'slot 24', 'where it is now');
  await browser.request('POST', '/cartridges/VTL009L8/move', { to: 'slot:9' });
  // Out of sight nothing is heard; who looks again is told what he has missed.
  await look(browser.page, false);
  await browser.request('POST', '/cartridges/VTL010L8/move', { to: 'slot:10' });
  await look(browser.page, true);
  await browser.page.locator('[data-test="long-row"]:has-text("slot 10")').waitFor();
  equal(await browser.page.evaluate(() => globalThis.listsAsked), 1, 'how often all rows were asked for');
  await browser.page.reload();
}

async function fewRows(browser) {
  const found = await rows(browser);
  if (found > MOST_ROWS) throw new Error(`${found} rows exist, and nobody sees them`);
}

export async function page(browser) {
  await browser.go('cartridges/VTL002L8');
  const map = await browser.get('/cartridges/VTL002L8/map');
  equal([map.filemarks, map.grouped], [4, false], 'the map of the tape');
  await browser.press('map-file');
  has(
    await browser.page.locator('[data-test="map"] ~ p[role="status"]').textContent(),
    'File 0: 1.0 MiB in 4 blocks',
    'what is told of a part of the map',
  );
  await browser.page.locator('details:has([data-test="map-table"]) summary').click();
  equal(await browser.at('map-table-row').count(), map.files.length, 'rows of the table of files');
  await browser.press('export-show');
  has(await browser.at('export-detail').textContent(), 'site-key', 'who can open the export');
  await browser.press('dialog-close');
}

/** What another server has made stays in quarantine until somebody says otherwise. */
export async function quarantine(browser) {
  await browser.go('cartridges/VTL401L8');
  has(await browser.page.locator('main').textContent(), 'is foreign', 'why it is in quarantine');
  await browser.press('do-release');
  has(await browser.note(), 'VTL401L8 is released', 'a release');
  equal((await browser.get('/cartridges/VTL401L8')).quarantined ?? null, null, 'the mark of quarantine');
  await browser.at('do-release').waitFor({ state: 'detached' });
}

/** Each job tells its plan before it is started, and then does it. */
export async function exporting(browser) {
  await browser.go('cartridges/VTL002L8');
  await browser.press('do-export');
  const { used_bytes: used } = await browser.get('/cartridges/VTL002L8');
  const asked = { remote: 'second', key: 'none', chunk_size_bytes: '1m' };
  const planned = await browser.plan('export', asked);
  has(planned, `send${size(used)}`, 'bytes in the plan of an export');
  has(planned, 'to remote second, objects of at most 1048576 bytes', 'the plan of what was typed');
  await browser.send('export');
  has(await browser.note(), 'is queued', 'an export');
  const it = await browser.until('the second copy is there', async () =>
    (await browser.get('/cartridges/VTL002L8')).exports.find((one) => one.startsWith('second/')),
  );
  await browser.go('cartridges/VTL002L8');
  const folder = it.split('/')[1];
  const row = browser.at('exports-row').filter({ hasText: folder }).filter({ hasText: 'second' });
  const { stored_bytes: stored } = await browser.get(`/exports/show?remote=second&folder=${folder}`);
  await browser.press('export-verify', { within: row });
  has(await browser.plan('verify'), `fetch and compare${size(stored)}`, 'bytes in the plan of a verification');
  equal(await jobsOf(browser, 'verify'), [], 'verifications before one is started');
  await browser.send('verify');
  await browser.note();
  equal((await jobsOf(browser, 'verify')).length, 1, 'verifications that were started');
  await browser.press('export-import', { within: row });
  await refusedPlan(browser);
  has(
    await browser.plan('import', { as_label: 'VTL202L8' }),
    `fetch${size(stored)}`,
    'bytes in the plan of an import',
  );
  await browser.send('import');
  await browser.note();
  await browser.until('it is here twice', async () =>
    (await browser.get('/cartridges')).some((one) => one.label === 'VTL202L8' && one.used_bytes > 0),
  );
  const sealed = browser.at('exports-row').filter({ hasText: 'off-site' });
  await browser.press('export-rewrap', { within: sealed });
  const [first] = (await browser.get('/cartridges/VTL002L8')).exports
    .filter((one) => one.startsWith('off-site/'))
    .map((one) => one.split('/')[1]);
  const other = { remote: 'off-site', folder: first, key: 'site-key', plan: true };
  const [manifest] = (await browser.request('POST', '/exports/rewrap', other)).tasks;
  const rewrap = await browser.plan('rewrap', { key: 'site-key' });
  has(rewrap, `write the manifest${size(manifest.total_bytes)}`, 'bytes in the plan of a rewrap');
  has(rewrap, `the manifest of folder ${first} of remote off-site`, 'what gets other recipients');
  await browser.send('rewrap');
  await browser.note();
  const [{ bytes, objects }] = await browser.get('/exports?remote=second');
  await browser.press('export-prune', { within: row });
  // Before the name is typed once more.
  await browser.at('plan').waitFor();
  has(
    await browser.plan('prune', { confirm: folder }),
    `remove ${folder}: complete, named, ${objects} objects${size(bytes)}`,
    'bytes in the plan of a removal',
  );
  equal((await browser.get('/exports?remote=second')).length, 1, 'exports after the plan of a removal');
  await browser.send('prune');
  await browser.note();
  await browser.until(
    'the second copy is gone',
    async () => (await browser.get('/exports?remote=second')).length === 0,
  );
  await browser.go('cartridges/VTL202L8');
  await browser.press('do-load');
  await browser.send('load', { library: 'lib0' });
  await browser.note();
  await browser.until(
    'it is in a slot',
    async () => (await browser.get('/cartridges/VTL202L8')).place.kind === 'slot',
  );
}

const jobsOf = async (browser, kind) => (await browser.get('/jobs')).filter((job) => job.kind === kind);

/** A cartridge with the label of the export is here: in the place of the plan stands why there is none, until
 *  something else is typed. */
async function refusedPlan(browser) {
  const before = await jobsOf(browser, 'import');
  browser.expect(/409.*\/imports/);
  await browser.press('import-plan');
  const why = browser.page.locator('dialog[open] [role="status"] [data-test="plan-refused"]');
  await why.waitFor();
  const told = await why.textContent();
  has(told, 'There is no plan: a cartridge VTL002L8 is here already', 'a plan that is refused');
  has(told, 'take it in under another label', 'what helps');
  equal(await jobsOf(browser, 'import'), before, 'imports after a plan that was refused');
  await browser.fill({ as_label: 'VTL2' });
  equal(await why.count(), 0, 'what is said of another label');
}

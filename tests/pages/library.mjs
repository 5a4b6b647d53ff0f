// The library: every way to move a cartridge, and every action on one and on a library.

import fs from 'node:fs';
import path from 'node:path';
import { UNITS, equal, has, look, pause } from './browser.mjs';

const place = async (browser, label) => {
  const { kind, number } = (await browser.get(`/cartridges/${label}`)).place;
  return `${kind}:${number}`;
};

const isAt = (browser, label, where) =>
  browser.until(`${label} is in ${where}`, async () => (await place(browser, label)) === where);

/** Chooses a cartridge in the picture, where it is. */
async function choose(browser, cell) {
  await browser.press(cell);
  await browser.at('inspector').waitFor();
}

/** What has the focus, by its name. */
const focused = (browser) =>
  browser.page.evaluate(() => document.activeElement.dataset.test ?? document.activeElement.tagName);

/** Without a pointer: past the menu, into a dialog, and out of it to where one was. */
export async function keyboard(browser) {
  await browser.go('library');
  await browser.at('skip').focus();
  await browser.page.keyboard.press('Enter');
  equal(await focused(browser), 'H1', 'where the link past the menu leads');
  await browser.at('new-cartridges').focus();
  await browser.page.keyboard.press('Enter');
  await browser.at('create-cartridge-submit').waitFor();
  const isIn = () => browser.page.evaluate(() => Boolean(document.activeElement.closest('dialog')));
  equal(await isIn(), true, 'the focus is in the dialog');
  await browser.page.keyboard.press('Escape');
  await browser.at('create-cartridge-submit').waitFor({ state: 'detached' });
  equal(await focused(browser), 'new-cartridges', 'what has the focus after a dialog');
}

export async function moves(browser) {
  await browser.go('library');
  // Chosen, then its place: with the keyboard.
  await browser.at('cell-slot-3').press('Enter');
  await browser.at('inspector').waitFor();
  await browser.at('cell-slot-20').press('Enter');
  has(await browser.note(), 'VTL003L8 is in slot:20', 'a move by keyboard');
  equal(await place(browser, 'VTL003L8'), 'slot:20', 'a move by keyboard');
  // Dragged.
  await browser.at('cell-slot-4').dragTo(browser.at('cell-slot-21'));
  has(await browser.note(), 'VTL004L8 is in slot:21', 'a move by dragging');
  await isAt(browser, 'VTL004L8', 'slot:21');
  // By its name from a list.
  await choose(browser, 'cell-slot-5');
  await browser.press('do-move');
  await browser.send('move', { to: 'drive:1' });
  await browser.note();
  await isAt(browser, 'VTL005L8', 'drive:1');
  await browser.page.waitForSelector('[data-test="drive-1-state"]:has-text("loaded")');
  // To the vault and back.
  await choose(browser, 'cell-slot-7');
  await browser.press('to-vault');
  await isAt(browser, 'VTL007L8', 'vault:null');
  await choose(browser, 'vault-VTL007L8');
  await browser.press('cell-slot-7');
  await isAt(browser, 'VTL007L8', 'slot:7');
}

/** What a drive with a host shows is what the API says. */
export async function drive(browser) {
  await browser.go('library');
  const text = await browser.at('drive-0').textContent();
  // Thirteen blocks and four filemarks.
  has(text, 'Block17', 'the block of the drive');
  has(text, 'File4', 'the file of the drive');
  has(text, 'iqn.2026-11.test', 'the initiator of the drive');
  const [it] = await browser.get('/drives');
  equal(
    [it.block, it.file, it.position_bytes, it.compression],
    [17, 4, 3280728, true],
    'the drive in the API',
  );
  has(await browser.at('tape-0').getAttribute('aria-label'), 'At 3.1 MiB', 'the position on the tape');
}

/** Bytes a second that the first drive says it writes; null as long as it says nothing. */
async function writingRate(browser) {
  const row = browser.at('drive-0').locator('dl > div', { hasText: 'Writing' });
  const said = /^([\d.]+) (B|KiB|MiB|GiB)\/s$/.exec(await row.locator('dd').textContent());
  return said && Number(said[1]) * UNITS[said[2]];
}

/** A host writes: what the page says of its pace and of the compression is what the API says. Nothing else is asked
 *  for meanwhile: a stream tells what has moved. */
export async function rates(browser) {
  const sign = path.join(browser.settings.folder, 'write');
  const counted = async () => ({
    at: Date.now(),
    bytes: (await browser.get('/drives'))[0].written_bytes,
  });
  await browser.go('library');
  const { bytes: before } = await counted();
  fs.writeFileSync(sign, '');
  const first = await browser.until('the host writes', async () => {
    const now = await counted();
    return now.bytes > before && now;
  });
  // What was moved before is shown by then.
  await pause(1500);
  const asked = browser.listen();
  // The page looks every two seconds: what it says then began after the host did.
  await pause(3000);
  const shown = await browser.until('the page tells a rate', () => writingRate(browser));
  const last = await counted();
  const wanted = ((last.bytes - first.bytes) * 1000) / (last.at - first.at);
  if (!(shown > wanted / 2 && shown < wanted * 2))
    throw new Error(`the page says ${shown} bytes a second, and the API ${wanted}`);
  equal(
    asked().filter((one) => one.startsWith('/libraries')),
    [],
    'lists that were asked for while nothing moved',
  );
  fs.rmSync(sign);
  await browser.until('the compression is told', async () => {
    const it = await browser.get('/cartridges/VTL001L8');
    const ratio = it.logical_bytes / it.arrived_bytes;
    const said = `on ${ratio.toFixed(ratio < 10 ? 2 : 1)} : 1`;
    const text = await browser.at('drive-0').textContent();
    return ratio > 1.2 && text.includes(said);
  });
}

/** A cartridge in a drive that a host has reserved is taken by who insists. */
export async function force(browser) {
  await browser.go('library');
  await choose(browser, 'cell-drive-0');
  browser.expect(/409.*\/cartridges\/VTL001L8\/move/);
  await browser.press('do-move');
  await browser.send('move', { to: 'slot:22' });
  await browser.at('move-force-submit').waitFor();
  has(await browser.page.locator('dialog[open]').textContent(), 'is reserved by', 'why it is not moved');
  equal(await place(browser, 'VTL001L8'), 'drive:0', 'a question that nobody has answered');
  await browser.send('move-force');
  await browser.note();
  await isAt(browser, 'VTL001L8', 'slot:22');
}

/** What somebody else does is shown without being asked for, also when asking for it fails at first. */
export async function elsewhere(browser) {
  await browser.go('library');
  await browser.cut('/libraries/lib0');
  await browser.request('POST', '/cartridges/VTL006L8/move', { to: 'slot:23' });
  await browser.at('failure').waitFor();
  await browser.page.locator('button[data-test="cell-slot-23"]').waitFor();
  await browser.at('failure').waitFor({ state: 'detached' });
  await browser.go('jobs');
  const { id } = await browser.request('POST', '/cartridges/VTL006L8/export', {});
  await browser.page.locator(`tr[data-job="${id}"]:has-text("completed")`).waitFor();
}

/** Seven tabs: only the one in sight has a stream open, or the last one would wait for ever. */
export async function manyTabs(browser) {
  const others = [];
  for (let n = 0; n < 6; n += 1) {
    const tab = await browser.tab();
    others.push(tab);
    await tab.goto(`${browser.settings.url}/#/library`);
    await tab.locator('[data-test="cabinet"]').waitFor();
    await look(tab, false);
  }
  await browser.go('library');
  await browser.go('jobs');
  // A tab that is looked at again hears again.
  const [tab] = others;
  await look(tab, true);
  await browser.request('POST', '/cartridges/VTL006L8/move', { to: 'slot:6' });
  await tab.locator('button[data-test="cell-slot-6"]').waitFor();
  for (const one of others) await one.close();
}

/** Runs in the page: what it asks for its keys is answered with this status from now on; null: not at all, as
 *  without a network. */
function answerKeys(status) {
  globalThis.askServer ??= globalThis.fetch;
  globalThis.keysAsked = 0;
  globalThis.fetch = (to, options) => {
    if (to !== '/api/v1/keys') return globalThis.askServer(to, options);
    globalThis.keysAsked += 1;
    if (status === null) return Promise.reject(new TypeError('cut off by the test'));
    return Promise.resolve(new Response(status === 200 ? '[]' : '{"message":"refused by the test"}', { status }));
  };
}

/** Runs in the page: a page of which no picture can be made the first time, asked for again meanwhile. Answers what
 *  it was loaded for. */
async function breakPicture() {
  const { Page } = await import(new URL('page.js', document.querySelector('script').src));
  const loads = [];
  const load = async (page, reasons) => loads.push([...reasons]);
  const view = () => {
    if (loads.length === 1) throw new Error('no picture');
  };
  const page = new Page({ load, view }, document.createElement('div'), [], new URLSearchParams());
  const asked = [page.refresh('first'), page.refresh('second')];
  await Promise.allSettled(asked);
  await new Promise((then) => setTimeout(then, 500));
  return loads;
}

/** Who asks while a picture fails is not forgotten. */
export async function noPicture(browser) {
  equal(await browser.page.evaluate(breakPicture), [['first'], ['second']], 'what the page was loaded for');
}

/** A load that failed comes again, each time after twice as long, when somebody looks; what was refused comes with the
 *  next change. The tab's clock stands still but for the test. */
export async function failing(browser) {
  const tab = await browser.apart();
  const asked = (times, what) => tab.evaluate(() => globalThis.keysAsked).then((n) => equal(n, times, what));
  const after = async (ms, times) => {
    await tab.clock.runFor(ms);
    await asked(times, `loads ${ms} ms later`);
  };
  const failure = tab.locator('[data-test="failure"]');
  const goTo = async (name) => {
    await tab.evaluate((hash) => location.assign(hash), `#/${name}`);
    await tab.locator(`main[data-address="#/${name}"]`).waitFor();
  };
  await tab.clock.install({ time: 0 });
  let stream = tab.waitForResponse(/\/api\/v1\/events/);
  await tab.goto(`${browser.settings.url}/#/audit`);
  await stream;
  await tab.locator('main[data-address="#/audit"]').waitFor();
  await tab.clock.pauseAt(60_000);
  await tab.evaluate(answerKeys, null);
  await goTo('keys');
  await failure.waitFor();
  await asked(1, 'loads of the page');
  await after(4_990, 1);
  await after(20, 2);
  await after(9_980, 2);
  await after(20, 3);
  await look(tab, false);
  await after(60_000, 3);
  stream = tab.waitForResponse(/\/api\/v1\/events/);
  await look(tab, true);
  await stream;
  await after(1, 4);
  // After the fourth failure it is 40 s.
  await tab.evaluate(answerKeys, 200);
  await after(39_900, 0);
  await after(200, 1);
  await failure.waitFor({ state: 'detached' });
  await goTo('audit');
  await tab.evaluate(answerKeys, 404);
  await goTo('keys');
  await failure.waitFor();
  await after(60_000, 1);
  await tab.evaluate(answerKeys, 200);
  await browser.request('POST', '/cartridges/VTL006L8/move', { to: 'slot:23' });
  await browser.until('a change brings it', async () => {
    await tab.clock.runFor(200);
    return (await failure.count()) === 0;
  });
  await browser.request('POST', '/cartridges/VTL006L8/move', { to: 'slot:6' });
  await tab.context().close();
}

const isDanger = (browser) => browser.at('eject-submit').evaluate((one) => one.classList.contains('danger'));

/** Where a clean import would be deleted the question says so, and promises nothing. */
async function ejectDeletes(browser) {
  const set = (value) =>
    browser.request('PATCH', '/libraries/lib0', { settings: { 'migrate.delete_clean_import': value } });
  await set('true');
  await browser.at('cell-slot-8').dragTo(browser.at('cell-mailslot-2'));
  has(await browser.at('eject-clean').textContent(), 'it is deleted here', 'a clean import that goes');
  has(await browser.at('eject-after').textContent(), 'What the job has exported is kept', 'what stays');
  equal(await isDanger(browser), true, 'a move that may delete');
  await browser.press('dialog-cancel');
  await set('false');
}

/** A drag to a mailslot asks first, and says what will happen; then it does. */
export async function eject(browser) {
  await browser.go('library');
  await browser.at('cell-slot-8').dragTo(browser.at('cell-mailslot-2'));
  has(await browser.at('eject-remote').textContent(), 'off-site', 'the remote in the question');
  has(await browser.at('eject-key').textContent(), 'site-key', 'the key in the question');
  has(await browser.at('eject-after').textContent(), 'kept in the vault', 'what becomes of the cartridge');
  has(await browser.at('eject-clean').textContent(), 'kept in the vault', 'what becomes of a clean import');
  equal(await isDanger(browser), false, 'a move that deletes nothing');
  await browser.press('dialog-cancel');
  equal(await place(browser, 'VTL008L8'), 'slot:8', 'a question that was answered with no');
  await ejectDeletes(browser);
  // The same without a pointer that draws.
  await choose(browser, 'cell-slot-8');
  await browser.press('cell-mailslot-2');
  await browser.at('plan').waitFor();
  await browser.press('eject-submit');
  await browser.note();
  await isAt(browser, 'VTL008L8', 'vault:null');
  const job = await browser.until('the export is a job', async () =>
    (await browser.get('/jobs')).find((one) => one.label === 'VTL008L8'),
  );
  equal(job.kind, 'export', 'the job of an ejection');
}

export async function cartridge(browser) {
  await browser.go('library');
  await browser.press('new-cartridges');
  await browser.send('create-cartridge', { label: 'VTL101L8', count: '3' });
  await browser.note();
  const made = await browser.get('/cartridges');
  equal(made.filter((one) => /^VTL10[1-3]L8$/.test(one.label)).length, 3, 'cartridges that were made');
  await choose(browser, 'cell-slot-9');
  for (const [name, field, value] of [
    ['protect', 'write_protected', true],
    ['unprotect', 'write_protected', false],
    ['hold', 'hold', true],
    ['unhold', 'hold', false],
  ]) {
    await browser.press(`do-${name}`);
    await browser.note();
    equal((await browser.get('/cartridges/VTL009L8'))[field], value, name);
  }
  await browser.press('inspector-close');
  await browser.at('inspector').waitFor({ state: 'detached' });
  await choose(browser, 'cell-slot-9');
  await browser.press('inspector-open');
  await browser.shown('cartridges/VTL009L8');
  await browser.go('cartridges/VTL102L8');
  await browser.press('do-retain');
  await browser.send('retain', { retain_until: '2026-12-31' });
  await browser.note();
  has((await browser.get('/cartridges/VTL102L8')).retain_until, '2026-12-31', 'a retention');
  await browser.go('cartridges/VTL103L8');
  await browser.press('do-remove');
  await browser.send('remove');
  has(await browser.note(), 'in the trash', 'a removal');
  const left = await browser.get('/cartridges');
  equal(
    left.some((one) => one.label === 'VTL103L8'),
    false,
    'the removed cartridge is listed',
  );
}

export async function libraries(browser) {
  await browser.go('library');
  await browser.press('library-settings');
  await browser.send('settings', { slots: '30', 'migrate.compress': 'lz4' });
  await browser.note();
  const it = await browser.get('/libraries/lib0');
  equal(
    [it.slots, it.settings.find((one) => one.key === 'migrate.compress').value],
    [30, 'lz4'],
    'settings of the library',
  );
  // So many slots are drawn in parts.
  const large = { name: 'lib2', profile: 'ibm-03584l32', drives: 1, slots: 700, mailslots: 0 };
  await browser.request('POST', '/libraries', large);
  await browser.press('new-library');
  await browser.send('create-library', { name: 'lib1', drives: '1', slots: '4', mailslots: '1' });
  await browser.note();
  await browser.press('tab-lib1');
  await browser.page.waitForSelector('.cabinet-head:has-text("lib1")');
  await browser.press('tab-lib2');
  await browser.page.waitForSelector('.cabinet-head:has-text("lib2")');
  equal(await browser.at('cell-slot-700').count(), 0, 'a slot of another part');
  await browser.at('bank').selectOption('1');
  await browser.at('cell-slot-700').waitFor();
  await browser.press('tab-lib0');
  await browser.page.waitForSelector('.cabinet-head:has-text("lib0")');
  await browser.request('DELETE', '/libraries/lib2');
  await browser.press('tab-lib1');
  await browser.page.waitForSelector('.cabinet-head:has-text("lib1")');
  await browser.press('remove-library');
  await browser.press('confirm-remove-library-submit');
  await browser.note();
  equal(
    (await browser.get('/libraries')).map((one) => one.name),
    ['lib0'],
    'libraries that are left',
  );
}

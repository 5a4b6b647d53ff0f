// Alerts, store, remotes, keys, iSCSI, settings: every action once, and what the API says after it.

import fs from 'node:fs';
import path from 'node:path';
import { equal, has } from './browser.mjs';

/** What needs somebody: a job that has failed, and a pool that could not be opened. */
export async function alerts(browser) {
  const failed = (await browser.get('/jobs')).find((one) => one.state === 'failed');
  const subject = `job ${failed.id}`;
  const alert = async () => (await browser.get('/alerts')).find((one) => one.subject === subject);
  await browser.until('the failed job is an alert', alert);
  await browser.press('health');
  await browser.shown('alerts');
  has(await browser.at('problems').textContent(), 'archive', 'what is wrong now');
  const row = browser.at('alerts-row').filter({ hasText: subject });
  await browser.press('alert-ack', { within: row });
  has(await browser.note(), 'acknowledged', 'what is said of it');
  equal((await alert()).state, 'acknowledged', 'the alert in the API');
  await row.filter({ hasText: 'acknowledged' }).waitFor();
  await browser.until('it is asked once', async () => (await row.locator('button').count()) === 0);
  await browser.press('tab-cleared');
  await browser.until('it is not over', async () => (await row.count()) === 0);
  await browser.press('tab-open');
  await row.waitFor();
  await browser.press('alert-test');
  has(await browser.note(), 'syslog has taken the test', 'a test of the receivers');
}

/** With its job the alert is over; nobody has asked for the page again. */
export async function over(browser) {
  await browser.go('alerts');
  await browser.press('tab-cleared');
  await browser.at('alerts-row').first().waitFor();
  await browser.until('those that are over', async () => {
    const cleared = (await browser.get('/alerts')).filter((one) => one.state === 'cleared');
    return cleared.length > 0 && (await browser.at('alerts-row').count()) === cleared.length;
  });
}

export async function store(browser) {
  const { folder } = browser.settings;
  await browser.go('store');
  // Its folder was away when the server started, and is back.
  const archive = browser.at('pools-row').filter({ hasText: 'archive' });
  await archive.filter({ hasText: 'closed' }).waitFor();
  await browser.press('pool-open', { within: archive });
  await browser.note();
  const pools = async () =>
    Object.fromEntries((await browser.get('/pools')).map((one) => [one.name, one.state]).sort());
  equal(await pools(), { archive: 'ok', default: 'ok' }, 'pools after one was opened');
  await archive.filter({ hasText: 'closed' }).waitFor({ state: 'detached' });
  const stats = await browser.get('/store/stats');
  has(
    await browser.at('figure-logical').textContent(),
    `${(stats.logical_bytes / 2 ** 20).toFixed(1)} MiB`,
    'what is written',
  );
  await browser.at('plot-bytes').locator('svg').waitFor();
  for (const span of ['day', 'year', 'week']) await browser.at('span').selectOption(span);
  await browser.press('gc');
  await browser.at('plan').waitFor();
  // A plan is that of what is chosen.
  await browser.fill({ pool: 'archive' });
  equal(await browser.at('plan').count(), 0, 'the plan for all pools when one is chosen');
  has(await browser.plan('start-gc', { pool: '' }), 'look at packs', 'the plan of a collection');
  await browser.send('start-gc');
  await browser.note();
  await browser.until('the collection is done', async () =>
    (await browser.get('/jobs')).some((job) => job.kind === 'gc' && job.state === 'completed'),
  );
  await browser.press('scrub');
  has(await browser.plan('start-scrub'), 'bytes a second', 'the plan of a scrub');
  await browser.send('start-scrub');
  await browser.note();
  await browser.until('the scrub is done', async () =>
    (await browser.get('/jobs')).some((job) => job.kind === 'scrub' && job.state === 'completed'),
  );
  await browser.press('account');
  has(await browser.note(), 'needed by nobody', 'what is needed');
  await browser.press('repair');
  has(await browser.note(), '0 chunks are lost', 'a repair');
  const key = path.join(folder, 'pool.key');
  fs.writeFileSync(key, '0123456789abcdef0123456789abcdef', { mode: 0o600 });
  await browser.press('new-pool');
  const fast = { name: 'fast', paths: path.join(folder, 'fast'), encrypted: true, key_file: key };
  await browser.send('create-pool', fast);
  await browser.note();
  equal(await pools(), { archive: 'ok', default: 'ok', fast: 'ok' }, 'pools');
  await storeKey(browser, path.join(folder, 'keyring'));
  await browser.go('store');
  const row = browser.at('pools-row').filter({ hasText: 'fast' });
  await browser.press('pool-folders', { within: row });
  has(await browser.at('folders').textContent(), path.join(folder, 'fast'), 'folders of the pool');
  await browser.press('dialog-close');
  await browser.press('pool-remove', { within: row });
  await browser.send('confirm-remove-pool');
  await browser.until('the pool is gone', async () => !('fast' in (await pools())));
  await browser.note();
}

/** The keyring of an encrypted pool is written to a file. */
async function storeKey(browser, file) {
  await browser.go('keys');
  await browser.press('store-key-export');
  await browser.send('export-store-key', { file });
  await browser.note();
  equal(fs.existsSync(file), true, 'the keyring in a file');
  await browser.page.waitForSelector('dt:has-text("Keyring exported") + dd:has-text("yes")');
}

export async function remotes(browser) {
  const { folder } = browser.settings;
  await browser.go('remotes');
  const place = path.join(folder, 'third');
  fs.mkdirSync(place);
  await browser.press('new-remote');
  await browser.send('create-remote', { name: 'third', type: 'folder', path: place });
  await browser.note();
  const row = browser.at('remotes-row').filter({ hasText: 'third' });
  await browser.press('remote-test', { within: row });
  has(await browser.at('probe-result').textContent(), 'It can be used', 'the probe');
  await browser.press('dialog-close');
  await browser.press('remote-details', { within: row });
  has(await browser.at('remote-detail').textContent(), place, 'its settings');
  await browser.press('dialog-close');
  const known = browser.at('remotes-row').filter({ hasText: 'off-site' });
  await browser.press('remote-objects', { within: known });
  has(await browser.at('objects').textContent(), 'VTL002L8', 'objects of the remote');
  await browser.press('dialog-close');
  // More than one answer of the server has.
  for (let n = 0; n < 1001; n += 1)
    fs.writeFileSync(path.join(place, `object-${String(n).padStart(4, '0')}`), '');
  const listed = () => browser.at('objects').locator('tbody tr').count();
  await browser.press('remote-objects', { within: row });
  await browser.until('the first objects', async () => (await listed()) === 1000);
  await browser.press('more-objects');
  await browser.until('the last one', async () => (await listed()) === 1001);
  equal(await browser.at('more-objects').count(), 0, 'a button for more than there is');
  await browser.press('dialog-close');
  await browser.press('remote-open', { within: known });
  const exports = await browser.get('/exports?remote=off-site');
  await browser.until(
    'its exports',
    async () => (await browser.at('folders-row').count()) === exports.length,
  );
  await browser.press('remote-remove', { within: row });
  await browser.send('confirm-remove-remote');
  await browser.note();
  equal(
    (await browser.get('/remotes')).some((one) => one.name === 'third'),
    false,
    'a forgotten remote',
  );
}

export async function keys(browser) {
  await browser.go('keys');
  await browser.press('make-key');
  await browser.send('make-key-form', { name: 'signer' });
  await browser.note();
  await browser.press('import-key');
  await browser.send('import-key-form', { name: 'again', file: browser.settings.key_file });
  await browser.note();
  const all = await browser.get('/keys');
  equal(all.map((key) => key.name).sort(), ['again', 'signer', 'site-key'], 'keys');
  const row = browser.at('keys-row').filter({ hasText: 'signer' });
  has(await row.textContent(), all.find((key) => key.name === 'signer').fingerprint, 'its fingerprint');
  await browser.press('key-public', { within: row });
  const pem = await browser.at('pem').textContent();
  has(pem, 'BEGIN PUBLIC KEY', 'the public part');
  equal(pem.includes('PRIVATE'), false, 'a private part is shown');
  await browser.press('dialog-close');
  await browser.press('key-remove', { within: browser.at('keys-row').filter({ hasText: 'again' }) });
  await browser.send('remove-key', { confirm: 'again' });
  await browser.note();
  equal((await browser.get('/keys')).length, 2, 'keys that are left');
}

export async function iscsi(browser) {
  await browser.go('iscsi');
  const target = async () => (await browser.get('/iscsi/targets')).find((one) => one.library === 'lib0');
  equal(await browser.at('sessions-row').count(), (await browser.get('/iscsi/sessions')).length, 'sessions');
  const row = browser.at('targets-row').filter({ hasText: 'lib0' });
  await browser.press('set-chap', { within: row });
  await browser.send('chap-form', { user: 'backup', secret: 'only-for-this-test' });
  await browser.note();
  equal((await target()).chap_user, 'backup', 'CHAP');
  await browser.press('clear-chap', { within: row });
  await browser.send('confirm-clear-chap');
  await browser.note();
  equal((await target()).chap_user, null, 'CHAP that was taken away');
  await browser.press('add-initiator', { within: row });
  await browser.send('initiator-form', { initiator: 'iqn.2004-10.com.example:host1' });
  await browser.note();
  equal((await target()).initiators, ['iqn.2004-10.com.example:host1'], 'the list');
  await browser.press('initiator-remove', { within: row });
  await browser.send('confirm-remove-initiator');
  await browser.note();
  equal((await target()).initiators, null, 'the list without the last one');
  await browser.press('add-portal');
  await browser.send('add-portal-form', { address: '127.0.0.1:0' });
  await browser.note();
  const added = await browser.until('a portal', async () =>
    (await browser.get('/iscsi/portals')).find((one) => one.origin === 'added'),
  );
  await browser.press('portal-remove', {
    within: browser.at('portals-row').filter({ hasText: added.address }),
  });
  await browser.send('confirm-remove-portal');
  await browser.note();
  equal((await browser.get('/iscsi/portals')).length, 1, 'portals that are left');
}

export async function settings(browser) {
  const { folder } = browser.settings;
  await browser.go('settings');
  const all = await browser.get('/config/effective');
  equal(await browser.at('config-row').count(), all.length, 'settings');
  await browser.at('settings-search').fill('iscsi.max');
  await browser.until(
    'found',
    async () =>
      (await browser.at('config-row').count()) === all.filter((one) => one.key.includes('iscsi.max')).length,
  );
  await browser.at('settings-search').fill('');
  await browser.at('settings-changed').check();
  await browser.until(
    'only what was changed',
    async () =>
      (await browser.at('config-row').count()) === all.filter((one) => one.origin !== 'default').length,
  );
  // Checked before it is taken: a wrong file is refused with the line and the remedy, a right one is right.
  const file = path.join(folder, 'vtl.toml');
  fs.writeFileSync(file, '[store]\ngc = "sometimes"\n');
  browser.expect(/400.*config\/check/);
  await browser.fill({ file });
  await browser.press('check-config-submit');
  has(await browser.at('failure').textContent(), 'store.gc', 'what is wrong with the file');
  fs.writeFileSync(file, '[store]\ngc = "manual"\n');
  await browser.press('check-config-submit');
  has(await browser.note(), 'is right', 'a right file');
  await browser.press('hook-test');
  await browser.press('note-close');
  has(await browser.note(), 'It ended well. ready for TST000L8', 'what the program of the site says');
  const inEffect = path.join(folder, 'in-effect.toml');
  const before = fs.readFileSync(inEffect, 'utf8');
  fs.writeFileSync(inEffect, before.replace('log.level = "info"', 'log.level = "warn"'));
  await browser.press('reload');
  await browser.at('checked').waitFor();
  await browser.send('confirm-reload');
  has(await browser.note(), 'configuration read; log.level changes at the next start', 'a reload');
  const waiting = browser.at('config-row').filter({ hasText: 'log.level' });
  await browser.until('what waits', async () =>
    (await waiting.textContent()).includes('"info" "warn" from the next start on'),
  );
  fs.writeFileSync(inEffect, before);
  await browser.press('backup');
  await browser.send('backup-form', { file: path.join(folder, 'backup.db') });
  await browser.note();
  equal(fs.existsSync(path.join(folder, 'backup.db')), true, 'the copy of the inventory');
}

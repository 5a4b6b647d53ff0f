// Who may do what: the first administrator, users, tokens, what a role sees, two persons, the audit log.

import fs from 'node:fs';
import path from 'node:path';

import { isOf, pages } from './actions.mjs';
import { equal, has } from './browser.mjs';

const PASSWORD = 'four quiet tapes in a row';
const OTHER = 'five quiet tapes in a row';

/** The buttons that a viewer has: they only show something, or are about what is his own. */
const FOR_VIEWERS = [
  ...['cell-*', 'vault-*', 'tab-*', 'sort-*', 'inspector-close', 'map-file', 'job-open', 'remote-open'],
  ...['export-show', 'pool-folders', 'remote-objects', 'remote-details', 'key-public', 'more-jobs'],
  ...['theme', 'log-out', 'own-password', 'new-token', 'token-revoke', 'note-close'],
];
/** Of these the ones that open a dialog, and the ones that are not for a walk through the pages. */
const OPENS = ['export-show', 'pool-folders', 'remote-objects', 'remote-details', 'key-public'];
const LEFT_ALONE = ['theme', 'log-out', 'own-password', 'new-token', 'token-revoke', 'note-close'];

/** The one-time link of the first start makes the first administrator, and logs in. */
export async function first(browser) {
  await browser.page.goto(browser.settings.setup);
  await browser.at('setup-submit').waitFor();
  await browser.lookAt('set-up');
  await browser.fill({ user: 'first', password: PASSWORD, again: OTHER });
  await browser.press('setup-submit');
  has(await browser.at('failure').textContent(), 'not the same', 'two passwords that differ');
  await browser.fill({ again: PASSWORD });
  await browser.press('setup-submit');
  await browser.at('cabinet').waitFor();
  equal(await browser.at('who').textContent(), 'first', 'who is logged in');
  // Another password of one's own ends the session.
  await browser.go('users');
  await browser.press('own-password');
  await browser.send('password-form', { current: PASSWORD, password: OTHER });
  has(await browser.note(), 'first has a new password', 'what is said of a new password');
  await byPassword(browser, 'first', OTHER);
  await browser.at('users').first().waitFor();
  await browser.go('library');
  await browser.press('log-out');
}

export async function byPassword(browser, user, password) {
  await browser.at('login-submit').waitFor();
  await browser.fill({ user, password });
  await browser.press('login-submit');
}

async function addUser(browser, name, ...roles) {
  const held = Object.fromEntries(roles.map((role) => [role, true]));
  await browser.press('add-user');
  await browser.send('add-user-form', { name, password: PASSWORD, ...held });
  await browser.note();
}

export async function users(browser) {
  await browser.go('users');
  await addUser(browser, 'ann', 'viewer');
  const ann = async () => (await browser.get('/users')).find((one) => one.name === 'ann');
  equal((await ann()).roles, ['viewer'], 'roles of a new user');
  const row = browser.at('users-row').filter({ hasText: 'ann' });
  await browser.press('user-lock', { within: row });
  await browser.until('locked', async () => (await ann()).locked);
  await browser.page.waitForSelector('[data-test="users-row"]:has-text("locked")');
  await browser.press('user-lock', { within: row });
  await browser.until('not locked', async () => !(await ann()).locked);
  await browser.press('user-password', { within: row });
  await browser.send('password-form', { password: OTHER });
  await browser.note();
  const asAnn = await elsewhere(browser, 'ann', OTHER);
  equal(await asAnn(), 200, 'a session in another browser');
  await browser.press('new-token');
  await browser.send('token-form', { name: 'nightly', role: 'operator' });
  const secret = await browser.at('token-secret').textContent();
  await browser.press('dialog-close');
  const answer = await fetch(`${browser.settings.url}/api/v1/jobs`, {
    headers: { Authorization: `Bearer ${secret}` },
  });
  equal(answer.status, 200, 'a request with the new token');
  await browser.press('token-revoke', { within: browser.at('tokens-row').filter({ hasText: 'nightly' }) });
  await browser.send('confirm-revoke');
  await browser.note();
  const refused = await fetch(`${browser.settings.url}/api/v1/jobs`, {
    headers: { Authorization: `Bearer ${secret}` },
  });
  equal(refused.status, 401, 'a request with a revoked token');
  await browser.press('user-end-sessions', { within: browser.at('people-row').filter({ hasText: 'ann' }) });
  await browser.send('confirm-end-sessions');
  has(await browser.note(), 'ann is logged out everywhere', 'sessions that were ended');
  equal(await asAnn(), 401, 'a session that was ended');
}

/** Logs somebody in from another browser; asks whether that one still is. */
async function elsewhere(browser, user, password) {
  const session = `${browser.settings.url}/api/v1/session`;
  const opened = await fetch(session, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ user, password }),
  });
  const headers = { Cookie: opened.headers.get('set-cookie').split(';')[0] };
  return async () => (await fetch(session, { headers })).status;
}

/** A viewer sees the pages and none of the buttons that change something. */
export async function viewer(browser) {
  // Who logs in is where the last one was.
  await browser.go('library');
  await browser.press('log-out');
  await byPassword(browser, 'ann', 'not her password');
  await browser.at('failure').waitFor();
  await byPassword(browser, 'ann', OTHER);
  await browser.at('cabinet').waitFor();
  equal(await browser.at('new-cartridges').count(), 0, 'a button that a viewer may not press');
  await walk(browser);
  await browser.go('library');
  await browser.at('cell-slot-2').click();
  await browser.at('inspector').waitFor();
  equal(await browser.at('do-move').count(), 0, 'a move that a viewer may not make');
  equal(await browser.page.locator('.bay.target').count(), 0, 'places that a viewer may choose');
  // The server does not rely on what a page shows.
  browser.expect(/403.*\/cartridges\/VTL002L8\/move/);
  const status = await browser.page.evaluate(async () => {
    const { csrf } = await (await fetch('/api/v1/session')).json();
    const headers = { 'Content-Type': 'application/json', 'X-CSRF-Token': csrf };
    const body = JSON.stringify({ to: 'slot:29' });
    return (await fetch('/api/v1/cartridges/VTL002L8/move', { method: 'POST', headers, body })).status;
  });
  equal(status, 403, 'a move by a viewer');
  await browser.press('log-out');
  await browser.byToken();
  await browser.go('users');
  const row = browser.at('users-row').filter({ hasText: 'ann' });
  await browser.press('user-roles', { within: row });
  await browser.send('roles-form', { operator: true });
  await browser.note();
  equal(
    (await browser.get('/users')).find((one) => one.name === 'ann').roles,
    ['viewer', 'operator'],
    'roles that were changed',
  );
  await browser.press('user-remove', { within: row });
  await browser.send('confirm-remove-user');
  await browser.note();
  equal(
    (await browser.get('/users')).map((one) => one.name),
    ['first'],
    'users that are left',
  );
}

/** Every page as a viewer: none fails, no button is there that is not for him, and none of the others is refused
 *  (a refusal is an error on the console). */
async function walk(browser) {
  equal(await browser.at('nav-audit').count(), 0, 'a link to a page that a viewer may not see');
  const tried = new Set(LEFT_ALONE);
  const all = [...pages().filter((name) => name !== 'audit'), 'cartridges/VTL002L8'];
  for (const address of all) {
    await browser.go(address);
    equal(await browser.at('failure').count(), 0, `failures on ${address}`);
    const shown = await browser.page
      .locator('button:visible')
      .evaluateAll((found) => found.map((one) => one.dataset.test ?? one.outerHTML));
    const kind = (name) => FOR_VIEWERS.find((one) => isOf(one, name));
    equal(
      shown.filter((name) => !kind(name)),
      [],
      `buttons on ${address} that are not for a viewer`,
    );
    for (const name of shown) {
      if (tried.has(kind(name))) continue;
      tried.add(kind(name));
      // Another remote drops everything.
      const within = name.startsWith('remote-')
        ? browser.at('remotes-row').filter({ hasText: 'off-site' })
        : undefined;
      await browser.press(name, { within });
      if (OPENS.includes(name)) await browser.press('dialog-close');
    }
  }
}

/** The provider asks who it is and sends the browser back: a session, without password and tokens of our own. */
export async function byProvider(browser) {
  const { page } = browser;
  await browser.go('library');
  await browser.press('log-out');
  await browser.at('login-oidc').waitFor();
  equal(await browser.at('login-oidc').textContent(), 'Log in with Example Corp', 'what the button says');
  for (const found of await browser.violations()) browser.faults.push(`the log-in page: ${found}`);
  browser.elsewhere = browser.settings.provider;
  // The provider's own pages are not ours to judge.
  browser.expect(new RegExp(browser.settings.provider));
  await browser.press('login-oidc');
  await page.locator('input[name="login"]').fill('otto');
  await page.locator('input[name="password"]').fill('any');
  await page.locator('button[type="submit"]').click();
  await page.locator('input[name="prompt"][value="consent"]').waitFor({ state: 'attached' });
  await page.locator('button[type="submit"]').click();
  await browser.at('cabinet').waitFor();
  browser.elsewhere = null;
  equal(await browser.at('who').textContent(), 'otto', 'who is logged in');
  await browser.go('users');
  equal(await browser.at('own-password').count(), 0, 'a password that is not here');
  equal(await browser.at('new-token').count(), 0, 'tokens that he cannot have');
  await browser.press('log-out');
  await browser.byToken();
  await browser.at('users').first().waitFor();
}

/** Switches the two-person rule in the server's file, and has it read again. */
async function twoPersons(browser, on) {
  const file = path.join(browser.settings.folder, 'in-effect.toml');
  const rule = 'access.two_person = true\n';
  const without = fs.readFileSync(file, 'utf8').replace(rule, '');
  fs.writeFileSync(file, on ? rule + without : without);
  await browser.request('POST', '/system/reload', {});
}

/** Somebody else sits down at the browser. */
async function changeTo(browser, user) {
  // Who logs in is where the last one was.
  await browser.go('library');
  await browser.press('log-out');
  await byPassword(browser, user, PASSWORD);
  await browser.at('cabinet').waitFor();
  equal(await browser.at('who').textContent(), user, 'who is logged in');
}

/** With the two-person rule a removal waits: another security officer has it done or not, and who asked only
 *  takes it back. */
export async function approvals(browser) {
  const [done, refused, withdrawn] = ['APR001L8', 'APR002L8', 'APR003L8'];
  const row = (label) => browser.at('approvals-row').filter({ hasText: label });
  const decided = async (label) => {
    const one = (await browser.get('/approvals')).find(({ path: of }) => of === `/cartridges/${label}`);
    return [one.state, one.asked_by, one.decided_by ?? null];
  };
  const isListed = async (label) => (await browser.get('/cartridges')).some((one) => one.label === label);
  await browser.request('POST', '/cartridges', { label: done, library: 'lib0', count: 3 });
  await twoPersons(browser, true);
  await browser.go('users');
  for (const name of ['sam', 'sue']) await addUser(browser, name, 'viewer', 'security-officer');

  await changeTo(browser, 'sam');
  for (const label of [done, refused, withdrawn]) {
    await browser.go(`cartridges/${label}`);
    await browser.press('do-remove');
    await browser.send('remove');
    has(await browser.note('warn'), 'another security officer has to approve', 'what is said of a removal');
    equal(await decided(label), ['pending', 'sam', null], 'a request that waits');
  }
  await browser.go('users');
  browser.expect(/403.*\/approvals\/[0-9a-f]+\/approve/);
  await browser.press('approve', { within: row(done) });
  has(await browser.note('bad'), 'nobody approves what he has asked for himself', 'his own request');
  equal(await decided(done), ['pending', 'sam', null], 'a request that he cannot approve');
  await browser.press('refuse', { within: row(withdrawn) });
  has(await browser.note(), 'The request is refused', 'a request that is taken back');
  equal(await decided(withdrawn), ['refused', 'sam', 'sam'], 'a request that was taken back');
  browser.expect(/403.*\/users\/sam\/password/);
  await browser.press('own-password');
  await browser.fill({ current: OTHER, password: OTHER });
  await browser.press('password-form-submit');
  has(await browser.at('failure').textContent(), 'the present password', 'another present password');
  await browser.press('dialog-close');

  await changeTo(browser, 'sue');
  await browser.go('users');
  equal(await isListed(done), true, 'a cartridge whose removal waits');
  await browser.press('approve', { within: row(done) });
  has(await browser.note(), 'The request is approved and done', 'a yes');
  equal(await decided(done), ['approved', 'sam', 'sue'], 'a request that was approved');
  equal(await isListed(done), false, 'the cartridge that was removed is listed');
  equal(
    (await browser.get('/trash')).some((one) => one.label === done),
    true,
    'it is in the trash',
  );
  await browser.press('refuse', { within: row(refused) });
  has(await browser.note(), 'The request is refused', 'a no');
  equal(await decided(refused), ['refused', 'sam', 'sue'], 'a request that was refused');
  await browser.until('nothing is left to decide', async () => (await browser.at('approve').count()) === 0);
  for (const label of [refused, withdrawn])
    equal(await isListed(label), true, 'a cartridge that was not removed');

  await twoPersons(browser, false);
  await browser.press('log-out');
  await browser.byToken();
  await browser.at('users').first().waitFor();
  for (const name of ['sam', 'sue']) await browser.request('DELETE', `/users/${name}`);
  for (const label of [refused, withdrawn])
    await browser.request('DELETE', `/cartridges/${label}`, { now: true, confirm: label });
}

export async function audit(browser) {
  await browser.go('audit');
  await browser.fill({ what: 'DELETE', who: 'root' });
  await browser.press('audit-filter-submit');
  const wanted = await browser.get('/audit?limit=100&who=root&what=DELETE');
  await browser.until(
    'the filter is done',
    async () => (await browser.at('audit-row').count()) === wanted.length,
  );
  has(await browser.at('audit').textContent(), '/users/{name}', 'what was done');
  await browser.press('audit-verify');
  has(await browser.at('audit-whole').textContent(), 'The log is whole', 'the chain');
  await browser.press('dialog-close');
}

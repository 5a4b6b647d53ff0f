// The web pages in a real browser, against a running server: every page and every action, as somebody would
// use them.
//
// node main.mjs SETTINGS.json: see `main.rs`, which makes the server and what is in it.

import fs from 'node:fs';
import path from 'node:path';
import { actions, isOf, pages } from './actions.mjs';
import { Browser, NARROWEST, equal } from './browser.mjs';
import * as cartridges from './cartridges.mjs';
import * as jobs from './jobs.mjs';
import * as library from './library.mjs';
import * as people from './people.mjs';
import * as places from './places.mjs';

/** In this order: what one makes the next ones find. */
const STEPS = [
  ['first user', people.first],
  ['log in', logIn],
  ['menu', menu],
  ['keyboard', library.keyboard],
  ['moves', library.moves],
  ['drive', library.drive],
  ['rates', library.rates],
  ['force', library.force],
  ['changes by others', library.elsewhere],
  ['many tabs', library.manyTabs],
  ['loads that fail', library.failing],
  ['a picture that fails', library.noPicture],
  ['a job that runs', jobs.running],
  ['alerts', places.alerts],
  ['ejection', library.eject],
  ['cartridge', library.cartridge],
  ['libraries', library.libraries],
  ['list', cartridges.list],
  ['long list', cartridges.longList],
  ['page of a cartridge', cartridges.page],
  ['quarantine', cartridges.quarantine],
  ['exports', cartridges.exporting],
  ['store', places.store],
  ['remotes', places.remotes],
  ['keys', places.keys],
  ['iSCSI', places.iscsi],
  ['settings', places.settings],
  ['users', people.users],
  ['viewer', people.viewer],
  ['by a provider', people.byProvider],
  ['approvals', people.approvals],
  ['audit', people.audit],
  ['jobs', jobs.control],
  ['tabs of jobs', jobs.tabs],
  ['looks', looks],
  ['imports', jobs.importing],
  ['many jobs', jobs.many],
  ['colours', colours],
  ['alerts that are over', places.over],
  ['buttons', buttons],
  ['log out', logOut],
];

async function logIn(browser) {
  await browser.page.goto(browser.settings.url);
  await browser.at('login-submit').waitFor();
  await browser.lookAt('log-in');
  await browser.byToken('not-the-token');
  await browser.at('failure').waitFor();
  await browser.byToken();
  await browser.at('cabinet').waitFor();
}

/** Every page by its link. */
async function menu(browser) {
  for (const name of pages()) {
    await browser.press(`nav-${name}`);
    await browser.shown(name);
  }
  await browser.press('brand');
  await browser.shown('library');
}

async function looks(browser) {
  for (const name of [...pages(), 'cartridges/VTL002L8']) {
    await browser.go(name);
    await browser.lookAt(name);
  }
  await browser.window(...NARROWEST);
  await browser.press('menu');
  await browser.press('nav-library');
  await browser.shown('library');
  await browser.window();
}

async function colours(browser) {
  await browser.go('library');
  const background = () => browser.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const seen = [];
  for (let n = 0; n < 3; n += 1) {
    await browser.press('theme');
    seen.push(await background());
  }
  equal(new Set(seen).size, 2, 'colours that the switch goes through');
}

/** Every action that the sources of the pages have was done, also one that was on no page so far. */
async function buttons(browser) {
  // There is more by now than one page of it.
  await browser.go('audit');
  await browser.press('audit-more');
  const { seen, pressed, nameless } = await browser.buttons();
  const all = actions();
  const left = all.filter((action) => !pressed.some((name) => isOf(action, name)));
  equal(left, [], 'never pressed');
  const unknown = seen.filter((name) => !all.some((action) => isOf(action, name)));
  equal(unknown, [], 'buttons that the list of actions does not have');
  equal(nameless, [], 'buttons without a name');
}

async function logOut(browser) {
  await browser.press('log-out');
  await browser.at('login-by-token').waitFor();
  await browser.page.reload();
  await browser.at('login-by-token').waitFor();
}

const settings = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const only = process.argv.slice(3);
const browser = await new Browser(settings).start();
let failed = 0;
for (const [name, step] of STEPS) {
  if (only.length && !['first user', 'log in'].includes(name) && !only.includes(name)) continue;
  const begun = Date.now();
  try {
    await step(browser);
    console.log(`ok      ${name} (${Date.now() - begun} ms)`);
  } catch (error) {
    failed += 1;
    if (step === logIn) process.exit(console.log(error.stack) ?? 1);
    console.log(`FAILED  ${name}: ${error.stack}`);
    await browser.page
      .screenshot({ path: path.join(settings.out, `failed-${name.replaceAll(' ', '-')}.png`) })
      .catch(() => {});
    await browser.page.reload().catch(() => {});
  }
}
await browser.chromium.close();
for (const fault of browser.faults) console.log(`FAULT   ${fault}`);
process.exitCode = failed + browser.faults.length ? 1 : 0;

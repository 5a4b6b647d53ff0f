// The web pages in a real browser, against a running server: every page and every action, as somebody would
// use them.
//
// node main.mjs SETTINGS.json: see `main.rs`, which makes the server and what is in it.

import fs from 'node:fs';
import path from 'node:path';
import { Browser, equal } from './browser.mjs';
import * as cartridges from './cartridges.mjs';
import * as jobs from './jobs.mjs';
import * as library from './library.mjs';
import * as people from './people.mjs';
import * as places from './places.mjs';

const PAGES = [
  'library',
  'cartridges',
  'cartridges/VTL002L8',
  'jobs',
  'store',
  'remotes',
  'keys',
  'iscsi',
  'settings',
  'users',
  'audit',
];
const WINDOWS = [
  [1920, 1080, 'light'],
  [1920, 1080, 'dark'],
  [360, 740, 'light'],
  [360, 740, 'dark'],
];

/** Two windows have every layout and every colour. */
const AXE = ['1920 light', '360 dark'];

/** In this order: what one makes the next ones find. */
const STEPS = [
  ['first user', people.first],
  ['log in', logIn],
  ['moves', library.moves],
  ['drive', library.drive],
  ['ejection', library.eject],
  ['cartridge', library.cartridge],
  ['libraries', library.libraries],
  ['list', cartridges.list],
  ['long list', cartridges.longList],
  ['page of a cartridge', cartridges.page],
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
  ['colours', colours],
  ['buttons', buttons],
  ['log out', logOut],
];

async function logIn(browser) {
  await browser.page.goto(browser.settings.url);
  await browser.byToken('not-the-token');
  await browser.at('failure').waitFor();
  await browser.byToken();
  await browser.at('cabinet').waitFor();
}

/** Every page in each window: it fits, nothing is wrong with it for who cannot see or point, and a
 *  picture is kept. */
async function looks(browser) {
  const { out } = browser.settings;
  for (const [width, height, scheme] of WINDOWS) {
    await browser.open(width, height, scheme);
    for (const name of PAGES) {
      await browser.go(name);
      await browser.page.screenshot({
        path: path.join(out, `${name.replaceAll('/', '-')}-${width}-${scheme}.png`),
        fullPage: true,
      });
      const over = await browser.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (over > 0) browser.faults.push(`${name} is ${over} pixels wider than ${width}`);
      if (!AXE.includes(`${width} ${scheme}`)) continue;
      for (const found of await browser.violations())
        browser.faults.push(`${name} at ${width}, ${scheme}: ${found}`);
    }
    if (width < 860) await browser.press('menu');
  }
  await browser.open(1920, 1080, 'light');
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

/** Whatever button was on a page has been pressed. */
async function buttons(browser) {
  // There is more by now than one page of it.
  await browser.go('audit');
  if (await browser.at('audit-more').count()) await browser.press('audit-more');
  const [seen, pressed] = await browser.buttons();
  const may = (name) => pressed.includes(name) || /^(cell|vault)-/.test(name);
  const left = seen.filter((name) => !may(name) && name !== 'log-out');
  if (left.length) throw new Error(`never pressed: ${left.join(', ')}`);
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

// A real browser, and what is watched while it is used: errors on the console, requests to other hosts, and
// which buttons were pressed.

import { createRequire } from 'node:module';
import path from 'node:path';

const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
/** Longer than this nothing here takes. */
const PATIENCE_MS = 20_000;

/** Width, height, colours, and whether axe looks: two of them have every layout and every colour. The first is
 *  the one that is worked in. */
const WINDOWS = [
  [1920, 1080, 'light', true],
  [1920, 1080, 'dark', false],
  [360, 740, 'light', false],
  [360, 740, 'dark', true],
];
export const NARROWEST = WINDOWS[3].slice(0, 3);

/** Buttons that a dialog may end with. */
const ENDS_A_DIALOG = /-submit$|^dialog-/;

/** Runs in the page: remembers over reloads which buttons there were and which were pressed, which fields were
 *  typed into; and all notes. */
function rememberButtons() {
  const lists = new Map();
  const keep = (list, name) => {
    if (!lists.has(list)) lists.set(list, new Set(JSON.parse(sessionStorage.getItem(list) ?? '[]')));
    const known = lists.get(list);
    if (!known.has(name)) sessionStorage.setItem(list, JSON.stringify([...known.add(name)]));
  };
  globalThis.notesSeen = [];
  const look = (changes) => {
    for (const one of document.querySelectorAll('button')) {
      if (one.dataset.test) keep('test.seen', one.dataset.test);
      else keep('test.nameless', one.outerHTML.slice(0, 160));
    }
    const added = changes.flatMap((change) => [...change.addedNodes]);
    for (const one of added.filter((node) => node.classList?.contains('note')))
      globalThis.notesSeen.push({ name: one.dataset.test, text: one.textContent });
  };
  new MutationObserver(look).observe(document, { childList: true, subtree: true });
  const use = (event) => {
    const used = event.target.closest?.('[data-test]');
    const name = used?.dataset.test;
    if (name) keep('test.pressed', name.replace(/^field-/, `field-${used.form?.dataset.test}.`));
  };
  for (const type of ['click', 'input', 'change']) document.addEventListener(type, use, true);
}

export class Browser {
  constructor(settings) {
    this.settings = settings;
    this.faults = [];
    // Nobody is logged in yet, or the credentials are wrong.
    this.expected = [/401.*\/api\/v1\/session/];
    /** The dialogs that were looked at. */
    this.dialogs = new Set();
  }

  async start() {
    const require = createRequire(path.join(this.settings.tools, 'package.json'));
    const { chromium } = require('playwright-core');
    this.axe = require('axe-core').source;
    this.chromium = await chromium.launch({ executablePath: this.settings.chromium, args: ARGUMENTS });
    const [[width, height, colorScheme]] = WINDOWS;
    this.context = await this.chromium.newContext({
      viewport: { width, height },
      colorScheme,
      reducedMotion: 'reduce',
    });
    await this.context.addInitScript(rememberButtons);
    this.page = await this.tab();
    return this;
  }

  /** Another tab of the same browser; what happens in it is watched, too. */
  async tab(context = this.context) {
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    this.watch(page);
    return page;
  }

  /** A tab of another browser with the same session: its clock is its own. */
  async apart() {
    return this.tab(await this.chromium.newContext({ storageState: await this.context.storageState() }));
  }

  watch(page) {
    const own = new URL(this.settings.url).origin;
    page.on('pageerror', (error) => this.faults.push(`error in a page: ${error.stack}`));
    page.on('console', (message) => {
      if (message.type() !== 'error' && message.type() !== 'warning') return;
      const text = `${message.text()} (${message.location().url})`;
      if (!this.expected.some((pattern) => pattern.test(text))) this.faults.push(`on the console: ${text}`);
    });
    page.on('request', (request) => {
      const { origin, protocol } = new URL(request.url());
      const allowed = [own, this.elsewhere].includes(origin);
      if (!allowed && protocol !== 'data:') this.faults.push(`a request to ${request.url()}`);
    });
  }

  /** What the browser says of refusals that are meant to happen. */
  expect(...patterns) {
    this.expected.push(...patterns);
  }

  /** Where a page may lead, other than to our own; nowhere in the end. */
  elsewhere = null;

  async go(address) {
    await this.page.goto(`${this.settings.url}/#/${address}`);
    await this.shown(address);
  }

  /** Waits until a page is whole. */
  async shown(address) {
    await this.page.waitForFunction(
      (wanted) => document.querySelector('main')?.dataset.address === wanted,
      `#/${address}`,
    );
  }

  at(name) {
    return this.page.locator(`[data-test="${name}"]`);
  }

  /** Presses a button, the first of that name unless another is meant. */
  async press(name, { within, nth = 0 } = {}) {
    if (ENDS_A_DIALOG.test(name)) await this.lookAtDialog();
    await (within ? within.locator(`[data-test="${name}"]`) : this.at(name)).nth(nth).click();
  }

  /** Types into fields of the form that is open. */
  async fill(values) {
    for (const [name, value] of Object.entries(values)) {
      const field = this.at(`field-${name}`).last();
      if (typeof value === 'boolean') await field.setChecked(value);
      else if ((await field.evaluate((one) => one.tagName)) === 'SELECT') await field.selectOption(value);
      else await field.fill(value);
    }
  }

  /** Fills the form of this name and sends it; it is gone when the server has taken it. */
  async send(form, values = {}) {
    await this.fill(values);
    await this.press(`${form}-submit`);
    await this.at(`${form}-submit`).waitFor({ state: 'detached' });
  }

  /** Fills the form of this name and has its plan shown; what the plan says. Nothing is started. */
  async plan(form, values = {}) {
    await this.fill(values);
    await this.press(`${form}-plan`);
    const told = this.page.locator('dialog[open] [role="status"] [data-test="plan"]');
    await told.waitFor();
    return told.textContent();
  }

  /** Logs in with a token, that of the state folder unless another is meant. */
  async byToken(token = this.settings.token) {
    const form = this.at('login-by-token');
    await form.waitFor();
    if (!(await form.evaluate((one) => one.open))) await form.locator('summary').click();
    await this.fill({ token });
    await this.press('login-token-submit');
  }

  /** Waits for the newest note since the last look, and says what it says. It may be gone from the page again. */
  async note(tone = 'good') {
    const newest = (name) => globalThis.notesSeen.findLast((one) => one.name === name)?.text;
    const text = await this.until(`a note (${tone})`, () => this.page.evaluate(newest, `note-${tone}`));
    await this.page.evaluate(() => {
      globalThis.notesSeen = [];
      document.querySelectorAll('.note').forEach((one) => one.remove());
    });
    return text;
  }

  async request(method, to, body) {
    const response = await fetch(`${this.settings.url}/api/v1${to}`, {
      method,
      headers: { Authorization: `Bearer ${this.settings.token}`, 'Content-Type': 'application/json' },
      body: body && JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${to}: ${response.status} ${text}`);
    return JSON.parse(text);
  }

  get(to) {
    return this.request('GET', to);
  }

  /** What is asked of the server, by its path, from now until the answer is called. */
  listen() {
    const asked = [];
    const hear = (request) => asked.push(new URL(request.url()).pathname.replace('/api/v1', ''));
    this.page.on('request', hear);
    return () => {
      this.page.off('request', hear);
      return asked;
    };
  }

  /** The page's next request with this in its address fails, as without a network; the answer tells whether it
   *  has. */
  async cut(part) {
    await this.page.evaluate((wanted) => {
      const ask = globalThis.fetch;
      globalThis.wasCut = false;
      globalThis.fetch = (to, options) => {
        if (!to.includes(wanted)) return ask(to, options);
        globalThis.fetch = ask;
        globalThis.wasCut = true;
        return Promise.reject(new TypeError('cut off by the test'));
      };
    }, part);
    return () => this.page.evaluate(() => globalThis.wasCut);
  }

  /** Asks the API until it is as it should be. */
  async until(what, ask) {
    const end = Date.now() + PATIENCE_MS;
    for (;;) {
      const found = await ask();
      if (found) return found;
      if (Date.now() > end) throw new Error(`in vain: ${what}`);
      await pause(100);
    }
  }

  /** The page that is there, in each window: it fits, nothing is wrong with it for who cannot see or point, and a
   *  picture is kept. */
  async lookAt(name) {
    for (const [width, height, scheme, axe] of WINDOWS) {
      await this.window(width, height, scheme);
      await this.page.screenshot({
        path: path.join(this.settings.out, `${name.replaceAll('/', '-')}-${width}-${scheme}.png`),
        fullPage: true,
      });
      const over = await this.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (over > 0) this.faults.push(`${name} is ${over} pixels wider than ${width}`);
      if (!axe) continue;
      for (const found of await this.violations())
        this.faults.push(`${name} at ${width}, ${scheme}: ${found}`);
    }
    await this.window();
  }

  /** The size of the window and its colours; the first of all windows unless another is meant. */
  async window(width = WINDOWS[0][0], height = WINDOWS[0][1], colorScheme = WINDOWS[0][2]) {
    await this.page.setViewportSize({ width, height });
    await this.page.emulateMedia({ colorScheme });
  }

  /** The dialog that is open, before it is closed for the first time: the same for it. */
  async lookAtDialog() {
    const dialog = this.page.locator('dialog[open]').last();
    if ((await dialog.count()) === 0) return;
    const name = await dialog.getAttribute('data-test');
    if (this.dialogs.has(name)) return;
    this.dialogs.add(name);
    for (const found of await this.violations('dialog[open]')) this.faults.push(`dialog ${name}: ${found}`);
    await this.window(...NARROWEST);
    const over = await dialog.evaluate((one) =>
      Math.max(one.scrollWidth - one.clientWidth, one.getBoundingClientRect().right - innerWidth),
    );
    if (over > 0) this.faults.push(`dialog ${name} is ${over} pixels too wide for a window of ${NARROWEST[0]}`);
    await this.window();
  }

  /** What axe finds wrong, in all of the page or in a part of it. */
  async violations(within = null) {
    if (!(await this.page.evaluate(() => 'axe' in globalThis))) await this.page.evaluate(this.axe);
    const found = await this.page.evaluate(
      (part) => globalThis.axe.run(part ?? document, { resultTypes: ['violations'] }),
      within,
    );
    return found.violations.map(
      (one) =>
        `${one.id}: ${one.help}\n    ${one.nodes
          .slice(0, 4)
          .map((node) => `${node.html.slice(0, 160)} ${node.failureSummary}`)
          .join('\n    ')}`,
    );
  }

  /** What was on the pages so far, what of it was used, and buttons without a name. */
  async buttons() {
    const [seen, pressed, nameless] = await this.page.evaluate(() =>
      ['test.seen', 'test.pressed', 'test.nameless'].map((list) =>
        JSON.parse(sessionStorage.getItem(list) ?? '[]'),
      ),
    );
    return { seen, pressed, nameless };
  }
}

/** What a page calls so many bytes. */
export const UNITS = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

/** So many bytes, as pages tell them. */
export function size(bytes) {
  const [unit, of] = Object.entries(UNITS).findLast(([, one]) => bytes >= one);
  const digits = unit === 'B' || bytes >= 100 * of ? 0 : 1;
  return `${(bytes / of).toFixed(digits)} ${unit}`;
}

/** A tab goes out of sight, or is looked at again. */
export const look = (tab, seen) =>
  tab.evaluate((is) => {
    const hidden = { get: () => 'hidden', configurable: true };
    if (is) delete document.visibilityState;
    else Object.defineProperty(document, 'visibilityState', hidden);
    document.dispatchEvent(new Event('visibilitychange'));
  }, seen);

export const pause = (ms) => new Promise((then) => setTimeout(then, ms));

export function equal(found, wanted, what) {
  if (JSON.stringify(found) !== JSON.stringify(wanted))
    throw new Error(`${what}: ${JSON.stringify(found)} and not ${JSON.stringify(wanted)}`);
}

export function has(text, part, what) {
  if (!text?.includes(part)) throw new Error(`${what}: "${text}" has no "${part}"`);
}

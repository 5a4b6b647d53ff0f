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

/** Runs in the page: remembers over reloads which buttons there were and which were pressed; and all notes. */
function rememberButtons() {
  const keep = (list, name) => {
    const known = new Set(JSON.parse(sessionStorage.getItem(list) ?? '[]'));
    if (!known.has(name)) sessionStorage.setItem(list, JSON.stringify([...known.add(name)]));
  };
  globalThis.notesSeen = [];
  const look = (changes) => {
    document.querySelectorAll('button[data-test]').forEach((one) => keep('test.seen', one.dataset.test));
    const added = changes.flatMap((change) => [...change.addedNodes]);
    for (const one of added.filter((node) => node.classList?.contains('note')))
      globalThis.notesSeen.push({ name: one.dataset.test, text: one.textContent });
  };
  new MutationObserver(look).observe(document, { childList: true, subtree: true });
  document.addEventListener(
    'click',
    (event) => {
      const name = event.target.closest('[data-test]')?.dataset.test;
      if (name) keep('test.pressed', name);
    },
    true,
  );
}

export class Browser {
  constructor(settings) {
    this.settings = settings;
    this.faults = [];
    // Nobody is logged in yet, or the credentials are wrong.
    this.expected = [/401.*\/api\/v1\/session/];
  }

  async start() {
    const require = createRequire(path.join(this.settings.tools, 'package.json'));
    const { chromium } = require('playwright-core');
    this.axe = require('axe-core').source;
    this.chromium = await chromium.launch({ executablePath: this.settings.chromium, args: ARGUMENTS });
    await this.open(1920, 1080, 'light');
    return this;
  }

  /** A window; the session of the one before is taken along. */
  async open(width, height, scheme) {
    const state = this.context && {
      cookies: await this.context.cookies(),
      stored: await this.page.evaluate(() => ({ ...sessionStorage })),
    };
    await this.context?.close();
    this.context = await this.chromium.newContext({
      viewport: { width, height },
      colorScheme: scheme,
      reducedMotion: 'reduce',
    });
    if (state) await this.context.addCookies(state.cookies);
    await this.context.addInitScript(rememberButtons);
    if (state)
      await this.context.addInitScript((stored) => {
        if (sessionStorage.getItem('test.taken')) return;
        Object.entries({ ...stored, 'test.taken': 'yes' }).forEach(([name, value]) =>
          sessionStorage.setItem(name, value),
        );
      }, state.stored);
    this.page = await this.context.newPage();
    this.page.setDefaultTimeout(PATIENCE_MS);
    this.watch();
  }

  watch() {
    const own = new URL(this.settings.url).origin;
    this.page.on('pageerror', (error) => this.faults.push(`error in a page: ${error.stack}`));
    this.page.on('console', (message) => {
      if (message.type() !== 'error' && message.type() !== 'warning') return;
      const text = `${message.text()} (${message.location().url})`;
      if (!this.expected.some((pattern) => pattern.test(text))) this.faults.push(`on the console: ${text}`);
    });
    this.page.on('request', (request) => {
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

  /** Asks the API until it is as it should be. */
  async until(what, ask) {
    const end = Date.now() + PATIENCE_MS;
    for (;;) {
      const found = await ask();
      if (found) return found;
      if (Date.now() > end) throw new Error(`in vain: ${what}`);
      await new Promise((then) => setTimeout(then, 100));
    }
  }

  /** What axe finds wrong. */
  async violations() {
    await this.page.evaluate(this.axe);
    const found = await this.page.evaluate(() =>
      globalThis.axe.run(document, { resultTypes: ['violations'] }),
    );
    return found.violations.map(
      (one) =>
        `${one.id}: ${one.help}\n    ${one.nodes
          .slice(0, 4)
          .map((node) => `${node.html.slice(0, 160)} ${node.failureSummary}`)
          .join('\n    ')}`,
    );
  }

  async buttons() {
    return this.page.evaluate(() =>
      ['test.seen', 'test.pressed'].map((list) => JSON.parse(sessionStorage.getItem(list) ?? '[]')),
    );
  }
}

export function equal(found, wanted, what) {
  if (JSON.stringify(found) !== JSON.stringify(wanted))
    throw new Error(`${what}: ${JSON.stringify(found)} and not ${JSON.stringify(wanted)}`);
}

export function has(text, part, what) {
  if (!text?.includes(part)) throw new Error(`${what}: "${text}" has no "${part}"`);
}

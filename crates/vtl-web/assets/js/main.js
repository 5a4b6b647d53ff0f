// Start: theme, session, and then the page that the address names.

import { h, render } from './dom.js';
import * as api from './api.js';
import * as live from './live.js';
import * as session from './session.js';
import * as theme from './theme.js';
import { logInPage, setUpPage } from './pages/login.js';
import { Page } from './page.js';
import { PAGES, isFor } from './pages.js';
import { shell } from './shell.js';
import { t } from './text.js';
import { notes } from './ui.js';

/** How often the server is asked how it is. */
const STATUS_SECONDS = 15;

const app = document.getElementById('app');
const main = h('main', { id: 'main', key: 'main', keep: true });
const around = { here: '', status: null, open: false };
let page = null;
/** How often somebody has gone somewhere. */
let turns = 0;
let setup = /^#setup=(.+)$/.exec(location.hash)?.[1] ?? null;

function show() {
  if (setup)
    return render(
      app,
      setUpPage(setup, () => {
        setup = null;
        location.hash = '#/library';
      }),
      notes(),
    );
  if (!session.current) return render(app, logInPage(), notes());
  render(
    app,
    shell(
      around,
      () => {
        around.open = !around.open;
        show();
      },
      main,
    ),
    notes(),
  );
}

/** `#/cartridges/VTL001L8?x=1` → name, parameters, query. */
function address() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  const [name, ...params] = path.split('/').map(decoded);
  const found = PAGES.find((one) => one.name === name && isFor(one));
  return { kind: found ?? PAGES[0], params: found ? params : [], query: new URLSearchParams(query ?? '') };
}

/** What nobody has encoded is taken as it is. */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

async function go({ focus = true } = {}) {
  page?.end();
  page = null;
  delete main.dataset.address;
  if (!session.current || setup) return show();
  const here = location.hash;
  const { kind, params, query } = address();
  Object.assign(around, { here: kind.name, open: false });
  document.title = t('shell.document', { page: t(`${kind.name}.title`) });
  show();
  turns += 1;
  const turn = turns;
  const module = await kind.module();
  // Somebody has gone on meanwhile.
  if (turn !== turns) return;
  const made = new Page(module.default(params), main, params, query);
  page = made;
  await made.start();
  if (page !== made) return;
  // Whoever waits for the page finds here that it is whole.
  main.dataset.address = here;
  window.scrollTo(0, 0);
  if (focus) main.querySelector('h1')?.focus({ preventScroll: true });
}

async function lookAtStatus() {
  if (!session.current) return;
  try {
    around.status = await api.get('/system/status');
  } catch {
    around.status = null;
  }
  show();
}

theme.apply();
theme.onChange(show);
await session.resume();
session.onChange(() => {
  go();
  lookAtStatus();
});
window.addEventListener('hashchange', () => go());
live.every(STATUS_SECONDS, lookAtStatus);
live.on(['job', 'alert'], lookAtStatus);
await go({ focus: false });
await lookAtStatus();

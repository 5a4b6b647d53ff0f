// What stands around a page: where one can go, how the server is, who is logged in, light or dark.

import { h } from './dom.js';
import { icon } from './icons.js';
import { t } from './text.js';
import { button, signButton } from './ui.js';
import { PAGES, isFor } from './pages.js';
import * as session from './session.js';
import * as theme from './theme.js';

/** `here`: the page; `problems`: how many there are; `open`: whether the menu is, on a small screen. */
export function shell({ here, status, open }, toggle, main) {
  const problems = status?.problems.length ?? 0;
  return [
    h(
      'a',
      {
        class: 'skip',
        href: '#main',
        test: 'skip',
        onclick: (event) => {
          event.preventDefault();
          document.querySelector('main h1')?.focus();
        },
      },
      t('shell.skip'),
    ),
    h(
      'header',
      { class: 'top' },
      signButton(t('shell.menu'), open ? 'close' : 'menu', toggle, {
        test: 'menu',
        class: 'button sign only-small',
        'aria-expanded': String(open),
        'aria-controls': 'nav',
      }),
      h(
        'a',
        { class: 'brand', href: '#/library', 'aria-label': t('shell.home'), test: 'brand' },
        mark(),
        h('span', {}, 'vtl'),
      ),
      h(
        'a',
        { class: `health ${problems ? 'bad' : 'good'}`, href: '#/alerts', test: 'health' },
        h('span', { class: 'lamp' }),
        h('span', {}, health(status, problems)),
      ),
      h('span', { class: 'spring' }),
      themeButton(),
      h('span', { class: 'who', test: 'who' }, session.current?.name ?? session.current?.user),
      button(t('shell.log_out'), session.logOut, { test: 'log-out', sign: 'out', kind: 'plain quiet' }),
    ),
    h(
      'nav',
      { id: 'nav', class: open ? 'nav open' : 'nav', 'aria-label': t('shell.pages') },
      h(
        'ul',
        {},
        PAGES.filter(isFor).map((page) => h('li', { key: page.name }, link(page, here, problems))),
      ),
      h('p', { class: 'version muted' }, status && t('shell.version', { version: status.version })),
    ),
    main,
  ];
}

function link(page, here, problems) {
  const number =
    page.name === 'alerts' && problems > 0 && h('span', { class: 'nav-number' }, String(problems));
  return h(
    'a',
    { href: `#/${page.name}`, test: `nav-${page.name}`, 'aria-current': page.name === here ? 'page' : null },
    icon(page.icon),
    h('span', {}, t(`${page.name}.title`)),
    number,
  );
}

function health(status, problems) {
  if (!status) return t('shell.no_status');
  return problems === 0 ? t('shell.healthy') : t('shell.problems', { n: problems });
}

/** One button goes round: as the system, light, dark. */
function themeButton() {
  const now = theme.current();
  const signs = { auto: 'auto', light: 'sun', dark: 'moon' };
  return signButton(t('shell.theme', { now: t(`shell.theme_${now}`) }), signs[now], theme.next, {
    test: 'theme',
  });
}

export function mark() {
  return h('span', { class: 'mark', 'aria-hidden': 'true' }, icon('cartridge'));
}

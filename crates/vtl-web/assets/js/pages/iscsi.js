// iSCSI: where the server listens, what it offers, who may log in, who is.

import * as api from '../api.js';
import * as live from '../live.js';
import { h } from '../dom.js';
import { ask, confirm } from '../forms.js';
import { ago, integer } from '../format.js';
import { t, word } from '../text.js';
import { badge, button, note, pageHead, table } from '../ui.js';

async function load() {
  const [targets, sessions, portals] = await Promise.all([
    api.get('/iscsi/targets'),
    api.get('/iscsi/sessions'),
    api.get('/iscsi/portals'),
  ]);
  return { targets, sessions, portals };
}

const iqn = (name) => h('code', { class: 'iqn' }, name);
/** The name by which the API has the doors of a target: its library, or the diagnostic disk. */
const door = (target) => target.library ?? 'diag';

function view({ targets, sessions, portals }) {
  const box = (title, test, columns, rows, key, empty) =>
    h(
      'section',
      { class: 'panel flush' },
      h('header', { class: 'panel-head pad' }, h('h2', {}, title)),
      table(title, columns, rows, key, { test, empty }),
    );
  return [
    pageHead(
      t('iscsi.title'),
      t('iscsi.about'),
      button(t('iscsi.add_portal'), askPortal, { test: 'add-portal', sign: 'plus', kind: 'primary' }),
    ),
    box(t('iscsi.targets'), 'targets', TARGETS, targets, (one) => one.name, t('none')),
    box(t('iscsi.sessions'), 'sessions', SESSIONS, sessions, (one) => one.tsih, t('iscsi.no_sessions')),
    box(t('iscsi.portals'), 'portals', PORTALS, portals, (one) => one.address, t('none')),
  ];
}

const TARGETS = [
  { name: t('iscsi.target'), show: (one) => iqn(one.name) },
  { name: t('cartridge.library'), show: (one) => one.library ?? t('iscsi.disk') },
  { name: t('iscsi.luns'), show: (one) => one.luns.join(', ') },
  {
    name: t('iscsi.chap'),
    show: (one) => (one.chap_user ? badge('ok', one.chap_user) : badge('limited', t('iscsi.no_chap'))),
  },
  {
    name: t('iscsi.initiators'),
    show: (one) =>
      one.initiators === null
        ? t('iscsi.anybody')
        : h(
            'ul',
            {},
            one.initiators.map((name) =>
              h(
                'li',
                { key: name },
                iqn(name),
                ' ',
                button(t('iscsi.take_off'), () => removeInitiator(one, name), {
                  test: 'initiator-remove',
                  kind: 'danger quiet',
                }),
              ),
            ),
          ),
  },
  {
    name: t('actions'),
    show: (one) =>
      h(
        'div',
        { class: 'actions' },
        button(t('iscsi.set_chap'), () => askChap(one), { test: 'set-chap' }),
        one.chap_user &&
          button(t('iscsi.clear_chap'), () => clearChap(one), { test: 'clear-chap', kind: 'danger quiet' }),
        button(t('iscsi.allow'), () => askInitiator(one), { test: 'add-initiator' }),
      ),
  },
];

const SESSIONS = [
  { name: t('drive.initiator'), show: (one) => iqn(one.initiator) },
  { name: t('iscsi.target'), show: (one) => (one.target ? iqn(one.target) : t('iscsi.discovery')) },
  { name: t('iscsi.peer'), show: (one) => h('code', {}, one.peer) },
  { name: t('iscsi.since'), show: (one) => ago(one.since) },
  { name: t('iscsi.tsih'), number: true, show: (one) => integer(one.tsih) },
];

const PORTALS = [
  { name: t('iscsi.address'), show: (one) => h('code', {}, one.address) },
  { name: t('iscsi.origin'), show: (one) => word('portal_origin', one.origin) },
  {
    name: t('actions'),
    show: (one) =>
      one.origin === 'added' &&
      button(t('iscsi.remove_portal'), () => removePortal(one), {
        test: 'portal-remove',
        kind: 'danger quiet',
      }),
  },
];

async function changed(asked) {
  note((await asked).message);
  live.tell('move');
}

function askPortal() {
  return ask(
    t('iscsi.add_portal'),
    [{ name: 'address', label: t('iscsi.address'), required: true, placeholder: '192.0.2.10:3260' }],
    (values) => changed(api.post('/iscsi/portals', values)),
    { before: h('p', {}, t('iscsi.portal_about')), label: t('iscsi.add_portal'), test: 'add-portal-form' },
  );
}

function removePortal(one) {
  return confirm(
    t('iscsi.remove_portal_title', { address: one.address }),
    t('iscsi.remove_portal_about'),
    t('iscsi.remove_portal'),
    {
      danger: true,
      test: 'confirm-remove-portal',
      act: () => changed(api.remove(api.path(['iscsi', 'portals', one.address]))),
    },
  );
}

function askChap(one) {
  const secret = (name, label, more) => ({
    name,
    type: 'password',
    label,
    autocomplete: 'new-password',
    ...more,
  });
  return ask(
    t('iscsi.chap_of', { name: door(one) }),
    [
      { name: 'user', label: t('iscsi.chap_user'), required: true, value: one.chap_user ?? '' },
      secret('secret', t('iscsi.chap_secret'), { required: true, hint: t('iscsi.chap_hint') }),
      { name: 'mutual_user', label: t('iscsi.mutual_user') },
      secret('mutual_secret', t('iscsi.mutual_secret')),
    ],
    (values) => changed(api.put(api.path(['iscsi', 'targets', door(one), 'chap']), values)),
    { label: t('iscsi.set_chap'), test: 'chap-form' },
  );
}

function clearChap(one) {
  return confirm(
    t('iscsi.clear_chap_title', { name: door(one) }),
    t('iscsi.clear_chap_about'),
    t('iscsi.clear_chap'),
    {
      danger: true,
      test: 'confirm-clear-chap',
      act: () => changed(api.remove(api.path(['iscsi', 'targets', door(one), 'chap']))),
    },
  );
}

function askInitiator(one) {
  return ask(
    t('iscsi.allow_on', { name: door(one) }),
    [
      {
        name: 'initiator',
        label: t('drive.initiator'),
        required: true,
        placeholder: 'iqn.2004-10.com.example:host1',
      },
    ],
    (values) => changed(api.post(api.path(['iscsi', 'targets', door(one), 'initiators']), values)),
    { before: h('p', {}, t('iscsi.allow_about')), label: t('iscsi.allow'), test: 'initiator-form' },
  );
}

function removeInitiator(one, name) {
  return confirm(t('iscsi.take_off_title', { name }), t('iscsi.take_off_about'), t('iscsi.take_off'), {
    danger: true,
    test: 'confirm-remove-initiator',
    act: () => changed(api.remove(api.path(['iscsi', 'targets', door(one), 'initiators', name]))),
  });
}

export default () => ({ load, view, events: ['move'], every: 5 });

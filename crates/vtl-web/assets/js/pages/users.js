// Users, who is logged in, tokens, and requests that wait for a second person.

import * as api from '../api.js';
import { h } from '../dom.js';
import { ask, confirm, dialog } from '../forms.js';
import { shortTime } from '../format.js';
import { t, word } from '../text.js';
import { badge, button, note, pageHead, table } from '../ui.js';
import * as session from '../session.js';

/** Who logs in with the token of the state folder. It is no user, and has no password. */
const ROOT = 'root';
const ROLES = ['viewer', 'operator', 'administrator', 'security-officer'];

/** Each list is asked for by who may see it. */
async function load() {
  const list = (permission, from) => (session.may(permission) ? api.get(from) : null);
  const [users, sessions, tokens, approvals] = await Promise.all([
    list('manage-users', '/users'),
    list('manage-users', '/sessions'),
    api.get('/tokens'),
    list('read-audit', '/approvals'),
  ]);
  return { users, people: sessions && peopleOf(sessions), tokens, approvals };
}

/** Who is logged in, however many browsers that one has. */
function peopleOf(sessions) {
  const of = new Map();
  for (const one of sessions) of.set(one.user, [...(of.get(one.user) ?? []), one]);
  return [...of].map(([user, all]) => ({
    user,
    name: all[0].name,
    roles: [...new Set(all.flatMap((one) => one.roles))],
    from: [...new Set(all.map((one) => one.from))],
    since: all[0].since,
    last_used: all.map((one) => one.last_used).sort().at(-1),
  }));
}

function view({ users, people, tokens, approvals }, page) {
  const after = async (asked) => {
    const done = await asked;
    await page.refresh();
    return done;
  };
  const box = (title, test, columns, rows, key, empty) =>
    rows &&
    h(
      'section',
      { class: 'panel flush', key: test },
      h('header', { class: 'panel-head pad' }, h('h2', {}, title)),
      table(title, columns, rows, key, { test, empty }),
    );
  return [
    pageHead(
      t('users.title'),
      t('users.about'),
      button(t('users.add'), () => after(askUser()), {
        test: 'add-user',
        sign: 'plus',
        kind: 'primary',
      }),
      session.current.user !== ROOT &&
        !session.isByProvider() &&
        button(t('users.own_password'), () => askPassword(session.current.user, true), {
          test: 'own-password',
        }),
      !session.isByProvider() &&
        button(t('users.new_token'), () => after(askToken()), { test: 'new-token' }),
    ),
    box(t('users.title'), 'users', USERS(after), users, (one) => one.name, t('users.none')),
    box(t('users.logged_in'), 'people', PEOPLE(after), people, (one) => one.user, t('iscsi.no_sessions')),
    box(t('users.tokens'), 'tokens', TOKENS(after), tokens, (one) => one.id, t('users.no_tokens')),
    box(
      t('users.approvals'),
      'approvals',
      APPROVALS(after),
      approvals,
      (one) => one.id,
      t('users.no_approvals'),
    ),
  ];
}

const roles = (all) => all.map((role) => h('span', { class: 'chip', key: role }, word('role', role)));

const USERS = (after) => [
  { name: t('login.user'), show: (one) => one.name },
  { name: t('users.roles'), show: (one) => roles(one.roles) },
  {
    name: t('job.state'),
    show: (one) => (one.locked ? badge('failed', t('users.locked')) : badge('ok', t('users.active'))),
  },
  { name: t('users.origin'), show: (one) => word('user_origin', one.origin) },
  { name: t('cartridge.created'), show: (one) => shortTime(one.created) },
  {
    name: t('actions'),
    show: (one) =>
      h(
        'div',
        { class: 'actions' },
        button(t('users.set_roles'), () => after(askRoles(one)), { test: 'user-roles' }),
        one.origin === 'local' &&
          button(t('users.set_password'), () => askPassword(one.name, one.name === session.current.user), {
            test: 'user-password',
          }),
        button(
          one.locked ? t('users.unlock') : t('users.lock'),
          () => after(api.patch(api.path(['users', one.name]), { locked: !one.locked })),
          { test: 'user-lock' },
        ),
        button(t('users.remove'), () => after(removeUser(one)), {
          test: 'user-remove',
          kind: 'danger quiet',
        }),
      ),
  },
];

const PEOPLE = (after) => [
  {
    name: t('login.user'),
    show: (one) => (one.name ? [one.name, h('span', { class: 'muted line hash' }, one.user)] : one.user),
  },
  { name: t('users.roles'), show: (one) => roles(one.roles) },
  { name: t('iscsi.peer'), show: (one) => one.from.join(', ') },
  { name: t('iscsi.since'), show: (one) => shortTime(one.since) },
  { name: t('users.last_used'), show: (one) => shortTime(one.last_used) },
  {
    name: t('actions'),
    show: (one) =>
      button(t('users.end_sessions'), () => after(endSessions(one)), {
        test: 'user-end-sessions',
        kind: 'danger quiet',
      }),
  },
];

const TOKENS = (after) => [
  { name: t('users.token_name'), show: (one) => one.name },
  { name: t('login.user'), show: (one) => one.user },
  { name: t('users.roles'), show: (one) => roles(one.roles) },
  { name: t('cartridge.created'), show: (one) => shortTime(one.created) },
  { name: t('users.expires'), show: (one) => shortTime(one.expires) },
  {
    name: t('actions'),
    show: (one) =>
      button(t('users.revoke'), () => after(revoke(one)), { test: 'token-revoke', kind: 'danger quiet' }),
  },
];

const APPROVALS = (after) => [
  {
    name: t('users.request'),
    show: (one) => [
      h('code', {}, `${one.method} ${one.path}`),
      h('code', { class: 'line hash whole' }, JSON.stringify(one.body)),
    ],
  },
  {
    name: t('job.state'),
    show: (one) => badge(one.state === 'pending' ? 'waiting' : one.state, word('approval_state', one.state)),
  },
  {
    name: t('users.asked_by'),
    show: (one) => [one.asked_by, h('span', { class: 'muted line' }, shortTime(one.asked))],
  },
  { name: t('users.expires'), show: (one) => shortTime(one.expires) },
  {
    name: t('actions'),
    show: (one) =>
      one.state === 'pending' &&
      h(
        'div',
        { class: 'actions' },
        button(t('users.approve'), () => after(decide(one, 'approve')), { test: 'approve' }),
        button(t('users.refuse'), () => after(decide(one, 'refuse')), {
          test: 'refuse',
          kind: 'danger quiet',
        }),
      ),
  },
];

async function decide(one, what) {
  await api.post(api.path(['approvals', one.id, what]));
  note(t(`users.did_${what}`));
}

const roleFields = (held = []) =>
  ROLES.map((role) => ({
    name: role,
    type: 'checkbox',
    label: t(`role.${role}`),
    hint: t(`role_hint.${role}`),
    value: held.includes(role),
  }));
const chosen = (values) => ROLES.filter((role) => values[role]);

function askUser() {
  return ask(
    t('users.add'),
    [
      { name: 'name', label: t('login.user'), required: true },
      {
        name: 'password',
        type: 'password',
        label: t('login.password'),
        required: true,
        autocomplete: 'new-password',
        hint: t('setup.password_hint'),
      },
      ...roleFields(),
    ],
    async (values) => {
      await api.post('/users', { name: values.name, password: values.password, roles: chosen(values) });
      note(t('users.added', { name: values.name }));
    },
    { label: t('users.add'), test: 'add-user-form' },
  );
}

function askRoles(one) {
  return ask(
    t('users.roles_of', { name: one.name }),
    roleFields(one.roles),
    async (values) => {
      await api.patch(api.path(['users', one.name]), { roles: chosen(values) });
      note(t('users.roles_set', { name: one.name }));
    },
    { test: 'roles-form' },
  );
}

function askPassword(name, own) {
  return ask(
    t('users.password_of', { name }),
    [
      ...(own
        ? [
            {
              name: 'current',
              type: 'password',
              label: t('users.current'),
              required: true,
              autocomplete: 'current-password',
            },
          ]
        : []),
      {
        name: 'password',
        type: 'password',
        label: t('users.new_password'),
        required: true,
        autocomplete: 'new-password',
        hint: t('setup.password_hint'),
      },
    ],
    async (values) => {
      await api.put(api.path(['users', name, 'password']), values);
      note(t('users.password_set', { name }));
      if (own) session.ended();
    },
    { test: 'password-form' },
  );
}

function removeUser(one) {
  return confirm(t('users.remove_title', { name: one.name }), t('users.remove_about'), t('users.remove'), {
    danger: true,
    test: 'confirm-remove-user',
    act: async () => {
      await api.remove(api.path(['users', one.name]));
      note(t('users.removed', { name: one.name }));
    },
  });
}

function endSessions({ user, name }) {
  const title = t('users.end_title', { name: name ?? user });
  return confirm(title, t('users.end_about'), t('users.end_sessions'), {
    danger: true,
    test: 'confirm-end-sessions',
    act: async () => note((await api.remove('/sessions', { user })).message),
  });
}

/** The secret is shown once, and nowhere kept. */
async function askToken() {
  const made = await ask(
    t('users.new_token'),
    [
      { name: 'name', label: t('users.token_name'), required: true },
      {
        name: 'role',
        type: 'select',
        label: t('users.role'),
        options: [['', t('users.own_roles')], ...ROLES.map((role) => [role, t(`role.${role}`)])],
      },
      {
        name: 'expires',
        label: t('users.expires'),
        placeholder: '2027-01-31T00:00:00Z',
        hint: t('users.expires_hint'),
      },
    ],
    (values) => api.post('/tokens', values),
    { label: t('users.new_token'), test: 'token-form' },
  );
  if (made)
    await dialog(
      t('users.token_made'),
      () => [
        h('p', {}, t('users.token_once')),
        h('pre', { tabindex: '0', test: 'token-secret' }, made.token),
      ],
      { test: 'token-made' },
    );
}

function revoke(one) {
  return confirm(t('users.revoke_title', { name: one.name }), t('users.revoke_about'), t('users.revoke'), {
    danger: true,
    test: 'confirm-revoke',
    act: async () => {
      await api.remove(api.path(['tokens', one.id]));
      note(t('users.revoked', { name: one.name }));
    },
  });
}

export default () => ({ load, view, every: 15 });

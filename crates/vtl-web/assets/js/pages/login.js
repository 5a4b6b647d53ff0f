// How somebody gets in: by name and password, by a provider of identities, by a token, or as the first administrator of a new server.

import { h } from '../dom.js';
import { form } from '../forms.js';
import { mark } from '../shell.js';
import { t } from '../text.js';
import { button } from '../ui.js';
import * as session from '../session.js';

function gate(title, about, ...content) {
  return h(
    'main',
    { class: 'gate', key: title },
    h(
      'div',
      { class: 'gate-box' },
      h('div', { class: 'gate-brand' }, mark(), h('span', {}, 'vtl')),
      h('h1', {}, title),
      h('p', { class: 'muted' }, about),
      ...content,
    ),
  );
}

const USER = { name: 'user', label: t('login.user'), required: true, autocomplete: 'username' };

let byToken;
let byPassword;

export function logInPage() {
  byPassword ??= form(
    [
      USER,
      {
        name: 'password',
        type: 'password',
        label: t('login.password'),
        required: true,
        autocomplete: 'current-password',
      },
    ],
    (values) => session.logIn(values),
    { label: t('login.go'), test: 'login' },
  );
  byToken ??= form(
    [
      {
        name: 'token',
        type: 'password',
        label: t('login.token'),
        required: true,
        hint: t('login.token_hint'),
      },
    ],
    (values) => session.logIn(values),
    { label: t('login.go_token'), test: 'login-token' },
  );
  return gate(
    t('login.title'),
    t('login.about'),
    byPassword,
    session.provider &&
      button(t('login.by_oidc', { name: session.provider }), session.logInElsewhere, { test: 'login-oidc' }),
    h('details', { test: 'login-by-token' }, h('summary', {}, t('login.by_token')), byToken),
  );
}

let firstForm;

export function setUpPage(token, done) {
  firstForm ??= form(
    [
      USER,
      {
        name: 'password',
        type: 'password',
        label: t('login.password'),
        required: true,
        autocomplete: 'new-password',
        hint: t('setup.password_hint'),
      },
      {
        name: 'again',
        type: 'password',
        label: t('setup.again'),
        required: true,
        autocomplete: 'new-password',
      },
    ],
    async ({ user, password, again }) => {
      if (password !== again)
        throw Object.assign(new Error(t('setup.differ')), { status: 0, field: 'again' });
      await session.setUp(token, user, password);
      done();
    },
    { label: t('setup.go'), test: 'setup' },
  );
  return gate(t('setup.title'), t('setup.about'), firstForm);
}

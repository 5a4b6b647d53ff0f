// Who is logged in, and what they may do.

import * as api from './api.js';
import * as live from './live.js';

const TOKEN_KEY = 'vtl.token';

/** None while nobody is logged in: `{user, roles, permissions, expires}`. */
export let current = null;

const changed = new Set();

/** Calls `then` when somebody has logged in or is out. */
export function onChange(then) {
  changed.add(then);
}

function set(session) {
  current = session;
  api.identity.csrf = session?.csrf ?? null;
  api.identity.until?.abort();
  api.identity.until = session && new AbortController();
  if (!session) live.stop();
  else if (api.identity.token) live.startPoll();
  else live.start();
  for (const then of changed) then(session);
}

/** Whether a permission is held; where the server tells none, it decides by itself. */
export function may(permission) {
  return !current?.permissions || current.permissions.includes(permission);
}

/** Takes up the session of this browser, if there is one. */
export async function resume() {
  api.identity.lost = () => current && set(null);
  api.identity.token = sessionStorage.getItem(TOKEN_KEY);
  try {
    set(api.identity.token ? await byToken() : await api.get('/session'));
  } catch (refusal) {
    if (!(refusal instanceof api.Refusal)) throw refusal;
    forget();
  }
}

/** Logs in with `{user, password}` or `{token}`. */
export async function logIn(credentials) {
  try {
    set(await api.post('/session', credentials));
  } catch (refusal) {
    // A server without sessions takes its token with each request.
    if (![401, 404].includes(refusal.status) || !credentials.token) throw refusal;
    api.identity.token = credentials.token;
    set(
      await byToken().catch((failed) => {
        api.identity.token = null;
        throw failed;
      }),
    );
    sessionStorage.setItem(TOKEN_KEY, credentials.token);
  }
}

async function byToken() {
  await api.get('/system/status');
  return { user: 'api.token', roles: [], permissions: null };
}

/** Makes the first administrator, and logs in. */
export async function setUp(token, user, password) {
  await api.post('/setup', { token, user, password });
  await logIn({ user, password });
}

/** Ends the session here and on the server. */
export async function logOut() {
  if (!api.identity.token) await api.remove('/session').catch(() => {});
  forget();
}

function forget() {
  sessionStorage.removeItem(TOKEN_KEY);
  api.identity.token = null;
  set(null);
}

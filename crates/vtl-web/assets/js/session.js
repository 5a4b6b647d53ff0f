// Who is logged in, and what they may do. The session is a cookie that no script can read; its token for changes is kept in memory only.

import * as api from './api.js';
import * as live from './live.js';

/** None while nobody is logged in: `{user, name, roles, permissions, expires, csrf}`. */
export let current = null;

/** What the provider is called by which people log in, too; none: there is none. */
export let provider = null;

/** Before issuer and subject of whoever has logged in by the provider. */
const BY_PROVIDER = 'oidc:';

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
  if (session) live.start();
  else live.stop();
  for (const then of changed) then(session);
}

/** Whether a permission is held. */
export function may(permission) {
  return current?.permissions.includes(permission) ?? false;
}

/** Whether somebody is logged in who has no password and no tokens here. */
export const isByProvider = () => current?.user.startsWith(BY_PROVIDER) ?? false;

/** Takes up the session of this browser, if there is one. */
export async function resume() {
  api.identity.lost = () => current && set(null);
  provider = await api.get('/session/oidc').then(
    ({ name }) => name ?? null,
    () => null,
  );
  try {
    set(await api.get('/session'));
  } catch (refusal) {
    if (!(refusal instanceof api.Refusal)) throw refusal;
    set(null);
  }
}

/** Logs in with `{user, password}` or `{token}`. */
export async function logIn(credentials) {
  set(await api.post('/session', credentials));
}

/** Goes to the provider, which sends the browser back with a session. */
export async function logInElsewhere() {
  const { address } = await api.post('/session/oidc');
  location.assign(address);
}

/** Makes the first user, who is logged in then. */
export async function setUp(token, user, password) {
  set(await api.post('/setup', { token, user, password }));
}

/** The server has ended the session: another password of one's own does that. */
export const ended = () => set(null);

/** Ends the session here and on the server. */
export async function logOut() {
  // First, so that nothing begins to ask in the name of a session that is about to end.
  live.stop();
  await api.remove('/session').catch(() => {});
  set(null);
}

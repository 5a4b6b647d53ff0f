// The public API: one function for a request, one for a list with all its pages.

import { isAttended } from './attention.js';

const BASE = '/api/v1';
/** The most rows that the API gives at once. */
export const PAGE_ROWS = 1000;

/** An answer that is not the one asked for, in the API's own words. */
export class Refusal extends Error {
  constructor(status, body) {
    super(body?.message ?? `HTTP ${status}`);
    this.status = status;
    this.code = body?.code;
    this.remedy = body?.remedy;
    this.field = body?.field;
  }
}

/** A request that a second person has to approve: it is kept, and not done yet. */
export class Waiting extends Error {
  constructor({ message, approval, expires }) {
    super(message);
    Object.assign(this, { status: 202, approval, expires });
  }
}

/** Who asks; `session.js` sets it. */
export const identity = { csrf: null, until: null, lost: () => {} };

function headers(method, body) {
  const out = {};
  if (body !== undefined) out['Content-Type'] = 'application/json';
  if (identity.csrf && method !== 'GET') out['X-CSRF-Token'] = identity.csrf;
  // An open page asks for ever: without somebody who looks at it that keeps no session open.
  if (method === 'GET' && !isAttended()) out['X-VTL-Unattended'] = '1';
  return out;
}

async function send(method, path, body) {
  const response = await fetch(BASE + path, {
    method,
    headers: headers(method, body),
    body: body === undefined ? undefined : JSON.stringify(body),
    credentials: 'same-origin',
    cache: 'no-store',
    // What is still asked for when somebody logs out is given up.
    signal: path === '/session' ? undefined : identity.until?.signal,
  });
  const text = await response.text();
  const answer = text ? parse(text) : null;
  if (response.status === 202 && answer?.approval) throw new Waiting(answer);
  if (response.ok) return { answer, next: nextOf(response) };
  if (response.status === 401) identity.lost();
  throw new Refusal(response.status, answer);
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return { message: text.slice(0, 200) };
  }
}

function nextOf(response) {
  const match = /<([^>]+)>\s*;\s*rel="?next"?/.exec(response.headers.get('Link') ?? '');
  if (!match) return null;
  const url = new URL(match[1], location.href);
  return url.pathname.replace(BASE, '') + url.search;
}

const ask = async (method, path, body) => (await send(method, path, body)).answer;

export const get = (path) => ask('GET', path);
export const post = (path, body = {}) => ask('POST', path, body);
export const put = (path, body) => ask('PUT', path, body);
export const patch = (path, body) => ask('PATCH', path, body);
export const remove = (path, body) => ask('DELETE', path, body);

/** A path from parts that are not to be trusted to be without slashes, and parameters. */
export function path(parts, query = {}) {
  const given = Object.entries(query).filter(
    ([, value]) => value !== undefined && value !== null && value !== '',
  );
  const text = parts.map((part) => `/${encodeURIComponent(part)}`).join('');
  return given.length ? `${text}?${new URLSearchParams(given)}` : text;
}

/** All rows of a list; `each` hears of what is there so far after each page. */
export async function list(from, each = () => {}) {
  const rows = [];
  let next = from;
  while (next) {
    const { answer, next: after } = await send('GET', next);
    for (const row of answer) rows.push(row);
    each(rows);
    next = after;
  }
  return rows;
}

/** The first page's path of a list that may be long. */
export const paged = (from) => `${from}${from.includes('?') ? '&' : '?'}limit=${PAGE_ROWS}`;

/** The first rows of a list, and whether there are more. */
export async function first(from) {
  const { answer, next } = await send('GET', from);
  return { rows: answer, more: next !== null };
}

// What has changed on the server: one place that knows how it is learnt.
//
// Changes of jobs, moves and alerts come as server-sent events. Where there is no stream (yet, or it broke),
// the pages ask every few seconds. Measured values, such as the position of a tape, have no events: a page
// asks for them by every().
//
// Only a tab in sight has a stream: browsers open six connections to a host over HTTP/1.1 for all tabs
// together, and seven streams would keep all of them waiting for ever.

const POLL_MS = 2000;
/** So long after its end a stream is opened again, or up to twice as long: not all pages come at once to a server
 *  that is back. */
const RETRY_MS = 5000;
/** Events that come in a row are one refresh. */
const GATHER_MS = 150;
const TYPES = ['job', 'move', 'alert'];
const ADDRESS = `/api/v1/events?types=${TYPES.join(',')}`;

const listeners = new Set();
/** Somebody is logged in. */
let wanted = false;
/** Ends the stream that is open. */
let stream = null;
/** The last event that came: a stream goes on behind it. */
let seen = null;
let poll = null;
let retry = null;
let pending = [];
let timer = null;
/** The jobs that ran when they were last heard of: what such a one says next is how far it is. */
const running = new Set();

/** Calls `then` with the changes when something of these types has changed; the answer ends that. A change is
 *  `{type, data?, own?}`: `data` is what the event says (none: something of this type, nobody knows what);
 *  `own`: a page has just done it. Beside the types of events there is `progress`: a job that only got
 *  further. */
export function on(types, then) {
  const entry = { types, then };
  listeners.add(entry);
  return () => listeners.delete(entry);
}

/** Whether somebody can see the page. */
export const isSeen = () => document.visibilityState === 'visible';

/** Calls `then` when somebody looks again; the answer ends that. */
export function onLook(then) {
  const look = () => isSeen() && then();
  document.addEventListener('visibilitychange', look);
  return () => document.removeEventListener('visibilitychange', look);
}

/** Calls `then` every so many seconds while somebody looks; the answer ends that. */
export function every(seconds, then) {
  const id = setInterval(() => isSeen() && then(), seconds * 1000);
  return () => clearInterval(id);
}

/** Begins; who asks for a page again after a log-in calls it again. */
export function start() {
  close();
  wanted = true;
  settle();
}

/** Ends: nobody is logged in. */
export function stop() {
  wanted = false;
  seen = null;
  close();
}

/** A stream while there is somebody to look, none otherwise. */
function settle() {
  if (!wanted || !isSeen()) close();
  else if (!stream) open();
}

function open() {
  const own = new AbortController();
  stream = own;
  listen(own.signal).catch(() => {
    if (own.signal.aborted) return;
    // Whatever has ended the hearing: no second stream beside this one.
    own.abort();
    startPoll();
    retry = setTimeout(open, RETRY_MS * (1 + Math.random()));
  });
}

/** Hears the stream to its end, which is an error. An EventSource that is made anew could not say what was seen. */
async function listen(signal) {
  const headers = seen ? { 'Last-Event-ID': seen } : {};
  const answer = await fetch(ADDRESS, { headers, signal, cache: 'no-store' });
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  stopPoll();
  // What happened before the first stream was open is not in it.
  if (!seen) unknown();
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error('the stream has ended');
    const events = (rest + value).split('\n\n');
    rest = events.pop();
    events.forEach(take);
  }
}

/** An event as it is sent: lines of a name and a value. A comment has no name. */
function take(text) {
  const { id, event, data } = Object.fromEntries(text.split('\n').map(field));
  // What cannot be read would be the same a second time: something has changed, and nobody knows what.
  try {
    if (event === 'reset') unknown();
    else if (event) hear(event, JSON.parse(data));
  } catch (failed) {
    console.error(failed);
    unknown();
  }
  seen = id ?? seen;
}

/** A name and a value; the space behind the colon is of neither. */
function field(line) {
  const at = line.indexOf(':');
  return at < 0 ? [line, ''] : [line.slice(0, at), line.slice(at + 1).replace(/^ /, '')];
}

function close() {
  stream?.abort();
  stream = null;
  clearTimeout(retry);
  retry = null;
  stopPoll();
  running.clear();
}

function startPoll() {
  poll ??= setInterval(() => isSeen() && unknown(), POLL_MS);
}

function stopPoll() {
  clearInterval(poll);
  poll = null;
}

const unknown = () => TYPES.forEach((type) => gather({ type }));

function hear(type, data) {
  gather({ type: type === 'job' && isProgress(data) ? 'progress' : type, data });
}

function isProgress(job) {
  if (job.state !== 'running') {
    running.delete(job.id);
    return false;
  }
  if (running.has(job.id)) return true;
  running.add(job.id);
  return false;
}

/** A page has just changed something of this type. */
export const tell = (type) => gather({ type, own: true });

function gather(change) {
  pending.push(change);
  timer ??= setTimeout(() => {
    const changes = pending;
    [pending, timer] = [[], null];
    for (const { types, then } of [...listeners]) {
      const fit = changes.filter((one) => types.includes(one.type));
      // One page that cannot take it up does not keep it from the others.
      try {
        if (fit.length > 0) then(fit);
      } catch (failed) {
        console.error(failed);
      }
    }
  }, GATHER_MS);
}

document.addEventListener('visibilitychange', settle);

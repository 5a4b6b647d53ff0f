// What has changed on the server: one place that knows how it is learnt.
//
// Changes of jobs, moves and alerts come as server-sent events. Where there is no stream (yet, or it broke),
// the pages ask every few seconds. Measured values, such as the position of a tape, have no events: a page
// asks for them by every().

const POLL_MS = 2000;
const RETRY_MS = 5000;
/** Events that come in a row are one refresh. */
const GATHER_MS = 150;
const TYPES = ['job', 'move', 'alert'];

const listeners = new Set();
let source = null;
let poll = null;
let pending = new Set();
let timer = null;
let state = 'off';

/** Calls `then` with the set of types when something of these types has changed; the answer ends that. */
export function on(types, then) {
  const entry = { types, then };
  listeners.add(entry);
  return () => listeners.delete(entry);
}

/** Calls `then` every so many seconds while somebody looks; the answer ends that. */
export function every(seconds, then) {
  const id = setInterval(() => document.visibilityState === 'visible' && then(), seconds * 1000);
  return () => clearInterval(id);
}

/** Begins; who asks for a page again after a log-in calls it again. */
export function start() {
  stop();
  state = 'stream';
  source = new EventSource(`/api/v1/events?types=${TYPES.join(',')}`);
  for (const type of TYPES) source.addEventListener(type, () => tell(type));
  source.addEventListener('reset', () => TYPES.forEach(tell));
  source.onopen = () => {
    stopPoll();
    state = 'stream';
    // What happened before the stream was open is not in it.
    TYPES.forEach(tell);
  };
  source.onerror = () => {
    startPoll();
    if (source?.readyState === EventSource.CLOSED)
      setTimeout(() => state !== 'off' && start(), RETRY_MS * 12);
  };
}

/** Ends: nobody is logged in. */
export function stop() {
  source?.close();
  source = null;
  stopPoll();
  state = 'off';
}

/** Asks at intervals, without trying for a stream. */
export function startPoll() {
  state = 'poll';
  poll ??= setInterval(() => document.visibilityState === 'visible' && TYPES.forEach(tell), POLL_MS);
}

function stopPoll() {
  clearInterval(poll);
  poll = null;
}

/** Something of this type has changed: also told by pages that have just changed it. */
export function tell(type) {
  pending.add(type);
  timer ??= setTimeout(() => {
    const types = pending;
    [pending, timer] = [new Set(), null];
    for (const one of [...listeners]) if (one.types.some((own) => types.has(own))) one.then(types);
  }, GATHER_MS);
}

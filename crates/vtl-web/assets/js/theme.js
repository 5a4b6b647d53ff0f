// Light, dark, or as the reader's system says.

const KEY = 'vtl.theme';
const ORDER = ['auto', 'light', 'dark'];
const changed = new Set();

export function current() {
  const kept = localStorage.getItem(KEY);
  return ORDER.includes(kept) ? kept : 'auto';
}

export function onChange(then) {
  changed.add(then);
}

export function next() {
  localStorage.setItem(KEY, ORDER[(ORDER.indexOf(current()) + 1) % ORDER.length]);
  apply();
  for (const then of changed) then();
}

export function apply() {
  const now = current();
  if (now === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = now;
}

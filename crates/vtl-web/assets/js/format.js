// Numbers and times as people read them.

import { t } from './text.js';

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];
const MISSING = '–';

/** 1536 → `1.5 KiB`. */
export function bytes(number) {
  if (number === null || number === undefined) return MISSING;
  let [value, unit] = [number, 0];
  while (Math.abs(value) >= 1024 && unit < UNITS.length - 1) [value, unit] = [value / 1024, unit + 1];
  const digits = unit === 0 || Math.abs(value) >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

export function rate(number) {
  return number === null || number === undefined ? MISSING : `${bytes(number)}/s`;
}

export function integer(number) {
  return number === null || number === undefined ? MISSING : number.toLocaleString('en');
}

/** `part` of `whole` in per cent, 0 to 100. */
export function percent(part, whole) {
  return whole > 0 ? Math.min(100, (part / whole) * 100) : 0;
}

export function ratio(number) {
  return Number.isFinite(number) ? `${number.toFixed(number < 10 ? 2 : 1)} : 1` : MISSING;
}

/** Seconds → `3 min 20 s`. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return MISSING;
  const parts = [
    ['d', 86400],
    ['h', 3600],
    ['min', 60],
    ['s', 1],
  ];
  const out = [];
  let left = Math.max(0, Math.round(seconds));
  for (const [unit, size] of parts) {
    const whole = Math.floor(left / size);
    left -= whole * size;
    if (whole > 0 && out.length < 2) out.push(`${whole} ${unit}`);
    else if (out.length > 0) break;
  }
  return out.join(' ') || '0 s';
}

const TIME = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });
const DAY = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium' });
const SHORT = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' });

/** An RFC 3339 time in the reader's zone. */
export function time(text) {
  return text ? TIME.format(new Date(text)) : MISSING;
}

export function shortTime(text) {
  return text ? SHORT.format(new Date(text)) : MISSING;
}

/** The day alone. */
export function day(text) {
  return text ? DAY.format(new Date(text)) : MISSING;
}

/** How long ago. */
export function ago(text) {
  if (!text) return MISSING;
  const seconds = (Date.now() - new Date(text).getTime()) / 1000;
  return seconds < 5 ? t('time.now') : t('time.ago', { time: duration(seconds) });
}

const SIZE = /^\s*(\d+(?:\.\d+)?)\s*([kmgtp]?)(?:i?b)?\s*$/i;

/** What a person types for a size, such as `10g`, in bytes; null when it is none. */
export function parseSize(text) {
  const match = SIZE.exec(text);
  if (!match) return null;
  const power = ' kmgtp'.indexOf(match[2].toLowerCase() || ' ');
  return Math.round(Number(match[1]) * 1024 ** power);
}

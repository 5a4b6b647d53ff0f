// Plots over time, drawn by hand: lines with an area below them, a scale, and the same numbers as a table for
// who cannot see them.

import { h, svg } from './dom.js';
import { bytes, shortTime } from './format.js';
import { t } from './text.js';
import { table } from './ui.js';

const WIDTH = 720;
const HEIGHT = 220;
const LEFT = 74;
const BOTTOM = 26;
const TOP = 10;
const STEPS = 4;
/** So many rows of the table. */
const ROWS = 50;

/** The next round number above, in steps that powers of two make round. */
export function ceiling(value) {
  if (value <= 0) return 1;
  const unit = 1024 ** Math.floor(Math.log(value) / Math.log(1024));
  const step = [1, 2, 4, 8, 10, 20, 40, 50, 80, 100, 200, 400, 500, 800, 1024].find(
    (one) => one * unit >= value,
  );
  return (step ?? 1024) * unit;
}

/** `samples`: `{at, ...numbers}` in order of time; `series`: `{name, label}`. */
export function plot(title, samples, series, { test, format = bytes } = {}) {
  if (samples.length < 2)
    return h(
      'figure',
      { class: 'plot', test },
      h('figcaption', {}, title),
      h('p', { class: 'empty' }, t('chart.few')),
    );
  const times = samples.map((one) => new Date(one.at).getTime());
  const [from, to] = [times[0], times[times.length - 1]];
  const top = ceiling(Math.max(1, ...samples.flatMap((one) => series.map(({ name }) => one[name] ?? 0))));
  const x = (time) => LEFT + ((time - from) / Math.max(1, to - from)) * (WIDTH - LEFT - 8);
  const y = (value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
  const line = ({ name }) =>
    samples
      .map((one, n) => `${n ? 'L' : 'M'}${x(times[n]).toFixed(1)} ${y(one[name] ?? 0).toFixed(1)}`)
      .join('');
  const base = HEIGHT - BOTTOM;
  const steps = Array.from({ length: STEPS + 1 }, (_, n) => (top * n) / STEPS);
  const last = samples[samples.length - 1];
  const told = series.map(({ name, label }) => `${label}: ${format(last[name])}`).join(', ');
  return h(
    'figure',
    { class: 'plot', test },
    h('figcaption', {}, title),
    h(
      'ul',
      { class: 'legend' },
      series.map(({ name, label }, n) =>
        h('li', { key: name, class: `line-${n}` }, label, ' ', h('strong', {}, format(last[name]))),
      ),
    ),
    svg(
      'svg',
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': `${title}. ${told}` },
      steps.map((value) => [
        svg('line', { class: 'grid', x1: LEFT, x2: WIDTH - 8, y1: y(value), y2: y(value) }),
        svg('text', { class: 'scale', x: LEFT - 8, y: y(value) + 4, 'text-anchor': 'end' }, format(value)),
      ]),
      series.map((one, n) => [
        svg('path', { class: `area line-${n}`, d: `${line(one)}L${x(to)} ${base}L${x(from)} ${base}Z` }),
        svg('path', { class: `stroke line-${n}`, d: line(one) }),
      ]),
      svg('text', { class: 'scale', x: LEFT, y: HEIGHT - 6 }, shortTime(samples[0].at)),
      svg('text', { class: 'scale', x: WIDTH - 8, y: HEIGHT - 6, 'text-anchor': 'end' }, shortTime(last.at)),
    ),
    h(
      'details',
      {},
      h('summary', {}, t('map.table')),
      table(
        title,
        [
          { name: t('chart.time'), show: (one) => shortTime(one.at) },
          ...series.map(({ name, label }) => ({
            name: label,
            number: true,
            show: (one) => format(one[name]),
          })),
        ],
        samples.slice(-ROWS).reverse(),
        (one) => one.at,
      ),
    ),
  );
}

/** When something that grows so is full, in seconds; null when it does not grow. Least squares over the
 *  samples. */
export function fullIn(samples, name, free) {
  const n = samples.length;
  if (n < 2 || free <= 0) return null;
  const start = new Date(samples[0].at).getTime();
  const points = samples.map((one) => [(new Date(one.at).getTime() - start) / 1000, one[name]]);
  const mean = (pick) => points.reduce((sum, point) => sum + pick(point), 0) / n;
  const [mx, my] = [mean((p) => p[0]), mean((p) => p[1])];
  const spread = points.reduce((sum, [x]) => sum + (x - mx) ** 2, 0);
  const slope = spread > 0 ? points.reduce((sum, [x, y]) => sum + (x - mx) * (y - my), 0) / spread : 0;
  return slope > 0 ? free / slope : null;
}

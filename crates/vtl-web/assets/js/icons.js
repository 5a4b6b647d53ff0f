// Signs, drawn with strokes on a field of 24 by 24. They are beside words, and hidden from who hears the
// page.

import { svg } from './dom.js';

const PATHS = {
  library: 'M3 4h18v16H3zM3 12h18M8 4v16M16 4v16',
  cartridge: 'M3 6h18v12H3zM8 12a2 2 0 1 0 0 .01M16 12a2 2 0 1 0 0 .01M10 12h4',
  jobs: 'M4 8h13l-3-3M20 16H7l3 3',
  store:
    'M4 6c0-1.7 3.6-3 8-3s8 1.3 8 3-3.6 3-8 3-8-1.3-8-3zM4 6v12c0 1.7 3.6 3 8 3s8-1.3 8-3V6M4 12c0 1.7 3.6 3 8 3s8-1.3 8-3',
  remote: 'M7 18a4 4 0 0 1-.6-8A6 6 0 0 1 18 9.2 4.5 4.5 0 0 1 17.5 18z',
  key: 'M8 15a4 4 0 1 1 3.5-5.9L21 9v3h-2v2h-3v-2h-4.3A4 4 0 0 1 8 15zM7.5 11h.01',
  iscsi: 'M12 4v5M5 20v-4h14v4M12 9a2 2 0 1 0 0-4M12 9v7M3 20h4M17 20h4M10 20h4',
  users:
    'M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20a6.5 6.5 0 0 1 13 0M16 4.5a3.5 3.5 0 0 1 0 6M18 14.5a6.5 6.5 0 0 1 3.5 5.5',
  audit: 'M6 3h9l4 4v14H6zM15 3v4h4M9 12h7M9 16h7',
  alerts: 'M12 3 2 20h20zM12 10v4M12 17h.01',
  settings: 'M4 7h9M19 7h1M4 17h1M11 17h9M16 4.5v5M8 14.5v5',
  menu: 'M4 6h16M4 12h16M4 18h16',
  close: 'M6 6l12 12M18 6 6 18',
  sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6 19 19M5 19l1.4-1.4M17.6 6.4 19 5',
  moon: 'M20 14.5A8 8 0 0 1 9.5 4 8 8 0 1 0 20 14.5z',
  auto: 'M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18',
  out: 'M14 4h6v16h-6M4 12h11M11 8l4 4-4 4',
  plus: 'M12 5v14M5 12h14',
  search: 'M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5',
  lock: 'M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3',
  ok: 'M5 12.5 10 17 19 7',
  up: 'M12 19V5M6 11l6-6 6 6',
  down: 'M12 5v14M6 13l6 6 6-6',
};

export function icon(name, props = {}) {
  return svg(
    'svg',
    { class: 'icon', viewBox: '0 0 24 24', 'aria-hidden': 'true', focusable: 'false', ...props },
    svg('path', { d: PATHS[name] ?? '' }),
  );
}

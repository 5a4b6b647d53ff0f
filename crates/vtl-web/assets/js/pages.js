// Which pages there are: address, name, sign, and the module that makes it.

import { mayDo } from './needs.js';

const all = [
  ['library', 'library', () => import('./pages/library.js')],
  ['cartridges', 'cartridge', () => import('./pages/cartridges.js')],
  ['jobs', 'jobs', () => import('./pages/jobs.js')],
  ['store', 'store', () => import('./pages/store.js')],
  ['remotes', 'remote', () => import('./pages/remotes.js')],
  ['keys', 'key', () => import('./pages/keys.js')],
  ['iscsi', 'iscsi', () => import('./pages/iscsi.js')],
  ['users', 'users', () => import('./pages/users.js')],
  ['audit', 'audit', () => import('./pages/audit.js')],
  ['alerts', 'alerts', () => import('./pages/alerts.js')],
  ['settings', 'settings', () => import('./pages/settings.js')],
];

/** Whether whoever is logged in has a use for the page. */
export const isFor = ({ name }) => mayDo(`nav-${name}`);

export const PAGES = all.map(([name, icon, module]) => ({ name, icon, module }));

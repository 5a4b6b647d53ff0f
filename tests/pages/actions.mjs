// Which actions the pages have, as their sources say: what no step ever meets is missed all the same.
//
// Whatever somebody can press, choose or type into has a name for tests (`test: '...'`), and so has much that is only
// looked at. What is not in the list of those is an action.

import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const ASSETS = fileURLToPath(new URL('../../crates/vtl-web/assets/', import.meta.url));
const read = (name) => fs.readFileSync(path.join(ASSETS, name), 'utf8');

/** Names of what nobody presses: boxes, tables and texts, and dialogs without a form. */
const LOOKED_AT = new Set([
  ...['cabinet', 'drive-${element.number}', 'tape-${drive.number}', 'vault', 'inspector', 'eject-stays'],
  ...['eject-remote', 'eject-key', 'eject-after', 'plan', 'plan-refused', 'cartridges', 'map', 'map-table', 'eject-clean'],
  ...['exports', 'export-detail', 'jobs', 'job-detail', 'job-tasks', 'job-log', 'plot-bytes', 'plot-saved'],
  ...['pools', 'folders', 'remotes', 'remote-exports', 'probe', 'test-remote', 'objects', 'remote-detail'],
  ...['remote-objects-dialog', 'keys', 'pem', 'public-key', 'hooks', 'config', 'checked', 'token-made'],
  ...['token-secret', 'job-skipped', 'audit', 'audit-report', 'alerts', 'problems', 'no-problems', 'who', 'failure'],
  'note-${tone}',
]);

/** Fields that a step fills, by the form that they are in. Others may stay as they are. */
const FIELDS = {
  setup: ['user', 'password', 'again'],
  login: ['user', 'password'],
  'login-token': ['token'],
  move: ['to'],
  load: ['library'],
  retain: ['retain_until'],
  settings: ['slots', 'migrate.compress'],
  'create-cartridge': ['label', 'count'],
  'create-library': ['name', 'drives', 'slots', 'mailslots'],
  'choose-cartridge': ['label'],
  export: ['remote', 'key', 'chunk_size_bytes'],
  'import-job': ['as_label'],
  'import-remote': ['remote'],
  import: ['as_label', 'folder', 'lazy'],
  rewrap: ['key'],
  prune: ['confirm'],
  'create-pool': ['name', 'paths', 'encrypted', 'key_file'],
  'create-remote': ['name', 'type', 'path'],
  'make-key-form': ['name'],
  'import-key-form': ['name', 'file'],
  'remove-key': ['confirm'],
  'export-store-key': ['file'],
  'chap-form': ['user', 'secret'],
  'initiator-form': ['initiator'],
  'add-portal-form': ['address'],
  'check-config': ['file'],
  'backup-form': ['file'],
  'add-user-form': ['name', 'password', 'viewer', 'security-officer'],
  'roles-form': ['operator'],
  'password-form': ['current', 'password'],
  'token-form': ['name', 'role'],
  'audit-filter': ['what', 'who'],
};

/** Names that are put together, and what they come to; a star stands for whatever there is. */
const FAMILIES = {
  'cell-${element.kind}-${element.number}': () => ['cell-slot-*', 'cell-drive-*', 'cell-mailslot-*'],
  'vault-${one.label}': () => ['vault-*'],
  'field-${field.name}': () =>
    Object.entries(FIELDS).flatMap(([form, names]) => names.map((name) => `field-${form}.${name}`)),
  'do-${name}': () => texts('cartridge.do_').map((name) => `do-${name}`),
  'job-${one.name}': () => texts('job.do_').map((name) => `job-${name}`),
  '${name}-plan': () => jobForms().flatMap((name) => [name, `${name}-plan`]),
  'sort-${column.id}': () =>
    found('js/pages/cartridges.js', /\bid: '(\w+)',\s*name: t\('[\w.]+'\),\s*sort:/g).map(
      (name) => `sort-${name}`,
    ),
  'nav-${page.name}': () => pages().map((name) => `nav-${name}`),
  // Of jobs, of alerts, and one for each library.
  'tab-${name}': () => [
    ...[...texts('jobs.tab_'), ...texts('alerts.tab_')].map((name) => `tab-${name}`),
    'tab-lib*',
  ],
};

function found(name, pattern) {
  const all = [...read(name).matchAll(pattern)].map(([, one]) => one);
  if (all.length === 0) throw new Error(`${name} has nothing like ${pattern}`);
  return all;
}

/** What follows this beginning of keys in the file of all texts. */
function texts(beginning) {
  const [group, start] = beginning.split('.');
  const keys = Object.keys(JSON.parse(read('texts.en.json'))[group]);
  return keys.filter((key) => key.startsWith(start)).map((key) => key.slice(start.length));
}

/** The pages, in the order of the menu. */
export const pages = () => found('js/pages.js', /\['(\w+)', '\w+', \(\) => import\(/g);

/** The forms that start a job, by their names: each has a button for its plan, too. */
const jobForms = () => [
  ...sources().flatMap((source) => [...source.matchAll(/\baskJob\(\s*'([\w-]+)'/g)].map(([, name]) => name)),
  ...found('js/pages/store.js', /\baskPass\('(\w+)'/g).map((name) => `start-${name}`),
];

function sources() {
  const of = (folder) =>
    fs
      .readdirSync(path.join(ASSETS, folder))
      .filter((name) => name.endsWith('.js'))
      .map((name) => read(`${folder}/${name}`));
  return [...of('js'), ...of('js/pages')];
}

/** Every name in a source: whole ones, each of a choice, and those that are put together. */
function names(source) {
  const whole = [...source.matchAll(/\btest: (?!`)([^,}\n]+)/g)].flatMap(([, said]) =>
    [...said.matchAll(/'([^']+)'/g)].map(([, name]) => name),
  );
  return [...whole, ...[...source.matchAll(/\btest: `([^`]+)`/g)].map(([, name]) => name)];
}

/** Every action by its name. That of a form is what its button adds `-submit` to. */
export function actions() {
  const all = new Set(sources().flatMap(names));
  const strange = [...LOOKED_AT].filter((name) => !all.has(name));
  if (strange.length) throw new Error(`no page has these any more: ${strange.join(', ')}`);
  const wanted = [...all].filter((name) => !LOOKED_AT.has(name));
  const unknown = wanted.filter((name) => name.includes('${') && !FAMILIES[name]);
  if (unknown.length) throw new Error(`which names are these: ${unknown.join(', ')}`);
  return [...new Set(wanted.flatMap((name) => FAMILIES[name]?.() ?? [name]))].sort();
}

/** Whether this name on a page is that action. */
export const isOf = (action, name) =>
  action.endsWith('*')
    ? name.startsWith(action.slice(0, -1))
    : name === action || name === `${action}-submit`;

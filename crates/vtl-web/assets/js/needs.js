// What each action needs: one table. Who lacks a permission does not see its buttons, nor the pages and fields that
// are for others; the server refuses in any case.

import { may } from './session.js';

const NEEDS = {
  operate: [
    'new-cartridges',
    'do-move',
    'to-vault',
    'do-load',
    'do-export',
    'do-protect',
    'do-unprotect',
    'new-export',
    'new-import',
    'clear-jobs',
    'job-import',
    'job-pause',
    'job-resume',
    'job-cancel',
    'job-retry',
    'export-verify',
    'export-import',
    'gc',
    'scrub',
    'account',
    'repair',
    'remote-test',
    'hook-test',
    'alert-ack',
  ],
  configure: [
    'library-settings',
    'new-library',
    'remove-library',
    'do-release',
    'new-pool',
    'pool-open',
    'new-remote',
    'remote-remove',
    'import-key',
    'make-key',
    'add-portal',
    'portal-remove',
    'set-chap',
    'clear-chap',
    'add-initiator',
    'initiator-remove',
    'check-config-submit',
    'reload',
    'backup',
    'alert-test',
  ],
  retain: ['do-hold', 'do-unhold', 'do-retain'],
  destroy: ['do-remove', 'export-prune', 'pool-remove', 'key-remove', 'set-deleting'],
  'export-keys': ['export-rewrap', 'store-key-export'],
  'manage-users': [
    'add-user',
    'user-roles',
    'user-password',
    'user-lock',
    'user-remove',
    'user-end-sessions',
  ],
  'read-audit': ['nav-audit'],
  approve: ['approve', 'refuse'],
};

const OF = new Map(
  Object.entries(NEEDS).flatMap(([permission, actions]) => actions.map((action) => [action, permission])),
);

/** Whether whoever is logged in may do this action, by its name for tests. */
export function mayDo(action) {
  const permission = OF.get(action);
  return permission === undefined || may(permission);
}

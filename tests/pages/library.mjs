// The library: every way to move a cartridge, and every action on one and on a library.

import { equal, has } from './browser.mjs';

const place = async (browser, label) => {
  const { kind, number } = (await browser.get(`/cartridges/${label}`)).place;
  return `${kind}:${number}`;
};

const isAt = (browser, label, where) =>
  browser.until(`${label} is in ${where}`, async () => (await place(browser, label)) === where);

/** Chooses a cartridge in the picture, where it is. */
async function choose(browser, cell) {
  await browser.press(cell);
  await browser.at('inspector').waitFor();
}

export async function moves(browser) {
  await browser.go('library');
  // Chosen, then its place: with the keyboard.
  await browser.at('cell-slot-3').press('Enter');
  await browser.at('inspector').waitFor();
  await browser.at('cell-slot-20').press('Enter');
  has(await browser.note(), 'VTL003L8 is in slot:20', 'a move by keyboard');
  equal(await place(browser, 'VTL003L8'), 'slot:20', 'a move by keyboard');
  // Dragged.
  await browser.at('cell-slot-4').dragTo(browser.at('cell-slot-21'));
  has(await browser.note(), 'VTL004L8 is in slot:21', 'a move by dragging');
  await isAt(browser, 'VTL004L8', 'slot:21');
  // By its name from a list.
  await choose(browser, 'cell-slot-5');
  await browser.press('do-move');
  await browser.send('move', { to: 'drive:1' });
  await browser.note();
  await isAt(browser, 'VTL005L8', 'drive:1');
  await browser.page.waitForSelector('[data-test="drive-1-state"]:has-text("loaded")');
  // To the vault and back.
  await choose(browser, 'cell-slot-7');
  await browser.press('to-vault');
  await isAt(browser, 'VTL007L8', 'vault:null');
  await choose(browser, 'vault-VTL007L8');
  await browser.press('cell-slot-7');
  await isAt(browser, 'VTL007L8', 'slot:7');
}

/** What a drive with a host shows is what the API says. */
export async function drive(browser) {
  await browser.go('library');
  const text = await browser.at('drive-0').textContent();
  // Thirteen blocks and four filemarks.
  has(text, 'Block17', 'the block of the drive');
  has(text, 'File4', 'the file of the drive');
  has(text, 'iqn.2026-11.test', 'the initiator of the drive');
  const [it] = await browser.get('/drives');
  equal(
    [it.block, it.file, it.position_bytes, it.compression],
    [17, 4, 3280728, true],
    'the drive in the API',
  );
  has(await browser.at('tape-0').getAttribute('aria-label'), 'At 3.1 MiB', 'the position on the tape');
}

/** A drag to a mailslot asks first, and says what will happen; then it does. */
export async function eject(browser) {
  await browser.go('library');
  await browser.at('cell-slot-8').dragTo(browser.at('cell-mailslot-2'));
  has(await browser.at('eject-remote').textContent(), 'off-site', 'the remote in the question');
  has(await browser.at('eject-key').textContent(), 'site-key', 'the key in the question');
  has(await browser.at('eject-after').textContent(), 'kept in the vault', 'what becomes of the cartridge');
  await browser.press('dialog-cancel');
  equal(await place(browser, 'VTL008L8'), 'slot:8', 'a question that was answered with no');
  await browser.at('cell-slot-8').dragTo(browser.at('cell-mailslot-2'));
  await browser.at('plan').waitFor();
  await browser.press('eject-submit');
  await browser.note();
  await isAt(browser, 'VTL008L8', 'vault:null');
  const job = await browser.until('the export is a job', async () =>
    (await browser.get('/jobs')).find((one) => one.label === 'VTL008L8'),
  );
  equal(job.kind, 'export', 'the job of an ejection');
}

export async function cartridge(browser) {
  await browser.go('library');
  await browser.press('new-cartridges');
  await browser.send('create-cartridge', { label: 'VTL101L8', count: '3' });
  await browser.note();
  const made = await browser.get('/cartridges');
  equal(made.filter((one) => /^VTL10[1-3]L8$/.test(one.label)).length, 3, 'cartridges that were made');
  await choose(browser, 'cell-slot-9');
  for (const [name, field, value] of [
    ['protect', 'write_protected', true],
    ['unprotect', 'write_protected', false],
    ['hold', 'hold', true],
    ['unhold', 'hold', false],
  ]) {
    await browser.press(`do-${name}`);
    await browser.note();
    equal((await browser.get('/cartridges/VTL009L8'))[field], value, name);
  }
  await browser.press('inspector-close');
  await browser.at('inspector').waitFor({ state: 'detached' });
  await browser.go('cartridges/VTL102L8');
  await browser.press('do-retain');
  await browser.send('retain', { retain_until: '2026-12-31' });
  await browser.note();
  has((await browser.get('/cartridges/VTL102L8')).retain_until, '2026-12-31', 'a retention');
  await browser.go('cartridges/VTL103L8');
  await browser.press('do-remove');
  await browser.send('remove');
  has(await browser.note(), 'in the trash', 'a removal');
  const left = await browser.get('/cartridges');
  equal(
    left.some((one) => one.label === 'VTL103L8'),
    false,
    'the removed cartridge is listed',
  );
}

export async function libraries(browser) {
  await browser.go('library');
  await browser.press('library-settings');
  await browser.send('settings', { slots: '30', 'migrate.compress': 'lz4' });
  await browser.note();
  const it = await browser.get('/libraries/lib0');
  equal(
    [it.slots, it.settings.find((one) => one.key === 'migrate.compress').value],
    [30, 'lz4'],
    'settings of the library',
  );
  await browser.press('new-library');
  await browser.send('create-library', { name: 'lib1', drives: '1', slots: '4', mailslots: '1' });
  await browser.note();
  await browser.press('tab-lib1');
  await browser.page.waitForSelector('.cabinet-head:has-text("lib1")');
  await browser.press('tab-lib0');
  await browser.page.waitForSelector('.cabinet-head:has-text("lib0")');
  await browser.press('tab-lib1');
  await browser.page.waitForSelector('.cabinet-head:has-text("lib1")');
  await browser.press('remove-library');
  await browser.press('confirm-remove-library-submit');
  await browser.note();
  equal(
    (await browser.get('/libraries')).map((one) => one.name),
    ['lib0'],
    'libraries that are left',
  );
}

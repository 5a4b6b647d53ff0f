// What a drive does: position on the tape, how fast it reads or writes, who uses it.

import { h } from './dom.js';
import { bytes, integer, percent, rate, ratio } from './format.js';
import { t } from './text.js';
import { facts } from './ui.js';

/** What was counted when a drive was last looked at, by its serial number. */
const seen = new Map();

/** Rates since the drives were last looked at; they say how many bytes they have moved since the server
 *  started. */
export function withRates(drives, now = performance.now()) {
  return drives.map((drive) => {
    const before = seen.get(drive.serial);
    const counted = { at: now, read: drive.read_bytes ?? 0, written: drive.written_bytes ?? 0 };
    seen.set(drive.serial, counted);
    const seconds = before ? (now - before.at) / 1000 : 0;
    const speed = (name) => (seconds > 0.2 ? Math.max(0, counted[name] - before[name]) / seconds : null);
    return { ...drive, read_rate: speed('read'), write_rate: speed('written') };
  });
}

export function driveFacts(drive, cartridge, view) {
  const initiators = drive.initiator
    ? [drive.initiator]
    : view.sessions.filter((one) => one.target === drive.target).map((one) => one.initiator);
  const compressed = cartridge?.arrived_bytes > 0 ? cartridge.logical_bytes / cartridge.arrived_bytes : NaN;
  const loaded = drive.state === 'loaded';
  return [
    loaded && tape(drive, cartridge),
    facts(
      [
        loaded && [t('drive.block'), integer(drive.block)],
        loaded && [t('drive.file'), integer(drive.file)],
        loaded && [t('drive.write_rate'), rate(drive.write_rate)],
        loaded && [t('drive.read_rate'), rate(drive.read_rate)],
        loaded && [
          t('drive.compression'),
          [
            drive.compression === false ? t('drive.off') : t('drive.on'),
            ' ',
            Number.isFinite(compressed) ? ratio(compressed) : '',
          ],
        ],
        [
          t('drive.initiator'),
          initiators.length
            ? [...new Set(initiators)].map((one) => h('code', { class: 'iqn' }, one))
            : t('drive.nobody'),
        ],
      ],
      { class: 'facts small' },
    ),
  ];
}

/** The tape as a line: what is written, and where the head stands. */
function tape(drive, cartridge) {
  const whole = cartridge?.capacity_bytes ?? 0;
  const position = drive.position_bytes ?? 0;
  const used = percent(cartridge?.used_bytes ?? 0, whole);
  const head = percent(position, whole);
  const text = t('drive.position', {
    at: bytes(position),
    used: bytes(cartridge?.used_bytes ?? 0),
    whole: bytes(whole),
  });
  return h(
    'div',
    { class: 'tape', role: 'img', 'aria-label': text, test: `tape-${drive.number}` },
    h(
      'div',
      { class: 'tape-line' },
      h('span', { class: 'tape-used', style: { width: `${used}%` } }),
      h('span', { class: 'tape-head', style: { left: `${head}%` } }),
    ),
    h('span', { class: 'muted', 'aria-hidden': 'true' }, text),
  );
}

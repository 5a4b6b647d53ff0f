//! The log on a simulated disk, and in the hands of somebody who changes it.

use std::path::Path;

use serde_json::json;
use vtl_durable::{Fault as DiskFault, SimDisk};

use crate::*;

fn record(n: u64) -> Record {
    Record {
        at: format!("2026-03-23T00:00:{n:02}Z"),
        kind: EntryKind::Event,
        of: None,
        who: if n.is_multiple_of(2) { "alice" } else { "bob" }.to_owned(),
        from: "192.0.2.1".to_owned(),
        what: "POST /cartridges/{label}/move".to_owned(),
        detail: json!({ "label": format!("VTL{n:03}L8") }),
        result: "ok".to_owned(),
    }
}

fn folder() -> &'static Path {
    Path::new("/audit")
}

fn open(disk: &SimDisk) -> (AuditLog, Report) {
    AuditLog::open(disk, folder()).unwrap()
}

/// The bytes of a log with so many entries, and its head.
fn written(entries: u64) -> (Vec<u8>, Head) {
    let disk = SimDisk::new(1);
    let (mut log, report) = open(&disk);
    assert_eq!(report.faults, []);
    (1..=entries).for_each(|n| assert_eq!(log.append(record(n)).unwrap(), n));
    let lines = log.lines(0, 1000).unwrap();
    let bytes = lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect();
    (bytes, log.head())
}

#[test]
fn an_entry_keeps_its_bytes_and_the_second_has_the_hash_of_the_first() {
    let (bytes, head) = written(2);
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        concat!(
            r#"{"v":0,"n":1,"prev":"0000000000000000000000000000000000000000000000000000000000000000","#,
            r#""at":"2026-03-23T00:00:01Z","kind":"event","who":"bob","from":"192.0.2.1","#,
            r#""what":"POST /cartridges/{label}/move","detail":{"label":"VTL001L8"},"result":"ok"}"#
        )
    );
    // printf %s LINE | sha256sum
    assert!(
        lines[1].contains("\"prev\":\"c97f90656565b10d534c35f0b55c6df42cefc816dfc5250816184fadd116d847\""),
        "{}",
        lines[1]
    );
    assert_eq!(head.hash_text(), "82d12f0755b053b1c7b4499ef54e3d2ac1ad029ae58730c0911e85f1fcd0c500");
}

#[test]
fn a_log_that_nobody_touched_is_whole() {
    let (bytes, head) = written(9);
    let report = verify(&bytes, Some(head));
    assert_eq!((report.faults.as_slice(), report.lines, report.head), ([].as_slice(), 9, head));
}

fn names(fault: &Fault, n: u64) -> bool {
    match fault {
        Fault::Damaged(at, _) | Fault::Changed(at) => *at == n,
        Fault::OutOfOrder(at, behind) => *at == n || *behind == n,
        Fault::Missing(from, to) => (*from..=*to).contains(&n),
        Fault::NoHead => false,
    }
}

fn is_named(bytes: &[u8], head: Head, n: u64, what: &str) {
    let faults = verify(bytes, Some(head)).faults;
    assert!(faults.iter().any(|fault| names(fault, n)), "{what}: entry {n} is not named in {faults:?}");
}

#[test]
fn a_flipped_bit_anywhere_in_any_entry_is_seen_and_the_entry_named() {
    let (bytes, head) = written(6);
    let mut number = 1;
    for at in 0..bytes.len() {
        for bit in [0x01, 0x20] {
            let mut changed = bytes.clone();
            changed[at] ^= bit;
            is_named(&changed, head, number, &format!("byte {at}, bit {bit:#x}"));
        }
        number += u64::from(bytes[at] == b'\n');
    }
}

fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
}

#[test]
fn each_entry_that_is_taken_out_is_named_the_last_one_too() {
    let (bytes, head) = written(6);
    for n in 1..=6 {
        let mut left = lines(&bytes);
        left.remove(n - 1);
        is_named(&left.concat(), head, n as u64, "taken out");
    }
    assert_eq!(verify(b"", Some(head)).faults, [Fault::Missing(1, 6)]);
}

#[test]
fn each_pair_that_changes_places_is_named() {
    let (bytes, head) = written(6);
    for one in 0..6 {
        for two in one + 1..6 {
            let mut mixed = lines(&bytes);
            mixed.swap(one, two);
            let mixed = mixed.concat();
            is_named(&mixed, head, one as u64 + 1, "changed places");
            is_named(&mixed, head, two as u64 + 1, "changed places");
        }
    }
}

#[test]
fn an_entry_that_is_put_in_twice_or_made_up_is_seen() {
    let (bytes, head) = written(6);
    let mut twice = lines(&bytes);
    twice.insert(3, twice[2].clone());
    assert_eq!(verify(&twice.concat(), Some(head)).faults, [Fault::OutOfOrder(3, 3)]);
    let made_up = [bytes.clone(), lines(&bytes)[5].clone()].concat();
    assert_eq!(verify(&made_up, Some(head)).faults, [Fault::OutOfOrder(6, 6)]);
}

#[test]
fn a_chain_that_was_made_anew_from_some_entry_on_does_not_meet_a_head_that_was_noted_elsewhere() {
    let (_, head) = written(6);
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    for n in 1..=8 {
        let who = if n == 4 { "mallory".to_owned() } else { record(n).who };
        log.append(Record { who, ..record(n) }).unwrap();
    }
    assert_eq!(log.verify(None).unwrap().faults, [], "by itself it is whole");
    assert_eq!(log.verify(Some(head)).unwrap().faults, [Fault::Changed(6)]);
}

#[test]
fn a_cut_at_the_end_is_seen_at_the_next_start_and_for_ever_after() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    (1..=6).for_each(|n| assert!(log.append(record(n)).is_ok()));
    drop(log);
    let file = vtl_durable::Disk::open(&disk, &folder().join("audit.log"), vtl_durable::Open::Write).unwrap();
    let (bytes, _) = written(4);
    file.set_size(bytes.len() as u64).unwrap();
    let (mut log, report) = open(&disk);
    assert_eq!(report.faults, [Fault::Missing(5, 6)]);
    assert_eq!(log.append(record(7)).unwrap(), 7, "numbers go on behind what was there");
    drop(log);
    let (log, report) = open(&disk);
    assert_eq!(report.faults, [Fault::Missing(5, 6)]);
    assert_eq!(log.page(None, 10, &Filter::default()).unwrap().entries.len(), 5);
}

#[test]
fn a_head_that_is_gone_is_told() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    log.append(record(1)).unwrap();
    drop(log);
    vtl_durable::Disk::unlink(&disk, &folder().join("audit.head")).unwrap();
    assert_eq!(open(&disk).1.faults, [Fault::NoHead]);
}

#[test]
fn whatever_a_power_cut_leaves_every_entry_that_was_acknowledged_is_there_and_the_log_goes_on() {
    for step in 0..60 {
        for seed in 0..4 {
            let disk = SimDisk::new(seed);
            disk.crash_at(step);
            let mut acknowledged = 0;
            if let Ok((mut log, _)) = AuditLog::open(&disk, folder()) {
                for n in 1..=5 {
                    match log.append(record(n)) {
                        Ok(number) => acknowledged = number,
                        Err(_) => break,
                    }
                }
            }
            let survivor = disk.after_crash(seed);
            let (mut log, report) = AuditLog::open(&survivor, folder()).unwrap();
            assert_eq!(report.faults, [], "step {step}, seed {seed}");
            assert!(report.head.number >= acknowledged, "step {step}, seed {seed}");
            let next = log.append(record(9)).unwrap();
            assert_eq!(next, report.head.number + 1);
            assert_eq!(log.verify(None).unwrap().faults, []);
        }
    }
}

#[test]
fn a_full_disk_refuses_an_entry_and_the_next_one_fits_when_there_is_room() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    log.append(record(1)).unwrap();
    disk.fail_from(disk.calls(), DiskFault::Enospc);
    for _ in 0..3 {
        let refused = log.append(record(2)).unwrap_err();
        assert!(refused.is_full(), "{refused}");
    }
    disk.heal();
    assert_eq!(log.append(record(2)).unwrap(), 2);
    assert_eq!(log.verify(None).unwrap().faults, []);
    drop(log);
    assert_eq!(open(&disk).1.faults, []);
}

#[test]
fn after_a_failed_write_or_sync_no_line_is_half_and_no_entry_is_acknowledged_that_is_not_there() {
    let calls = {
        let disk = SimDisk::new(1);
        let (mut log, _) = open(&disk);
        let before = disk.calls();
        log.append(record(1)).unwrap();
        disk.calls() - before
    };
    for call in 0..calls {
        let disk = SimDisk::new(1);
        let (mut log, _) = open(&disk);
        disk.fail_call(disk.calls() + call, DiskFault::Eio);
        let first = log.append(record(1));
        let second = log.append(record(2));
        let acknowledged = u64::from(first.is_ok()) + u64::from(second.is_ok());
        drop(log);
        disk.heal();
        let (log, report) = open(&disk);
        assert_eq!(report.faults, [], "call {call}");
        assert!(log.head().number >= acknowledged, "call {call}");
    }
}

#[test]
fn pages_go_from_new_to_old_without_gaps_also_while_entries_come() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    (1..=200).for_each(|n| assert!(log.append(Record { at: format!("{n:04}"), ..record(n) }).is_ok()));
    let (mut before, mut seen) = (None, Vec::new());
    loop {
        let page = log.page(before, 33, &Filter::default()).unwrap();
        seen.extend(page.entries.iter().map(|entry| entry.n));
        log.append(record(1)).unwrap();
        before = page.before;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen, (1..=200).rev().collect::<Vec<_>>());
}

#[test]
fn filters_fit_kind_who_what_text_and_time() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    (1..=9).for_each(|n| assert!(log.append(record(n)).is_ok()));
    let login = Record {
        kind: EntryKind::Login,
        what: "log in".to_owned(),
        result: "refused".to_owned(),
        ..record(10)
    };
    log.append(login).unwrap();
    let numbers = |filter: Filter| -> Vec<u64> {
        log.page(None, 100, &filter).unwrap().entries.iter().map(|entry| entry.n).collect()
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(numbers(Filter { kind: Some(EntryKind::Login), ..Filter::default() }), [10]);
    assert_eq!(numbers(Filter { who: text("alice"), ..Filter::default() }), [10, 8, 6, 4, 2]);
    assert_eq!(numbers(Filter { who: text("ali"), ..Filter::default() }), [0; 0]);
    assert_eq!(numbers(Filter { what: text("log in"), ..Filter::default() }), [10]);
    assert_eq!(numbers(Filter { text: text("VTL003L8"), ..Filter::default() }), [3]);
    assert_eq!(numbers(Filter { text: text("refused"), ..Filter::default() }), [10]);
    let (since, until) = (text("2026-03-23T00:00:03Z"), text("2026-03-23T00:00:05Z"));
    assert_eq!(numbers(Filter { since, until, ..Filter::default() }), [4, 3]);
}

#[test]
fn a_request_without_an_outcome_is_known_after_a_restart() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    let request = |n| Record { kind: EntryKind::Request, ..record(n) };
    let outcome = |of| Record { kind: EntryKind::Outcome, of: Some(of), ..record(of) };
    (1..=3).for_each(|n| assert!(log.append(request(n)).is_ok()));
    log.append(outcome(2)).unwrap();
    drop(log);
    let (log, _) = open(&disk);
    assert_eq!(log.without_outcome(), [1, 3]);
}

#[test]
fn an_entry_that_is_too_long_is_refused_and_a_file_of_rubbish_is_read_to_its_end() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    let long = Record { result: "x".repeat(MOST_LINE), ..record(1) };
    assert!(matches!(log.append(long), Err(AuditError::TooLong(_))));
    drop(log);
    let file = vtl_durable::Disk::open(&disk, &folder().join("audit.log"), vtl_durable::Open::Write).unwrap();
    file.write_at(0, &[std::io::IoSlice::new(&[0xff; 100_000])]).unwrap();
    let (_, report) = open(&disk);
    assert!(matches!(report.faults.first(), Some(Fault::Damaged(1, _))), "{report:?}");
}

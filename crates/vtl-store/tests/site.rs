//! Folders before they are a pool, and when they are to be none any more.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{ROOT, disk_for, encrypted, owner};
use vtl_durable::{Disk, Fault, Open, SimDisk};
use vtl_store::site::{Site, erase, look};
use vtl_store::{Options, Store, StoreError};

const FAR: &str = "/far";

fn options() -> Options {
    encrypted(&Options { folders: vec![FAR.into()], ..Options::small() })
}

fn open(disk: &SimDisk, options: &Options) -> Result<Store, StoreError> {
    Store::open(Arc::new(disk.clone()), Path::new(ROOT), options.clone())
}

fn far() -> [PathBuf; 1] {
    [FAR.into()]
}

/// A disk with an empty pool in two folders that nobody has open, and its id.
fn made() -> (SimDisk, [u8; 16]) {
    let disk = disk_for(1, &options());
    let id = open(&disk, &options()).unwrap().id();
    (disk, id)
}

fn touch(disk: &SimDisk, path: &str) {
    disk.open(Path::new(path), Open::Create).unwrap();
}

#[test]
fn a_folder_says_what_it_is() {
    let (disk, id) = made();
    let site = |path: &str| look(&disk, Path::new(path)).unwrap();
    assert_eq!((site(ROOT), site(FAR)), (Site::Home(id), Site::Member(id)));
    assert_eq!(site("/nowhere"), Site::Missing);
    disk.create_folder(Path::new("/new")).unwrap();
    assert_eq!(site("/new"), Site::Blank);
    disk.create_folder(Path::new("/new/lost+found")).unwrap();
    assert_eq!(site("/new"), Site::Blank);
    touch(&disk, "/new/letter");
    assert_eq!(site("/new"), Site::Other("letter".to_owned()));
}

#[test]
fn a_pool_that_must_be_there_is_not_made_and_not_mistaken_for_another() {
    let (disk, id) = made();
    let with = |pool_id| Options { pool_id: Some(pool_id), ..options() };
    assert_eq!(open(&disk, &with(id)).unwrap().id(), id);
    let Err(StoreError::Folder { path, why }) = open(&disk, &with([1; 16])) else { panic!("another pool") };
    assert!(path == Path::new(ROOT) && why.contains("another pool"), "{why}");

    let bare = disk_for(2, &options());
    let Err(StoreError::Folder { why, .. }) = open(&bare, &with(id)) else { panic!("no pool") };
    assert!(why.contains("mount it"), "{why}");
    assert_eq!(look(&bare, Path::new(ROOT)).unwrap(), Site::Missing, "nothing was written");
}

#[test]
fn what_was_a_pool_is_two_empty_folders_afterwards_and_can_be_a_pool_again() {
    let (disk, id) = made();
    erase(&disk, Path::new(ROOT), &far(), Some(id)).unwrap();
    assert_eq!(disk.files(), [] as [PathBuf; 0]);
    assert!([ROOT, FAR].iter().all(|folder| look(&disk, Path::new(folder)).unwrap() == Site::Blank));
    erase(&disk, Path::new(ROOT), &far(), Some(id)).unwrap();
    open(&disk, &options()).unwrap();
}

#[test]
fn a_power_cut_at_every_step_of_a_removal_leaves_what_another_removal_finishes() {
    for step in 0.. {
        let (disk, id) = made();
        let first = disk.steps();
        disk.crash_at(first + step);
        if erase(&disk, Path::new(ROOT), &far(), Some(id)).is_ok() {
            assert!(step > 20, "{step} steps are too few for a pool");
            return;
        }
        let disk = disk.after_crash(step);
        erase(&disk, Path::new(ROOT), &far(), Some(id)).unwrap_or_else(|error| panic!("{step}: {error}"));
        assert_eq!(disk.files(), [] as [PathBuf; 0], "{step}");
    }
}

#[test]
fn an_error_of_the_disk_at_every_call_of_a_removal_is_told_and_the_next_removal_finishes() {
    for call in 0.. {
        let (disk, id) = made();
        let first = disk.calls();
        disk.fail_call(first + call, Fault::Eio);
        let erased = erase(&disk, Path::new(ROOT), &far(), Some(id));
        if !disk.has_failed() {
            erased.unwrap();
            return;
        }
        disk.heal();
        if let Err(error) = erased {
            assert!(matches!(error, StoreError::Io(_)), "{call}: {error}");
        }
        erase(&disk, Path::new(ROOT), &far(), Some(id)).unwrap_or_else(|error| panic!("{call}: {error}"));
        assert_eq!(disk.files(), [] as [PathBuf; 0], "{call}");
    }
}

#[test]
fn a_power_cut_at_every_step_of_making_a_pool_leaves_what_is_made_whole_or_removed() {
    for step in 0.. {
        let disk = disk_for(1, &options());
        let first = disk.steps();
        disk.crash_at(first + step);
        let made = open(&disk, &options()).map(drop);
        if made.is_ok() && !disk.has_crashed() {
            assert!(step > 10, "{step} steps are too few for a pool");
            return;
        }
        let whole = disk.after_crash(step);
        open(&whole, &options()).unwrap_or_else(|error| panic!("{step}, made whole: {error}"));
        let gone = disk.after_crash(step);
        erase(&gone, Path::new(ROOT), &far(), None)
            .unwrap_or_else(|error| panic!("{step}, removed: {error}"));
        assert_eq!(gone.files(), [] as [PathBuf; 0], "{step}");
    }
}

#[test]
fn nothing_of_another_pool_or_of_nobody_is_removed() {
    let (disk, id) = made();
    let before = disk.files();
    for (home, id) in [(ROOT, Some([1; 16])), (FAR, None)] {
        let wrong = erase(&disk, Path::new(home), &[], id);
        assert!(matches!(wrong, Err(StoreError::Folder { .. })), "{wrong:?}");
    }
    assert_eq!(disk.files(), before);
    let store = open(&disk, &options()).unwrap();
    store.create(owner(1), b"").unwrap();
    let Err(StoreError::Folder { why, .. }) = erase(&disk, Path::new(ROOT), &far(), None) else {
        panic!("used")
    };
    assert!(why.contains("in use"), "{why}");
    let Err(StoreError::Io(busy)) = erase(&disk, Path::new(ROOT), &[], Some(id)) else { panic!("in use") };
    assert_eq!(busy.op, "lock");
    drop(store);

    touch(&disk, "/pool/letter");
    erase(&disk, Path::new(ROOT), &far(), Some(id)).unwrap();
    assert_eq!(disk.files(), [PathBuf::from("/pool/letter")]);
    disk.take_away(Path::new(FAR)).unwrap();
    let Err(StoreError::Folder { path, why }) = erase(&disk, Path::new(ROOT), &far(), Some(id)) else {
        panic!("its disk is not there")
    };
    assert!(path == Path::new(FAR) && why.contains("mount"), "{why}");
}

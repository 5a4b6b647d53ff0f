//! Pools that are made and removed in this process, what a crash leaves of that, and the memory that they share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vtl_api::{
    ApiError, CreateCartridges, CreatePool, ErrorCode, ImportKey, OnPool, RemoveCartridge, RemovePool,
    RotateStoreKey,
};
use vtl_durable::RealDisk;
use vtl_store::{Options, site};
use vtl_types::PoolName;

use crate::access::rules::Granted;
use crate::daemon::Daemon;
use crate::daemon::tests::open;
use crate::pools::rows::{self, KeyPlace, PoolRow, PoolState};
use crate::pools::{MOST_POOLS, make_folders, open_store, pool_key};
use crate::state::hexadecimal;
use crate::survey::tests::{asked, hang};
use crate::take_in::tests::DamagedHead;

/// A folder with the state of a daemon, and folders of pools.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn daemon(&self, set: &[&str]) -> Arc<Daemon> {
        open(self.0.path(), set)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }

    fn request(&self, name: &str, folders: &[&str]) -> CreatePool {
        let paths = folders.iter().map(|folder| self.path(folder).display().to_string()).collect();
        CreatePool { name: name.to_owned(), paths, ..CreatePool::default() }
    }

    fn row(&self, state: PoolState) -> PoolRow {
        PoolRow {
            name: name("p1"),
            state,
            store_id: None,
            home: self.path("home"),
            folders: vec![self.path("far")],
            key: None,
            next_key: None,
            dedupe: true,
            chunk_bytes: 16 << 10,
            compression_level: 1,
            size_bytes: None,
            created_s: 1,
        }
    }

    /// A file with a key for a pool.
    fn key(&self, file: &str, byte: u8) -> String {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(self.path(file), [byte; 32]).unwrap();
        std::fs::set_permissions(self.path(file), std::fs::Permissions::from_mode(0o600)).unwrap();
        self.path(file).display().to_string()
    }

    /// A whole pool in the folders of the row, which nobody has open.
    fn whole(&self) -> [u8; 16] {
        let row = self.row(PoolState::Making);
        make_folders(&row).unwrap();
        let options = Options { folders: row.folders, ..Options::default() };
        open_store(&row.home, options).unwrap().id()
    }

    /// The inventory lists the row at the next start.
    fn list(&self, row: &PoolRow) {
        let daemon = self.daemon(&[]);
        daemon.meta.change(|tx| Ok(rows::insert(tx, row)?)).unwrap();
        daemon.stop();
    }

    fn files(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(folder)) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn name(text: &str) -> PoolName {
    text.parse().unwrap()
}

fn cartridge(label: &str, pool: Option<&str>) -> CreateCartridges {
    CreateCartridges {
        label: label.to_owned(),
        library: None,
        size_bytes: Some(1 << 30),
        pool: pool.map(str::to_owned),
        worm: false,
        count: 1,
    }
}

fn remove_for_good(daemon: &Daemon, label: &str) -> Result<vtl_api::Done, ApiError> {
    daemon.cartridge_remove(label, &RemoveCartridge { now: true, confirm: Some(label.to_owned()) })
}

fn remove(daemon: &Daemon, pool: &str) -> Result<vtl_api::Done, ApiError> {
    daemon.pool_remove(pool, RemovePool::default())
}

fn state(daemon: &Daemon, pool: &str) -> Option<String> {
    daemon.pool_list().unwrap().into_iter().find(|one| one.name == pool).map(|one| one.state)
}

/// It takes a cartridge, and is removed without it.
fn works_and_goes(place: &Place, daemon: &Daemon) {
    daemon.cartridge_create(&cartridge("NEW001L8", Some("p1"))).unwrap();
    assert_eq!(daemon.cartridge_show("NEW001L8").unwrap().pool, "p1");
    assert_eq!(daemon.store_check(&OnPool { pool: Some("p1".to_owned()) }).unwrap().damage, []);
    remove_for_good(daemon, "NEW001L8").unwrap();
    remove(daemon, "p1").unwrap();
    assert_eq!(state(daemon, "p1"), None);
    assert_eq!((place.files("home"), place.files("far")), (vec![], vec![]));
}

#[test]
fn a_crash_at_any_step_of_making_a_pool_leaves_one_that_the_next_start_makes_whole() {
    for steps in 0..=4 {
        let place = Place::new();
        let row = place.row(PoolState::Making);
        place.list(&row);
        if steps >= 1 {
            std::fs::create_dir(&row.home).unwrap();
        }
        if steps >= 2 {
            std::fs::create_dir(&row.folders[0]).unwrap();
        }
        if steps == 3 {
            std::fs::create_dir(row.home.join("journal")).unwrap();
        }
        if steps >= 4 {
            place.whole();
        }
        let daemon = place.daemon(&[]);
        assert_eq!(state(&daemon, "p1").as_deref(), Some("ok"), "{steps}: {:?}", daemon.problems());
        works_and_goes(&place, &daemon);
        daemon.stop();
    }
}

#[test]
fn a_pool_that_cannot_be_made_whole_is_told_and_goes() {
    let place = Place::new();
    let row = PoolRow { home: place.path("disk/home"), ..place.row(PoolState::Making) };
    place.list(&row);
    let daemon = place.daemon(&[]);
    assert_eq!(state(&daemon, "p1").as_deref(), Some("closed"));
    let problem = daemon.problems().into_iter().find(|problem| problem.subject == "pool p1").unwrap();
    assert!(
        problem.message.contains("disk/home") && problem.remedy.contains("vtl pool rm p1"),
        "{problem:?}"
    );
    remove(&daemon, "p1").unwrap();
    assert_eq!(state(&daemon, "p1"), None);
    daemon.stop();
}

#[test]
fn a_crash_at_any_step_of_a_removal_is_finished_by_the_next_start() {
    for steps in 0..=3 {
        let place = Place::new();
        let store_id = Some(place.whole());
        let row = PoolRow { store_id, ..place.row(PoolState::Removing) };
        place.list(&row);
        match steps {
            0 => {}
            1 => std::fs::remove_dir_all(row.folders[0].join("packs")).unwrap(),
            2 => std::fs::remove_dir_all(row.home.join("journal")).unwrap(),
            _ => site::erase(&RealDisk::new(), &row.home, &row.folders, store_id).unwrap(),
        }
        let daemon = place.daemon(&[]);
        assert_eq!(state(&daemon, "p1"), None, "{steps}");
        assert_eq!((place.files("home"), place.files("far")), (vec![], vec![]), "{steps}");
        daemon.pool_create(&place.request("p1", &["home", "far"])).unwrap();
        daemon.stop();
    }
}

#[test]
fn a_removal_whose_folder_is_away_is_told_and_ends_when_it_is_back_or_forgotten() {
    for forget in [false, true] {
        let place = Place::new();
        let row = PoolRow { store_id: Some(place.whole()), ..place.row(PoolState::Removing) };
        place.list(&row);
        std::fs::rename(place.path("far"), place.path("away")).unwrap();
        let daemon = place.daemon(&[]);
        assert_eq!(state(&daemon, "p1").as_deref(), Some("closed"));
        let again = remove(&daemon, "p1").unwrap_err();
        assert!(
            again.message.contains("far") && again.remedy.unwrap().contains("--forget"),
            "{}",
            again.message
        );
        if forget {
            daemon.pool_remove("p1", RemovePool { forget: true }).unwrap();
            assert!(!place.files("home").is_empty());
        } else {
            std::fs::rename(place.path("away"), place.path("far")).unwrap();
            remove(&daemon, "p1").unwrap();
            assert_eq!((place.files("home"), place.files("far")), (vec![], vec![]));
        }
        assert_eq!(state(&daemon, "p1"), None);
        daemon.stop();
    }
}

#[test]
fn a_pool_that_is_used_is_not_removed_and_what_is_in_the_way_is_named() {
    let place = Place::new();
    let daemon = place.daemon(&[]);
    daemon.pool_create(&place.request("p1", &["home"])).unwrap();
    let refused = |daemon: &Daemon, word: &str| {
        let refused = remove(daemon, "p1").unwrap_err();
        assert_eq!(refused.code, ErrorCode::Conflict);
        assert!(refused.message.contains(word) && refused.remedy.is_some(), "{}", refused.message);
    };
    daemon.cartridge_create(&cartridge("NEW001L8", Some("p1"))).unwrap();
    refused(&daemon, "NEW001L8");
    let hold = vtl_api::SetCartridge { hold: Some(true), ..Default::default() };
    daemon.cartridge_set("NEW001L8", &hold).unwrap();
    refused(&daemon, "NEW001L8");
    daemon.cartridge_set("NEW001L8", &vtl_api::SetCartridge { hold: Some(false), ..hold }).unwrap();
    daemon.cartridge_remove("NEW001L8", &RemoveCartridge::default()).unwrap();
    refused(&daemon, "in the trash");
    remove_for_good(&daemon, "NEW001L8").unwrap();
    let library = vtl_api::SetLibrary { pool: Some("p1".to_owned()), ..Default::default() };
    daemon.library_set("lib0", &library, &Granted::default()).unwrap();
    refused(&daemon, "lib0");
    daemon.cartridge_create(&cartridge("NEW002L8", None)).unwrap();
    assert_eq!(daemon.cartridge_show("NEW002L8").unwrap().pool, "p1", "the library says so");
    remove_for_good(&daemon, "NEW002L8").unwrap();
    let library = vtl_api::SetLibrary { pool: Some("default".to_owned()), ..Default::default() };
    daemon.library_set("lib0", &library, &Granted::default()).unwrap();
    crate::jobs::Jobs::open(&daemon);
    let job = daemon.jobs.submit("gc", Some("p1".to_owned()), "{}".to_owned()).unwrap();
    refused(&daemon, &job.to_string());
    daemon.jobs.manager().unwrap().cancel(job).unwrap();
    assert!(remove(&daemon, "default").unwrap_err().message.contains("configuration"));
    assert_eq!(remove(&daemon, "p2").unwrap_err().code, ErrorCode::NotFound);
    remove(&daemon, "p1").unwrap();
    assert_eq!(place.files("home"), [] as [String; 0]);
    daemon.stop();
}

#[test]
fn folders_that_are_somebodys_are_refused_before_anything_is_written() {
    let place = Place::new();
    let daemon = place.daemon(&[]);
    daemon.pool_create(&place.request("p1", &["home", "far"])).unwrap();
    std::fs::create_dir_all(place.path("full/inner")).unwrap();
    std::os::unix::fs::symlink(place.path("home"), place.path("link")).unwrap();
    for (folders, word) in [
        (&["state/p2"][..], "state folder"),
        (&["home"], "pool p1"),
        (&["link"], "pool p1"),
        (&["new", "far/below"], "pool p1"),
        (&["new", "new"], "named twice"),
        (&["full"], "inner"),
        (&["nowhere/new"], "No such file"),
    ] {
        let refused = daemon.pool_create(&place.request("p2", folders)).unwrap_err();
        assert!(refused.message.contains(word), "{folders:?}: {}", refused.message);
        assert!(refused.remedy.is_some(), "{folders:?}");
    }
    let above = CreatePool { paths: vec![place.path("").display().to_string()], ..place.request("p2", &[]) };
    assert!(daemon.pool_create(&above).unwrap_err().message.contains("state folder"));
    let relative = CreatePool { paths: vec!["here".to_owned()], ..place.request("p2", &[]) };
    assert!(daemon.pool_create(&relative).unwrap_err().message.contains("absolute"));
    for (wrong, code) in [
        (place.request("p1", &["new"]), ErrorCode::Exists),
        (place.request("default", &["new"]), ErrorCode::Exists),
        (place.request("P 2", &["new"]), ErrorCode::Invalid),
        (place.request("p2", &[]), ErrorCode::Invalid),
        (CreatePool { encrypted: true, ..place.request("p2", &["new"]) }, ErrorCode::Invalid),
        (CreatePool { chunk_bytes: Some(5), ..place.request("p2", &["new"]) }, ErrorCode::Invalid),
        (CreatePool { size_bytes: Some(5), ..place.request("p2", &["new"]) }, ErrorCode::Invalid),
        (CreatePool { compression_level: Some(99), ..place.request("p2", &["new"]) }, ErrorCode::Invalid),
    ] {
        assert_eq!(daemon.pool_create(&wrong).unwrap_err().code, code, "{wrong:?}");
    }
    assert!(!place.path("new").exists());
    assert_eq!(daemon.pool_list().unwrap().len(), 2);
    daemon.stop();
}

#[test]
fn a_pool_that_is_there_is_not_overwritten_and_is_taken_in_with_its_cartridges_also_blank_ones() {
    let place = Place::new();
    let other = Place::new();
    let daemon = other.daemon(&["library.default=none"]);
    daemon.pool_create(&place.request("far-away", &["home", "far"])).unwrap();
    let new = vtl_library::NewCartridges {
        first: "OLD001L8".parse().unwrap(),
        count: 2,
        library: None,
        place: vtl_library::NewPlace::Vault,
    };
    let pool = daemon.pools.named(&name("far-away")).unwrap();
    daemon.make_cartridges_in(&pool, &new, None).unwrap();
    drop(pool);
    daemon.stop();
    drop(daemon);

    let daemon = place.daemon(&[]);
    let refused = daemon.pool_create(&place.request("p1", &["home", "far"])).unwrap_err();
    assert!(refused.remedy.unwrap().contains("--adopt"), "{}", refused.message);
    let adopt = |folders: &[&str]| CreatePool { adopt: true, ..place.request("p1", folders) };
    for wrong in [&["far", "home"][..], &["home"]] {
        daemon.pool_create(&adopt(wrong)).unwrap_err();
        assert_eq!(state(&daemon, "p1"), None, "{wrong:?}");
    }
    let done = daemon.pool_create(&adopt(&["home", "far"])).unwrap();
    assert!(done.message.contains("2 cartridges"), "{}", done.message);
    let told = daemon.cartridge_show("OLD002L8").unwrap();
    assert_eq!((told.pool.as_str(), told.place.kind.as_str()), ("p1", "vault"));
    daemon.stop();
    drop(daemon);
    let daemon = place.daemon(&[]);
    assert_eq!(daemon.cartridge_show("OLD001L8").unwrap().pool, "p1");
    assert!(remove(&daemon, "p1").unwrap_err().message.contains("OLD001L8"));
    daemon.stop();
}

#[test]
fn a_cartridge_of_a_pool_that_is_taken_in_whose_label_is_in_use_is_told_with_what_frees_it_and_not_counted() {
    let place = Place::new();
    let other = Place::new();
    let daemon = other.daemon(&["library.default=none"]);
    daemon.pool_create(&place.request("far-away", &["home"])).unwrap();
    let taken = copy_in(&daemon, "far-away", "VTL001L8", true);
    copy_in(&daemon, "far-away", "OLD001L8", true);
    daemon.stop();
    drop(daemon);

    let daemon = place.daemon(&[]);
    let adopt = CreatePool { adopt: true, ..place.request("p1", &["home"]) };
    let done = daemon.pool_create(&adopt).unwrap();
    assert!(done.message.contains("with 1 cartridges"), "{}", done.message);
    assert_eq!(daemon.cartridge_show("VTL001L8").unwrap().pool, "default");
    let told = |daemon: &Daemon| {
        let subject = crate::state::hexadecimal(&taken.0);
        daemon.problems().into_iter().filter(|problem| problem.subject == subject).collect::<Vec<_>>()
    };
    let is_told_once = |daemon: &Daemon| {
        let told = told(daemon);
        assert!(matches!(&told[..], [one] if one.message.contains("VTL001L8, in pool p1,")), "{told:?}");
        assert!(told[0].remedy.contains("vtl cartridge rm VTL001L8 --now --confirm VTL001L8"), "{told:?}");
    };
    is_told_once(&daemon);
    daemon.stop();
    drop(daemon);
    let daemon = place.daemon(&[]);
    is_told_once(&daemon);
    remove_for_good(&daemon, "VTL001L8").unwrap();
    daemon.stop();
    drop(daemon);
    let daemon = place.daemon(&[]);
    assert_eq!(daemon.cartridge_show("VTL001L8").unwrap().pool, "p1");
    assert_eq!(told(&daemon), []);
    daemon.stop();
}

#[test]
fn an_older_inventory_that_has_a_cartridge_in_the_wrong_pool_is_set_right_by_a_start() {
    let place = Place::new();
    let daemon = place.daemon(&[]);
    daemon.pool_create(&place.request("p1", &["home"])).unwrap();
    daemon.cartridge_create(&cartridge("NEW001L8", Some("p1"))).unwrap();
    let id = daemon.meta.read(|tx| vtl_library::cartridge(tx, "NEW001L8".parse().unwrap())).unwrap().id;
    daemon.meta.change(|tx| Ok(rows::take_out(tx, id)?)).unwrap();
    assert!(daemon.nothing_is_lost(daemon.pools.default()).is_err());
    daemon.stop();
    drop(daemon);
    let daemon = place.daemon(&[]);
    assert_eq!(daemon.cartridge_show("NEW001L8").unwrap().pool, "p1");
    daemon.nothing_is_lost(daemon.pools.default()).unwrap();
    daemon.stop();
}

#[test]
fn all_pools_together_never_have_more_than_the_memory_that_is_configured() {
    let place = Place::new();
    let set = ["store.memory=64m"];
    let check = |daemon: &Daemon| {
        let open = daemon.pools.open_ones();
        assert!(open.iter().map(|pool| pool.memory_bytes).sum::<usize>() <= 64 << 20);
        for pool in &open {
            let index = pool.store.index_stats().memory_peak;
            assert!(index > 0 && index <= pool.memory_bytes / 4 * 3, "{}: {index}", pool.name);
        }
        open.iter().map(|pool| pool.memory_bytes).collect::<Vec<_>>()
    };
    let daemon = place.daemon(&set);
    let mut made = 0;
    let refused = loop {
        match daemon.pool_create(&place.request(&format!("p{made}"), &[&format!("home{made}")])) {
            Ok(_) => made += 1,
            Err(refused) => break refused,
        }
        assert!(made < MOST_POOLS);
        check(&daemon);
    };
    assert_eq!(refused.code, ErrorCode::Full);
    assert!(made >= 1 && refused.remedy.unwrap().contains("restart"), "{made}");
    let before = check(&daemon);
    daemon.stop();
    drop(daemon);
    let daemon = place.daemon(&set);
    let after = check(&daemon);
    assert!(after.iter().all(|share| *share == after[0]) && after.len() == before.len(), "{after:?}");
    remove(&daemon, "p0").unwrap();
    daemon.pool_create(&place.request("p0", &["home0"])).unwrap();
    check(&daemon);
    daemon.stop();
}

#[test]
fn no_file_of_the_state_folder_becomes_a_key_of_a_pool_or_of_exports() {
    let place = Place::new();
    let daemon = place.daemon(&[]);
    let token = daemon.state.path().join("api.token");
    let link = place.path("link");
    std::os::unix::fs::symlink(&token, &link).unwrap();
    for file in [&token, &link] {
        let file = || Some(file.display().to_string());
        let with_key = CreatePool { key_file: file(), ..place.request("p1", &["home"]) };
        let with_words = CreatePool { passphrase_file: file(), ..place.request("p1", &["home"]) };
        let rotate = RotateStoreKey { pool: None, key_file: None, passphrase_file: file() };
        let import = ImportKey { file: file().unwrap(), name: "own".to_owned() };
        for refused in [
            daemon.pool_create(&with_key).unwrap_err(),
            daemon.pool_create(&with_words).unwrap_err(),
            daemon.store_key_rotate(&rotate).unwrap_err(),
            daemon.key_import(&import).unwrap_err(),
        ] {
            assert_eq!(refused.code, ErrorCode::Invalid);
            assert!(refused.message.contains("for this server alone"), "{}", refused.message);
            assert!(refused.remedy.unwrap().contains("a folder of your own"), "{}", refused.message);
        }
    }
    daemon.stop();
}

#[test]
fn no_key_of_a_pool_and_no_secret_of_the_configuration_is_sent_to_a_remote_as_its_password() {
    let place = Place::new();
    let files = [("first", b'w'), ("second", b'x'), ("hook", b'y'), ("own", b'z')];
    let [first, second, hook, own] = files.map(|(name, byte)| place.key(name, byte));
    // Drivers want it when they are made.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let _inside = runtime.enter();
    let set = [
        "alerts.webhook.url=\"http://127.0.0.1:1/\"".to_owned(),
        format!("alerts.webhook.secret_file=\"{hook}\""),
    ];
    let daemon = place.daemon(&set.each_ref().map(String::as_str));
    let remote = |name: &str, file: &str| {
        let request = serde_json::json!({
            "name": name, "type": "webdav", "endpoint": "http://127.0.0.1:1/dav", "allow_http": true,
            "user": "u", "password_file": file
        });
        daemon.remote_create(&serde_json::from_value(request).unwrap())
    };
    remote("before", &first).unwrap();
    let with_key = CreatePool { key_file: Some(first.clone()), ..place.request("p1", &["home"]) };
    daemon.pool_create(&with_key).unwrap();
    let also = CreatePool { key_file: Some(first.clone()), ..place.request("p2", &["also"]) };
    daemon.pool_create(&also).unwrap();
    let pool = Some("p1".to_owned());
    let rotate = RotateStoreKey { pool, key_file: Some(second.clone()), passphrase_file: None };
    daemon.store_key_rotate(&rotate).unwrap();
    for file in [&first, &second, &hook] {
        let refused = remote("mine", file).unwrap_err();
        assert_eq!((refused.code, refused.field.as_deref()), (ErrorCode::Invalid, Some("password_file")));
        assert!(refused.message.contains("for this server alone"), "{}", refused.message);
    }
    remote("mine", &own).unwrap();
    assert!(daemon.remotes.open("before").is_err(), "what has become a key since goes nowhere");
    daemon.stop();
}

#[test]
fn a_pool_that_the_request_cannot_open_is_not_taken_in_and_what_would_have_to_change_is_named() {
    let place = Place::new();
    let other = Place::new();
    let (right, wrong) = (place.key("right", 1), place.key("wrong", 2));
    let daemon = other.daemon(&["library.default=none"]);
    let sealed = CreatePool { key_file: Some(right.clone()), ..place.request("sealed", &["home"]) };
    daemon.pool_create(&sealed).unwrap();
    daemon.pool_create(&place.request("wide", &["first", "second"])).unwrap();
    daemon.stop();
    drop(daemon);

    let daemon = place.daemon(&[]);
    let adopt = |folders: &[&str], key_file: Option<&String>, passphrase_file: Option<&String>| CreatePool {
        adopt: true,
        key_file: key_file.cloned(),
        passphrase_file: passphrase_file.cloned(),
        ..place.request("p1", folders)
    };
    for (request, member) in [
        (adopt(&["home"], None, None), "key_file"),
        (adopt(&["home"], Some(&wrong), None), "key_file"),
        (adopt(&["home"], None, Some(&right)), "passphrase_file"),
        (adopt(&["first"], None, None), "paths"),
    ] {
        let refused = daemon.pool_create(&request).unwrap_err();
        assert_eq!(
            (refused.code, refused.field.as_deref()),
            (ErrorCode::Invalid, Some(member)),
            "{refused:?}"
        );
        assert!(refused.remedy.is_some(), "{refused:?}");
        assert_eq!(state(&daemon, "p1"), None);
    }
    daemon.pool_create(&adopt(&["home"], Some(&right), None)).unwrap();
    daemon.stop();
}

#[test]
fn a_rotation_that_was_cut_off_opens_with_whichever_key_is_in_effect() {
    let place = Place::new();
    let (old, new) = (place.key("old", 1), place.key("new", 2));
    for rotated in [false, true] {
        let daemon = place.daemon(&[]);
        let pool = format!("p{}", u8::from(rotated));
        let request = CreatePool { key_file: Some(old.clone()), ..place.request(&pool, &[&pool]) };
        daemon.pool_create(&request).unwrap();
        let open = daemon.pools.named(&name(&pool)).unwrap();
        let place_of = KeyPlace { method: vtl_conf::StoreKeyMethod::KeyFile, file: new.clone() };
        daemon.pools.note_next_key(&open, &place_of).unwrap();
        if rotated {
            let read = vtl_conf::store_key(Path::new(&new), place_of.method).unwrap();
            open.store.rotate_key(pool_key(&read).unwrap(), vtl_store::PassphraseCost::default()).unwrap();
        }
        drop(open);
        daemon.stop();
        drop(daemon);
        let daemon = place.daemon(&[]);
        assert_eq!(state(&daemon, &pool).as_deref(), Some("ok"), "{:?}", daemon.problems());
        let told = daemon.pool_show(&pool).unwrap();
        assert_eq!(told.key_file.as_ref(), Some(if rotated { &new } else { &old }));
        daemon.stop();
    }
}

/// What an import leaves in the pool's store when it is cut off: a copy that is finished, or one that is not.
fn copy_in(daemon: &Daemon, pool: &str, label: &str, finished: bool) -> vtl_types::CartridgeId {
    use vtl_cartridge::{Cartridge, CartridgeSpec, Settings};
    let store = daemon.pools.named(&name(pool)).unwrap().store.clone();
    let id = vtl_types::CartridgeId(crate::random::id());
    let label: vtl_types::Label = label.parse().unwrap();
    let spec = CartridgeSpec {
        label,
        serial: "SERIAL01".to_owned(),
        kind: label.media(),
        capacity: vtl_types::ByteCount(1 << 30),
        early_warning: None,
        write_protected: false,
        created_s: 1,
        place: None,
    };
    Cartridge::begin_copy(&store, id, &spec).unwrap();
    let mut copy = Cartridge::open(&store, id, Settings::default()).unwrap();
    copy.write_block(&[bytes::Bytes::from_static(b"a block")], true).unwrap();
    if finished {
        copy.finish_copy(5).unwrap()
    } else {
        copy.close().unwrap()
    }
    id
}

#[test]
fn an_import_that_was_cut_off_before_it_was_listed_is_in_its_pool_or_nowhere() {
    let place = Place::new();
    let daemon = place.daemon(&[]);
    daemon.pool_create(&place.request("p1", &["home"])).unwrap();
    copy_in(&daemon, "p1", "FIN001L8", true);
    let unfinished = copy_in(&daemon, "p1", "UNF001L8", false);
    daemon.stop();
    drop(daemon);
    let daemon = place.daemon(&[]);
    let told = daemon.cartridge_show("FIN001L8").unwrap();
    assert_eq!((told.pool.as_str(), told.place.kind.as_str()), ("p1", "vault"));
    assert!(daemon.cartridge_show("UNF001L8").is_err());
    assert!(!daemon.pools.named(&name("p1")).unwrap().has(unfinished));
    daemon.stop();
}

#[test]
fn a_pool_that_an_import_or_a_repair_is_for_is_not_removed_before_that_has_ended() {
    use vtl_migrate::{IMPORT, ImportRequest, REPAIR};
    let place = Place::new();
    let daemon = place.daemon(&[]);
    // Without being started: what is asked for waits.
    crate::jobs::Jobs::open(&daemon);
    daemon.pool_create(&place.request("p1", &["home"])).unwrap();
    let import = ImportRequest {
        remote: "r".to_owned(),
        folder: "VTL001L8-20261126_031500".to_owned(),
        as_label: None,
        lazy: false,
        pool: Some("p1".to_owned()),
    };
    let import = serde_json::to_string(&import).unwrap();
    let waiting = [
        daemon.jobs.submit(IMPORT, Some("VTL001L8".to_owned()), import).unwrap(),
        daemon.jobs.submit(REPAIR, Some("p1".to_owned()), r#"{"pool":"p1"}"#.to_owned()).unwrap(),
    ];
    for id in waiting {
        let refused = remove(&daemon, "p1").unwrap_err();
        assert_eq!(refused.code, ErrorCode::Conflict);
        assert!(refused.message.contains(&id.to_string()), "{}", refused.message);
        daemon.job_cancel(&id.to_string()).unwrap();
    }
    remove(&daemon, "p1").unwrap();
    daemon.stop();
}

#[test]
fn a_part_in_a_pool_that_is_opened_after_the_start_that_put_a_copy_back_is_kept() {
    let place = Place::new();
    let daemon = place.daemon(&[]);
    daemon.pool_create(&place.request("p1", &["home"])).unwrap();
    let copy = place.path("copy.db");
    daemon.meta.copy_to(&copy).unwrap();
    let unfinished = copy_in(&daemon, "p1", "UNF001L8", false);
    crate::state::stage_restore(&daemon.state, &copy).unwrap();
    daemon.stop();
    drop(daemon);
    std::fs::rename(place.path("home"), place.path("away")).unwrap();
    for _ in 0..2 {
        let daemon = place.daemon(&[]);
        assert_eq!(state(&daemon, "p1").as_deref(), Some("closed"));
        daemon.stop();
    }
    let daemon = place.daemon(&[]);
    std::fs::rename(place.path("away"), place.path("home")).unwrap();
    daemon.pool_open("p1").unwrap();
    assert!(daemon.pools.named(&name("p1")).unwrap().has(unfinished));
    let subject = crate::state::hexadecimal(&unfinished.0);
    assert!(daemon.problems().iter().any(|problem| problem.subject == subject));
    assert!(!daemon.meta.is_not_compared(&name("p1")).unwrap());
    daemon.stop();
}

/// A blank cartridge in the vault.
fn blank_in(daemon: &Daemon, pool: &str, label: &str) -> vtl_types::CartridgeId {
    let new = vtl_library::NewCartridges {
        first: label.parse().unwrap(),
        count: 1,
        library: None,
        place: vtl_library::NewPlace::Vault,
    };
    let pool = daemon.pools.named(&name(pool)).unwrap();
    daemon.make_cartridges_in(&pool, &new, None).unwrap()[0].id
}

#[test]
fn parts_and_blank_cartridges_of_a_pool_that_is_taken_in_stay() {
    let place = Place::new();
    let other = Place::new();
    let daemon = other.daemon(&["library.default=none"]);
    daemon.pool_create(&place.request("far-away", &["home"])).unwrap();
    blank_in(&daemon, "far-away", "OLD001L8");
    let unfinished = copy_in(&daemon, "far-away", "UNF001L8", false);
    daemon.stop();
    drop(daemon);

    let daemon = place.daemon(&[]);
    daemon.pool_create(&CreatePool { adopt: true, ..place.request("p1", &["home"]) }).unwrap();
    let stay = |daemon: &Daemon| {
        assert_eq!(daemon.cartridge_show("OLD001L8").unwrap().pool, "p1");
        assert!(daemon.pools.named(&name("p1")).unwrap().has(unfinished));
    };
    stay(&daemon);
    daemon.stop();
    drop(daemon);
    let daemon = place.daemon(&[]);
    stay(&daemon);
    daemon.stop();
}

#[test]
fn a_cartridge_that_cannot_be_read_keeps_no_pool_from_being_taken_in_and_stays_until_it_can() {
    let place = Place::new();
    let other = Place::new();
    let daemon = other.daemon(&["library.default=none"]);
    daemon.pool_create(&place.request("far-away", &["home"])).unwrap();
    let unread = copy_in(&daemon, "far-away", "UNR001L8", true);
    copy_in(&daemon, "far-away", "RED001L8", true);
    let unfinished = copy_in(&daemon, "far-away", "UNF001L8", false);
    daemon.stop();
    drop(daemon);
    let head = DamagedHead::of(&place.path("home"), unread);
    let subject = hexadecimal(&unread.0);
    let stays = |daemon: &Daemon| {
        assert_eq!(state(daemon, "p1").as_deref(), Some("ok"));
        assert_eq!(daemon.cartridge_show("RED001L8").unwrap().pool, "p1");
        assert!(daemon.cartridge_show("UNR001L8").is_err());
        let pool = daemon.pools.named(&name("p1")).unwrap();
        assert!(pool.has(unread) && pool.has(unfinished) && head.is_left_alone());
        let told = daemon.problems().into_iter().find(|problem| problem.subject == subject).unwrap();
        assert!(told.message.contains("cannot be read"), "{told:?}");
    };

    let daemon = place.daemon(&[]);
    daemon.pool_create(&CreatePool { adopt: true, ..place.request("p1", &["home"]) }).unwrap();
    stays(&daemon);
    daemon.cartridge_create(&cartridge("NEW001L8", Some("p1"))).unwrap();
    remove_for_good(&daemon, "NEW001L8").unwrap();
    daemon.stop();
    drop(daemon);
    let daemon = place.daemon(&[]);
    stays(&daemon);
    remove_for_good(&daemon, "RED001L8").unwrap();
    let refused = remove(&daemon, "p1").unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict);
    assert!(refused.message.contains("that the inventory does not list"), "{}", refused.message);
    daemon.stop();
    drop(daemon);

    head.mend();
    let daemon = place.daemon(&[]);
    assert_eq!(daemon.cartridge_show("UNR001L8").unwrap().pool, "p1");
    assert!(daemon.pools.named(&name("p1")).unwrap().has(unfinished));
    assert!(!daemon.problems().iter().any(|problem| problem.subject == subject));
    daemon.stop();
}

#[test]
fn a_pool_is_taken_in_once_and_what_could_not_be_read_then_is_listed_when_it_can_be() {
    use vtl_cartridge::Cartridge;
    let place = Place::new();
    let other = Place::new();
    let daemon = other.daemon(&["library.default=none"]);
    daemon.pool_create(&place.request("far-away", &["home"])).unwrap();
    let old = blank_in(&daemon, "far-away", "OLD001L8");
    daemon.stop();
    drop(daemon);
    let head = DamagedHead::of(&place.path("home"), old);

    let daemon = place.daemon(&[]);
    daemon.pool_create(&CreatePool { adopt: true, ..place.request("p1", &["home"]) }).unwrap();
    assert!(daemon.cartridge_show("OLD001L8").is_err());
    // What a crash leaves of a creation.
    let cut_off = vtl_types::CartridgeId(crate::random::id());
    let store = daemon.pools.named(&name("p1")).unwrap().store.clone();
    Cartridge::create(&store, cut_off, &crate::take_in::tests::spec("NEW001L8")).unwrap();
    drop(store);
    daemon.stop();
    drop(daemon);
    head.mend();
    let daemon = place.daemon(&[]);
    assert_eq!(daemon.cartridge_show("OLD001L8").unwrap().pool, "p1");
    assert!(daemon.cartridge_show("NEW001L8").is_err());
    let pool = daemon.pools.named(&name("p1")).unwrap();
    assert_eq!([old, cut_off].map(|id| pool.has(id)), [true, false]);
    daemon.stop();
}

#[test]
fn notes_of_what_is_in_a_pool_go_with_it_when_it_is_not_listed_any_more() {
    let place = Place::new();
    let daemon = place.daemon(&[]);
    daemon.pool_create(&place.request("p1", &["home"])).unwrap();
    let id = vtl_types::CartridgeId([7; 16]);
    let is_noted = || daemon.meta.is_not_read(id).unwrap();
    let noted = daemon.meta.change(|tx| {
        rows::put_in(tx, id, &name("p1"))?;
        Ok(crate::meta::note_not_read(tx, id)?)
    });
    assert!(noted.is_ok() && is_noted());
    remove(&daemon, "p1").unwrap();
    assert!(!is_noted());
    daemon.stop();
}

#[test]
fn a_row_that_is_all_that_is_left_keeps_its_label_from_nothing_in_a_pool_that_is_opened_later() {
    use crate::trash::{Wait, note};
    let place = Place::new();
    let daemon = place.daemon(&[]);
    daemon.pool_create(&place.request("p1", &["home"])).unwrap();
    daemon.cartridge_create(&cartridge("NEW001L8", Some("p1"))).unwrap();
    let label = "NEW001L8".parse().unwrap();
    // A removal at once that was cut off after its first half.
    let going = daemon.meta.change(|tx| {
        let going = vtl_library::begin_remove(tx, label)?;
        note(tx, going.id, Wait::Not)?;
        Ok(going)
    });
    let store = daemon.pools.named(&name("p1")).unwrap().store.clone();
    store.remove(vtl_store::OwnerId(going.unwrap().id.0)).unwrap();
    drop(store);
    let written = copy_in(&daemon, "p1", "NEW001L8", true);
    daemon.stop();
    drop(daemon);
    std::fs::rename(place.path("home"), place.path("away")).unwrap();
    let daemon = place.daemon(&[]);
    std::fs::rename(place.path("away"), place.path("home")).unwrap();
    daemon.pool_open("p1").unwrap();
    assert_eq!(daemon.find("NEW001L8").unwrap().id, written);
    assert!(daemon.trash().unwrap().is_empty());
    daemon.stop();
}

#[test]
fn what_is_in_a_pool_that_is_opened_later_is_listed_as_at_a_start_and_what_is_half_made_goes() {
    let place = Place::new();
    let daemon = place.daemon(&[]);
    daemon.pool_create(&place.request("p1", &["home"])).unwrap();
    daemon.cartridge_create(&cartridge("NEW001L8", Some("p1"))).unwrap();
    copy_in(&daemon, "p1", "FIN001L8", true);
    let unfinished = copy_in(&daemon, "p1", "UNF001L8", false);
    daemon.stop();
    drop(daemon);
    std::fs::rename(place.path("home"), place.path("away")).unwrap();
    let daemon = place.daemon(&[]);
    assert_eq!(state(&daemon, "p1").as_deref(), Some("closed"));
    let refused = daemon.pool_open("p1").unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict);
    assert!(refused.message.contains("home") && refused.remedy.unwrap().contains("vtl pool open p1"));
    assert!(daemon.cartridge_show("FIN001L8").is_err());
    std::fs::rename(place.path("away"), place.path("home")).unwrap();
    daemon.pool_open("p1").unwrap();
    assert_eq!(state(&daemon, "p1").as_deref(), Some("ok"));
    assert_eq!(daemon.cartridge_show("FIN001L8").unwrap().pool, "p1");
    assert!(daemon.cartridge_show("UNF001L8").is_err());
    assert!(!daemon.pools.named(&name("p1")).unwrap().has(unfinished));
    assert!(
        !daemon.problems().iter().any(|problem| problem.subject.contains("p1")),
        "{:?}",
        daemon.problems()
    );
    // Its memory is its own again: closing and opening costs nothing.
    let total: usize = daemon.pools.open_ones().iter().map(|pool| pool.memory_bytes).sum();
    assert!(total <= 512 << 20);
    for label in ["NEW001L8", "FIN001L8"] {
        remove_for_good(&daemon, label).unwrap();
    }
    remove(&daemon, "p1").unwrap();
    daemon.stop();
}

#[test]
fn a_quarantined_cartridge_of_a_closed_pool_that_is_taken_off_the_list_comes_back_in_quarantine() {
    let place = Place::new();
    let daemon = place.daemon(&[]);
    daemon.pool_create(&place.request("p1", &["home"])).unwrap();
    daemon.cartridge_create(&cartridge("POL001L8", Some("p1"))).unwrap();
    let find = |daemon: &Daemon| {
        daemon.meta.read(|tx| vtl_library::cartridge(tx, "POL001L8".parse().unwrap())).map(|one| one.id)
    };
    let id = find(&daemon).unwrap();
    let store = daemon.pools.named(&name("p1")).unwrap().store.clone();
    let mut tape = vtl_cartridge::Cartridge::open(&store, id, vtl_cartridge::Settings::default()).unwrap();
    tape.write_block(&[bytes::Bytes::from_static(b"a block")], true).unwrap();
    tape.close().unwrap();
    drop(store);
    daemon.meta.change(|tx| vtl_library::quarantine(tx, id, "nobody signed it")).unwrap();
    daemon.stop();
    drop(daemon);
    std::fs::rename(place.path("home"), place.path("away")).unwrap();
    let daemon = place.daemon(&[]);
    remove_for_good(&daemon, "POL001L8").unwrap();
    assert!(find(&daemon).is_err());
    std::fs::rename(place.path("away"), place.path("home")).unwrap();
    daemon.pool_open("p1").unwrap();
    assert_eq!(find(&daemon).unwrap(), id);
    let mark = daemon.meta.read(|tx| vtl_library::quarantined(tx, id)).unwrap();
    assert_eq!(mark.as_deref(), Some("nobody signed it"));
    daemon.stop();
}

#[test]
fn one_that_is_being_made_is_made_whole_by_opening_it_and_one_that_is_being_removed_is_not_opened() {
    let place = Place::new();
    let row = PoolRow { home: place.path("disk/home"), ..place.row(PoolState::Making) };
    place.list(&row);
    let daemon = place.daemon(&[]);
    assert_eq!(state(&daemon, "p1").as_deref(), Some("closed"));
    std::fs::create_dir(place.path("disk")).unwrap();
    daemon.pool_open("p1").unwrap();
    assert_eq!(state(&daemon, "p1").as_deref(), Some("ok"));
    remove(&daemon, "p1").unwrap();
    daemon.stop();
    drop(daemon);

    let place = Place::new();
    let row = PoolRow { store_id: Some(place.whole()), ..place.row(PoolState::Removing) };
    place.list(&row);
    std::fs::rename(place.path("far"), place.path("away")).unwrap();
    let daemon = place.daemon(&[]);
    let refused = daemon.pool_open("p1").unwrap_err();
    assert!(refused.remedy.unwrap().contains("vtl pool rm p1"), "{}", refused.message);
    daemon.stop();
}

fn add_folder(daemon: &Daemon, pool: &str, path: &Path) -> Result<vtl_api::Done, ApiError> {
    daemon.pool_add_folder(pool, &vtl_api::AddFolder { path: path.display().to_string() })
}

#[test]
fn a_folder_is_added_to_a_pool_in_use_and_is_there_after_a_start() {
    let place = Place::new();
    let daemon = place.daemon(&[]);
    daemon.pool_create(&place.request("p1", &["home"])).unwrap();
    std::fs::create_dir(place.path("full")).unwrap();
    std::fs::write(place.path("full/file"), b"somebody's").unwrap();
    for (pool, path, code) in [
        ("default", place.path("far"), ErrorCode::Conflict),
        ("none", place.path("far"), ErrorCode::NotFound),
        ("p1", place.path("home"), ErrorCode::Conflict),
        ("p1", place.path("home/below"), ErrorCode::Conflict),
        ("p1", place.path("state/below"), ErrorCode::Conflict),
        ("p1", place.path("full"), ErrorCode::Conflict),
        ("p1", place.path("not/there"), ErrorCode::Invalid),
    ] {
        let refused = add_folder(&daemon, pool, &path).unwrap_err();
        assert_eq!(refused.code, code, "{pool}, {}: {}", path.display(), refused.message);
    }
    assert!(place.files("far").is_empty() && place.files("full") == ["file"]);
    add_folder(&daemon, "p1", &place.path("far")).unwrap();
    for _ in 0..2 {
        assert_eq!(daemon.pool_show("p1").unwrap().folders.len(), 2);
        assert_eq!(add_folder(&daemon, "p1", &place.path("far")).unwrap_err().code, ErrorCode::Conflict);
    }
    daemon.stop();
    drop(daemon);
    let daemon = place.daemon(&[]);
    assert_eq!(state(&daemon, "p1").as_deref(), Some("ok"), "{:?}", daemon.problems());
    assert_eq!(daemon.pool_show("p1").unwrap().folders.len(), 2);
    works_and_goes(&place, &daemon);
    daemon.stop();
}

#[test]
fn a_folder_that_the_store_refuses_is_not_listed_and_the_next_start_finds_the_pool_open() {
    let place = Place::new();
    let daemon = place.daemon(&[]);
    daemon.pool_create(&place.request("p1", &["home"])).unwrap();
    // What a cut-off attempt may have left, with something in it that it has not.
    std::fs::create_dir_all(place.path("other/packs")).unwrap();
    std::fs::write(place.path("other/packs/file"), b"somebody's").unwrap();
    // Once the pool's, and with a pack of then, which is seen only when it is taken in.
    let far = place.path("far");
    std::fs::create_dir(&far).unwrap();
    let members = place.path("home/members");
    assert!(!members.exists());
    daemon.pools.named(&name("p1")).unwrap().store.add_folder(&far).unwrap();
    std::fs::remove_file(&members).unwrap();
    daemon.stop();
    drop(daemon);
    std::fs::create_dir(far.join("packs/01")).unwrap();
    std::fs::write(far.join("packs/01/0102030405060708-0a0b0c01.0000.pack"), b"").unwrap();
    let daemon = place.daemon(&[]);
    for path in [place.path("other"), far] {
        assert_eq!(
            add_folder(&daemon, "p1", &path).unwrap_err().code,
            ErrorCode::Invalid,
            "{}",
            path.display()
        );
        assert_eq!(daemon.pool_show("p1").unwrap().folders.len(), 1);
    }
    daemon.stop();
    drop(daemon);
    let daemon = place.daemon(&[]);
    assert_eq!(state(&daemon, "p1").as_deref(), Some("ok"), "{:?}", daemon.problems());
    daemon.stop();
}

#[test]
fn a_crash_at_any_step_of_adding_a_folder_leaves_it_away_or_in_and_the_same_request_ends_it() {
    for steps in 0..=3 {
        let place = Place::new();
        let daemon = place.daemon(&[]);
        daemon.pool_create(&place.request("p1", &["home"])).unwrap();
        let far = place.path("far");
        if steps >= 1 {
            std::fs::create_dir(&far).unwrap();
        }
        if steps >= 2 {
            daemon.meta.change(|tx| Ok(rows::add_folder(tx, &name("p1"), &far)?)).unwrap();
        }
        if steps >= 3 {
            // The mark is made, and the home does not know of it.
            let members = place.path("home/members");
            let before = std::fs::read(&members);
            daemon.pools.named(&name("p1")).unwrap().store.add_folder(&far).unwrap();
            match before {
                Ok(bytes) => std::fs::write(&members, bytes).unwrap(),
                Err(_) => std::fs::remove_file(&members).unwrap(),
            }
        }
        daemon.stop();
        drop(daemon);
        let daemon = place.daemon(&[]);
        assert_eq!(state(&daemon, "p1").as_deref(), Some("ok"), "{steps}: {:?}", daemon.problems());
        assert_eq!(daemon.pool_show("p1").unwrap().folders.len(), if steps >= 2 { 2 } else { 1 }, "{steps}");
        if steps < 2 {
            add_folder(&daemon, "p1", &far).unwrap();
        }
        works_and_goes(&place, &daemon);
        daemon.stop();
    }
}

#[test]
fn a_pool_whose_disks_hang_is_told_so_and_what_is_told_of_all_leaves_it_out() {
    let place = Place::new();
    let daemon = place.daemon(&[]);
    let pool = daemon.pools.default();
    assert!(daemon.system_status().unwrap().free_bytes > 7);
    hang(pool);
    let told = daemon.pool_show("default").unwrap();
    assert_eq!((told.state.as_str(), told.free_bytes), ("hung", 7), "as it was last");
    let why = told.why.unwrap();
    assert!(why.starts_with("its disks have not answered since "), "{why}");
    assert_eq!(state(&daemon, "default").as_deref(), Some("hung"));
    // Each answer asks the disks once.
    let before = asked(pool);
    let status = daemon.system_status().unwrap();
    assert_eq!((status.free_bytes, asked(pool) - before), (0, 1));
    let of_store: Vec<_> = status.problems.iter().filter(|one| one.subject == "store").collect();
    assert!(matches!(of_store[..], [one] if one.message.starts_with("its disks")), "{of_store:?}");
    daemon.metrics().unwrap();
    assert_eq!(asked(pool) - before, 2);
    daemon.stop();
}

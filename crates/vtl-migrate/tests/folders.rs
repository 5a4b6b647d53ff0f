//! Whose a folder on a remote is: a checkpoint that is older than the folder, two servers at one remote, a listing that lacks something, and what an export
//! that has ended leaves half sent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use common::{Bench, KEY, OTHER_KEY, Watched, done, ended, failed, files, noise, submit, tape};
use serde_json::{Value, json};
use vtl_jobs::{JobId, Manager, NewJob, State, Trouble};
use vtl_migrate::{EXPORT, IMPORT, PRUNE, REWRAP, VERIFY};
use vtl_remote::{
    Abilities, ByteStream, Checkpoint, Class, Doing, Error, Folder, FolderRemote, HalfSent, Head, Mode,
    ObjectName, Page, Put, Receipt, Remote, Span, StoredHash, Streams,
};

const LABEL: &str = "VTL001L8";
const FOLDER: &str = "VTL001L8-20261126_031500";
/// A job is cancelled within so much time.
const SOON: Duration = Duration::from_secs(5);

fn export(manager: &Manager) -> JobId {
    submit(manager, EXPORT, Some(LABEL), "{}")
}

fn prune(manager: &Manager, folder: Option<&str>) -> JobId {
    submit(manager, PRUNE, None, &json!({ "remote": "r", "folder": folder }).to_string())
}

fn contents(place: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files(place).into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Waits until the first object is about to be put.
fn until_put(remote: &Watched) {
    while remote.puts.lock().unwrap().is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn imported(place: &Path, folder: &Value) -> Vec<Option<Vec<u8>>> {
    let there = Bench::with_folder(place);
    let manager = there.start();
    let request = json!({ "remote": "r", "folder": folder }).to_string();
    done(&manager, submit(&manager, IMPORT, None, &request));
    there.tape(LABEL)
}

/// Exports to a folder of this place; the job as a copy of the inventory has it that was made while it was paused.
fn copied_on_its_way(place: &Path) -> NewJob {
    let here = Bench::new();
    let remote = Watched::on(place);
    here.put_remote(remote.clone());
    here.cartridge(LABEL, &tape(5));
    let manager = here.start();
    *remote.held.lock().unwrap() = true;
    let id = export(&manager);
    until_put(&remote);
    manager.pause(id).unwrap();
    manager.wait_until(id, Some(common::PATIENCE), |job| job.state == State::Paused).unwrap().unwrap();
    let checkpoint = manager.show(id).unwrap().job.checkpoint;
    let course: Value = serde_json::from_slice(&checkpoint).unwrap();
    assert_eq!((&course["folder"], &course["manifests"]), (&json!(FOLDER), &json!([])));
    *remote.held.lock().unwrap() = false;
    manager.resume(id).unwrap();
    assert_eq!(done(&manager, id)["folder"], FOLDER);
    NewJob {
        key: "copied".into(),
        kind: EXPORT.into(),
        label: Some(LABEL.into()),
        request: "{}".into(),
        checkpoint,
        ..NewJob::default()
    }
}

fn notes(manager: &Manager, id: JobId) -> String {
    manager.detail(id).unwrap().1.into_iter().map(|entry| entry.text + "\n").collect()
}

#[test]
fn a_job_of_an_older_inventory_that_is_cancelled_leaves_the_bundle_that_it_completed_later() {
    let place = tempfile::tempdir().unwrap();
    let job = copied_on_its_way(place.path());
    let before = contents(place.path());
    let restored = Bench::with_folder(place.path());
    restored.cartridge(LABEL, &tape(5));
    let manager = restored.open();
    let id = manager.submit(&job).unwrap().id;
    assert_eq!(manager.cancel(id).unwrap().job.state, State::Stopping);
    manager.start().unwrap();
    assert_eq!(ended(&manager, id).state, State::Cancelled);
    assert!(contents(place.path()) == before);
    assert!(notes(&manager, id).contains("is left as it is"), "{}", notes(&manager, id));
}

#[test]
fn a_job_of_an_older_inventory_that_goes_on_sends_to_another_folder_than_the_one_that_it_completed_later() {
    for written in [false, true] {
        let place = tempfile::tempdir().unwrap();
        let job = copied_on_its_way(place.path());
        let before = contents(place.path());
        let restored = Bench::with_folder(place.path());
        let cartridge = restored.cartridge(LABEL, &tape(5));
        let mut expected = tape(5);
        if written {
            expected.push(Some(noise(9, 1000)));
            restored.append(cartridge, &expected[expected.len() - 1..]);
        }
        let manager = restored.start();
        let id = manager.submit(&job).unwrap().id;
        let result = done(&manager, id);
        let after = contents(place.path());
        assert!(before.iter().all(|(path, bytes)| after.get(path) == Some(bytes)), "written: {written}");
        assert!(result["folder"] != FOLDER && result["exported"] == true, "{result}");
        assert!(notes(&manager, id).contains("is left as it is"), "{}", notes(&manager, id));
        assert_eq!(imported(place.path(), &json!(FOLDER)), tape(5));
        assert_eq!(imported(place.path(), &result["folder"]), expected);
    }
}

#[test]
fn two_servers_that_export_one_label_in_one_second_have_a_folder_each_before_anything_whole_is_there() {
    let place = tempfile::tempdir().unwrap();
    let (here, there) = (Bench::new(), Bench::with_folder(place.path()));
    let remote = Watched::on(place.path());
    here.put_remote(remote.clone());
    here.cartridge(LABEL, &tape(5));
    there.cartridge(LABEL, &tape(6));
    let (manager, other) = (here.start(), there.start());
    *remote.held.lock().unwrap() = true;
    let id = export(&manager);
    until_put(&remote);
    let listed = there.found();
    assert_eq!((listed.len(), listed[0].objects, listed[0].complete), (1, 0, false), "{listed:?}");
    let second = done(&other, export(&other));
    *remote.held.lock().unwrap() = false;
    let first = done(&manager, id);
    assert_ne!(first["folder"], second["folder"]);
    assert_eq!(imported(place.path(), &first["folder"]), tape(5));
    assert_eq!(imported(place.path(), &second["folder"]), tape(6));
    let left = files(place.path()).into_iter().filter(|path| path.to_string_lossy().contains(".claim."));
    assert_eq!(left.count(), 0, "a manifest keeps a folder by itself");
}

#[test]
fn an_export_leaves_a_folder_that_somebody_else_claims_or_sends_to_after_it_has_looked() {
    for rival in ["VTL001L8.claim.00ff", "VTL001L8.img.000001", "VTL001L8.manifest"] {
        let place = tempfile::tempdir().unwrap();
        let here = Bench::new();
        let remote = Watched::on(place.path());
        here.put_remote(remote.clone());
        here.cartridge(LABEL, &tape(5));
        let manager = here.start();
        let theirs = place.path().join(FOLDER).join(rival);
        *remote.rival.lock().unwrap() = Some(theirs.clone());
        let result = done(&manager, export(&manager));
        assert_ne!(result["folder"], FOLDER, "{rival}");
        assert_eq!(files(&place.path().join(FOLDER)), std::slice::from_ref(&theirs), "{rival}");
        assert_eq!(std::fs::read(theirs).unwrap(), b"half", "{rival}");
        assert_eq!(imported(place.path(), &result["folder"]), tape(5), "{rival}");
    }
}

/// A folder whose listing and puts are not as they should be.
#[derive(Debug)]
struct Odd {
    inner: Arc<FolderRemote>,
    /// Listings lack manifests.
    hides: bool,
    /// Listings lack what was created here.
    lags: bool,
    created: Mutex<Vec<String>>,
    /// Listings lack everything for now.
    lacks: Mutex<bool>,
    /// Nobody may ask for the size of an object, whether it is there or not.
    denies: Mutex<bool>,
    /// Objects are sent while they are made.
    streams: bool,
    /// Nothing is what was sent, by its hashes.
    damages: Mutex<bool>,
    /// Uploads begin and break off.
    breaks: bool,
    /// What is half sent cannot be abandoned.
    stuck: Mutex<bool>,
    /// Such calls about what has this in its name do not come back for now.
    hangs: Mutex<Option<(Doing, &'static str)>>,
    abandoned: Mutex<Vec<String>>,
    /// Listings lack what has this in its name.
    veils: Mutex<Option<&'static str>>,
    /// Each listing that shows something is shown once more, whatever was deleted since.
    echoes: Mutex<bool>,
    echo: Mutex<Option<Page>>,
    /// What has this in its name cannot be deleted for now.
    keeps: Mutex<Option<&'static str>>,
    /// What was to be deleted.
    deletes: Mutex<Vec<String>>,
    /// A manifest that another server creates as soon as the name of one was deleted.
    rival: Mutex<Option<PathBuf>>,
    /// What has this in its name is created late, whether anybody waits for it or not.
    late: Arc<Mutex<Option<&'static str>>>,
    /// How many were.
    landed: Arc<Mutex<u32>>,
    /// The answer to the creation of what has this in its name is lost, and nothing is there yet: what may come.
    loses: Mutex<Option<&'static str>>,
    lost: Mutex<Vec<(ObjectName, Bytes)>>,
    /// What hangs as soon as a manifest was created.
    then_hangs: Mutex<Option<(Doing, &'static str)>>,
    /// So long takes each call; how many are in hand, and how often one began when none was.
    pause: Mutex<Option<Duration>>,
    turns: Mutex<(u32, u32)>,
}

/// A call in hand.
struct Turn<'a>(&'a Mutex<(u32, u32)>);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap().0 -= 1;
    }
}

impl Odd {
    fn on(place: &Path) -> Self {
        let inner = Arc::new(FolderRemote::open("r", place).unwrap());
        Self {
            inner,
            hides: false,
            lags: false,
            created: Mutex::default(),
            lacks: Mutex::default(),
            denies: Mutex::default(),
            streams: false,
            damages: Mutex::default(),
            breaks: false,
            stuck: Mutex::default(),
            hangs: Mutex::default(),
            abandoned: Mutex::default(),
            veils: Mutex::default(),
            echoes: Mutex::default(),
            echo: Mutex::default(),
            keeps: Mutex::default(),
            deletes: Mutex::default(),
            rival: Mutex::default(),
            late: Arc::default(),
            landed: Arc::default(),
            loses: Mutex::default(),
            lost: Mutex::default(),
            then_hangs: Mutex::default(),
            pause: Mutex::default(),
            turns: Mutex::default(),
        }
    }

    /// Each call takes its time, when it is slow.
    async fn turn(&self) -> Option<Turn<'_>> {
        let pause = (*self.pause.lock().unwrap())?;
        {
            let mut turns = self.turns.lock().unwrap();
            turns.1 += u32::from(turns.0 == 0);
            turns.0 += 1;
        }
        let turn = Turn(&self.turns);
        tokio::time::sleep(pause).await;
        Some(turn)
    }

    /// A creation that takes place whatever becomes of who has asked for it.
    async fn create_late(&self, name: &ObjectName, bytes: Bytes) -> Result<(), Error> {
        let (inner, late, landed) = (self.inner.clone(), self.late.clone(), self.landed.clone());
        let name = name.clone();
        let landing = tokio::spawn(async move {
            while late.lock().unwrap().is_some() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let created = inner.create(&name, bytes).await;
            *landed.lock().unwrap() += 1;
            created
        });
        landing.await.unwrap()
    }

    fn is_hung(&self, doing: Doing, name: &str) -> bool {
        let hangs = *self.hangs.lock().unwrap();
        hangs.is_some_and(|(what, part)| what == doing && name.contains(part))
    }

    async fn may_hang(&self, doing: Doing, name: &str) {
        while self.is_hung(doing, name) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[async_trait]
impl Remote for Odd {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn abilities(&self) -> Abilities {
        self.inner.abilities()
    }

    fn streams(&self) -> Option<&dyn Streams> {
        self.inner.streams().filter(|_| self.streams)
    }

    async fn put(&self, put: Put<'_>) -> Result<Receipt, Error> {
        if self.breaks {
            let begun = Checkpoint::new(format!("upload of {}", put.name));
            put.watch.keep(&begun).map_err(|why| Error::new(Class::Local, Doing::Put, why))?;
            return Err(Error::new(Class::Interrupted, Doing::Put, "made to break off"));
        }
        self.inner.put(put).await
    }

    async fn create(&self, name: &ObjectName, bytes: Bytes) -> Result<(), Error> {
        self.created.lock().unwrap().push(name.as_str().to_owned());
        let is_in = |part: &Mutex<Option<&'static str>>| {
            part.lock().unwrap().is_some_and(|part| name.as_str().contains(part))
        };
        if is_in(&self.loses) {
            self.lost.lock().unwrap().push((name.clone(), bytes));
            return Err(Error::new(Class::Interrupted, Doing::Create, "made to be lost"));
        }
        match is_in(&self.late) {
            true => self.create_late(name, bytes).await?,
            false => self.inner.create(name, bytes).await?,
        }
        let is_manifest = name.as_str().contains(".manifest");
        if let Some(hangs) = self.then_hangs.lock().unwrap().take_if(|_| is_manifest) {
            *self.hangs.lock().unwrap() = Some(hangs);
        }
        Ok(())
    }

    async fn get(&self, name: &ObjectName, span: Span) -> Result<ByteStream, Error> {
        let _turn = self.turn().await;
        self.may_hang(Doing::Get, name.as_str()).await;
        self.inner.get(name, span).await
    }

    async fn head(&self, name: &ObjectName) -> Result<Head, Error> {
        let _turn = self.turn().await;
        if *self.denies.lock().unwrap() {
            return Err(Error::new(Class::Denied, Doing::Head, "status 403").on(self.name()).of(name));
        }
        self.inner.head(name).await
    }

    async fn hashes(&self, name: &ObjectName) -> Result<Vec<StoredHash>, Error> {
        if *self.damages.lock().unwrap() {
            return Err(Error::new(Class::Damaged, Doing::Hash, "made to differ"));
        }
        self.inner.hashes(name).await
    }

    async fn list(&self, folder: &Folder, after: Option<&ObjectName>, most: usize) -> Result<Page, Error> {
        let _turn = self.turn().await;
        self.may_hang(Doing::List, &folder.to_string()).await;
        let echo = self.echo.lock().unwrap().take();
        if let Some(page) = echo {
            return Ok(page);
        }
        let mut page = self.inner.list(folder, after, most).await?;
        let lacks = *self.lacks.lock().unwrap();
        page.entries.retain(|_| !lacks);
        page.entries.retain(|entry| !self.hides || !entry.name.as_str().ends_with(".manifest"));
        let created = self.created.lock().unwrap();
        page.entries.retain(|entry| !self.lags || !created.iter().any(|name| name == entry.name.as_str()));
        let veils = *self.veils.lock().unwrap();
        page.entries.retain(|entry| veils.is_none_or(|part| !entry.name.as_str().contains(part)));
        if *self.echoes.lock().unwrap() && !page.entries.is_empty() {
            *self.echo.lock().unwrap() = Some(page.clone());
        }
        Ok(page)
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        let _turn = self.turn().await;
        self.deletes.lock().unwrap().push(name.as_str().to_owned());
        self.may_hang(Doing::Delete, name.as_str()).await;
        let keeps = *self.keeps.lock().unwrap();
        if keeps.is_some_and(|part| name.as_str().contains(part)) {
            return Err(Error::new(Class::Unavailable, Doing::Delete, "made to be away"));
        }
        self.inner.delete(name).await?;
        let is_manifest = name.as_str().ends_with(".manifest");
        if let Some(rival) = self.rival.lock().unwrap().take_if(|_| is_manifest) {
            std::fs::write(rival, b"theirs").unwrap();
        }
        Ok(())
    }

    async fn abandon(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let _turn = self.turn().await;
        self.may_hang(Doing::Abandon, checkpoint.as_str()).await;
        if *self.stuck.lock().unwrap() {
            return Err(Error::new(Class::Unavailable, Doing::Abandon, "made to be away"));
        }
        self.abandoned.lock().unwrap().push(checkpoint.as_str().to_owned());
        self.inner.abandon(checkpoint).await
    }

    async fn half_sent(&self, folder: &Folder) -> Result<Vec<HalfSent>, Error> {
        let _turn = self.turn().await;
        self.inner.half_sent(folder).await
    }
}

/// Files of a folder that nobody here has written.
fn foreign(place: &Path, folder: &str, names: &[&str]) {
    std::fs::create_dir_all(place.join(folder)).unwrap();
    names.iter().for_each(|name| std::fs::write(place.join(folder).join(name), b"x").unwrap());
}

#[test]
fn a_folder_whose_manifest_a_listing_lacks_is_not_pruned() {
    const OLD: &str = "VTL002L8-20261101_000000";
    let place = tempfile::tempdir().unwrap();
    let here = Bench::new();
    here.put_remote(Arc::new(Odd { hides: true, ..Odd::on(place.path()) }));
    for manifest in ["VTL002L8.manifest", "VTL002L8.manifest.new"] {
        foreign(place.path(), OLD, &["VTL002L8.img.000001", manifest]);
        let before = contents(place.path());
        let manager = here.start();
        let id = prune(&manager, None);
        assert_eq!(done(&manager, id)["folders"], json!([]), "{manifest}");
        assert_eq!(failed(&manager, prune(&manager, Some(OLD))).code, "invalid", "{manifest}");
        assert!(contents(place.path()) == before, "{manifest}");
        manager.stop();
        std::fs::remove_dir_all(place.path().join(OLD)).unwrap();
    }
}

#[test]
fn a_folder_that_a_job_writes_to_since_the_prune_began_is_left() {
    const OLD: &str = "VTL002L8-20261101_000000";
    let place = tempfile::tempdir().unwrap();
    let here = Bench::with_folder(place.path());
    foreign(place.path(), OLD, &["VTL002L8.img.000001"]);
    let manager = here.start();
    here.written.lock().unwrap().extend([vec![], vec![("r".to_owned(), OLD.to_owned())]]);
    let result = done(&manager, prune(&manager, None));
    assert_eq!((&result["folders"], &result["left"]), (&json!([]), &json!([OLD])));
    assert_eq!(files(place.path()).len(), 1);
    assert_eq!(done(&manager, prune(&manager, None))["folders"], json!([OLD]));
}

#[test]
fn a_prune_leaves_a_folder_that_an_export_is_at() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::new();
    let remote = Watched::on(place.path());
    here.put_remote(remote.clone());
    here.cartridge(LABEL, &tape(5));
    let manager = here.start();
    *remote.held.lock().unwrap() = true;
    let id = export(&manager);
    until_put(&remote);
    let trouble = failed(&manager, prune(&manager, Some(FOLDER)));
    assert_eq!(trouble.code, "conflict", "{trouble:?}");
    assert!(trouble.message.contains(&format!("a job writes to {FOLDER}")), "{trouble:?}");
    *remote.held.lock().unwrap() = false;
    assert_eq!(done(&manager, id)["folder"], FOLDER);
    assert_eq!(imported(place.path(), &json!(FOLDER)), tape(5));
}

#[test]
fn an_export_that_is_tried_again_waits_for_the_prune_that_is_at_its_folder_and_a_cancel_of_it_ends_in_time() {
    for cancelled in [false, true] {
        let place = tempfile::tempdir().unwrap();
        let (_here, remote, manager, id) = some_confirmed(place.path());
        *remote.hangs.lock().unwrap() = Some((Doing::Delete, ".manifest"));
        let pruning = prune(&manager, Some(FOLDER));
        while remote.deletes.lock().unwrap().is_empty() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let again = manager.retry(id).unwrap().job.id;
        let is_busy = || notes(&manager, again).contains(&format!("another job is at folder {FOLDER}"));
        while !is_busy() && !manager.show(again).unwrap().job.state.is_terminal() {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(is_busy(), "{}", notes(&manager, again));
        if cancelled {
            let began = Instant::now();
            manager.cancel(again).unwrap();
            let job = ended(&manager, again);
            assert_eq!((job.state, began.elapsed() < SOON), (State::Cancelled, true));
            let trouble = job.trouble.unwrap();
            assert!(trouble.message.contains("another job is at folder"), "{trouble:?}");
        }
        *remote.hangs.lock().unwrap() = None;
        assert_eq!(done(&manager, pruning)["folders"], json!([FOLDER]));
        if cancelled {
            assert!(files(place.path()).is_empty(), "{:?}", files(place.path()));
        } else {
            let result = done(&manager, again);
            assert_eq!(imported(place.path(), &result["folder"]), tape(5));
        }
    }
}

#[test]
fn a_folder_that_another_server_completes_while_it_is_removed_keeps_its_objects() {
    const OLD: &str = "VTL002L8-20261101_000000";
    let place = tempfile::tempdir().unwrap();
    let here = Bench::new();
    let remote = Arc::new(Odd::on(place.path()));
    here.put_remote(remote.clone());
    foreign(place.path(), OLD, &["VTL002L8.img.000001"]);
    *remote.rival.lock().unwrap() = Some(place.path().join(OLD).join("VTL002L8.manifest"));
    let manager = here.start();
    let id = prune(&manager, None);
    assert_eq!(done(&manager, id)["folders"], json!([]));
    assert!(notes(&manager, id).contains("somebody has completed"), "{}", notes(&manager, id));
    assert_eq!(files(place.path()).len(), 2, "{:?}", files(place.path()));

    let place = tempfile::tempdir().unwrap();
    let (_here, remote, manager, id) = whole_object_left(place.path());
    let object = place.path().join(FOLDER).join(format!("{LABEL}.img.000001"));
    let before = std::fs::read(&object).unwrap();
    *remote.rival.lock().unwrap() = Some(place.path().join(FOLDER).join(format!("{LABEL}.manifest")));
    let trouble = cancelled_soon(&manager, id).0.trouble.unwrap();
    assert!(trouble.message.contains("somebody has completed"), "{trouble:?}");
    assert!(std::fs::read(&object).unwrap() == before);
}

#[test]
fn what_an_export_has_half_sent_is_abandoned_when_it_fails_or_with_its_folder() {
    for stuck in [false, true] {
        let place = tempfile::tempdir().unwrap();
        let here = Bench::new();
        let remote = Arc::new(Odd { breaks: true, ..Odd::on(place.path()) });
        *remote.stuck.lock().unwrap() = stuck;
        here.put_remote(remote.clone());
        here.cartridge(LABEL, &tape(5));
        let manager = here.start();
        let job = ended(&manager, export(&manager));
        assert_eq!(job.state, State::Failed);
        let course: Value = serde_json::from_slice(&job.checkpoint).unwrap();
        let begun = course["began"].as_object().unwrap().len();
        if stuck {
            assert!(begun > 0 && remote.abandoned.lock().unwrap().is_empty(), "{course}");
            assert!(notes(&manager, job.id).contains("half-sent objects"), "{}", notes(&manager, job.id));
            *remote.stuck.lock().unwrap() = false;
            assert_eq!(done(&manager, prune(&manager, Some(FOLDER)))["folders"], json!([FOLDER]));
        } else {
            assert_eq!(begun, 0, "{course}");
        }
        let object = format!("upload of {FOLDER}/{LABEL}.img.000001");
        assert!(remote.abandoned.lock().unwrap().contains(&object), "stuck: {stuck}");
    }
}

/// Files of claims.
fn claims(place: &Path) -> usize {
    files(place).iter().filter(|path| path.to_string_lossy().contains(".claim.")).count()
}

#[test]
fn an_export_to_a_remote_whose_listings_lack_what_was_just_created_begins_and_ends() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::new();
    here.put_remote(Arc::new(Odd { lags: true, ..Odd::on(place.path()) }));
    here.cartridge(LABEL, &tape(5));
    let manager = here.start();
    assert_eq!(done(&manager, export(&manager))["folder"], FOLDER);
    assert_eq!(claims(place.path()), 0);
    assert_eq!(imported(place.path(), &json!(FOLDER)), tape(5));
}

#[test]
fn an_export_that_was_begun_without_a_claim_keeps_its_folder_when_a_listing_lacks_the_claim() {
    let place = tempfile::tempdir().unwrap();
    let mut job = copied_on_its_way(place.path());
    std::fs::remove_file(place.path().join(FOLDER).join(format!("{LABEL}.manifest"))).unwrap();
    let mut course: Value = serde_json::from_slice(&job.checkpoint).unwrap();
    course["held"] = json!(false);
    job.checkpoint = serde_json::to_vec(&course).unwrap();
    let restored = Bench::new();
    restored.put_remote(Arc::new(Odd { lags: true, ..Odd::on(place.path()) }));
    restored.cartridge(LABEL, &tape(5));
    let manager = restored.start();
    let id = manager.submit(&job).unwrap().id;
    assert_eq!(done(&manager, id)["folder"], FOLDER, "{}", notes(&manager, id));
    assert!(!notes(&manager, id).contains("another one"), "{}", notes(&manager, id));
    assert_eq!(imported(place.path(), &json!(FOLDER)), tape(5));
}

#[test]
fn what_a_streaming_export_could_not_verify_is_its_own_for_a_retry_and_for_a_cancel() {
    // Who cancels has the claim removed also where listings lack it.
    for (cancelled, lags) in [(false, false), (true, false), (true, true)] {
        let place = tempfile::tempdir().unwrap();
        let here = Bench::new();
        let remote = Arc::new(Odd { streams: true, lags, ..Odd::on(place.path()) });
        *remote.damages.lock().unwrap() = true;
        here.put_remote(remote.clone());
        here.cartridge(LABEL, &tape(5));
        let manager = here.start();
        let id = export(&manager);
        failed(&manager, id);
        assert!(place.path().join(FOLDER).join(format!("{LABEL}.img.000001")).exists());
        assert_eq!((claims(place.path()), here.confirmed(FOLDER)), (1, 0));
        manager.stop();
        drop(manager);
        *remote.damages.lock().unwrap() = false;
        let manager = here.open();
        let retried = manager.retry(id).unwrap().job.id;
        if cancelled {
            manager.cancel(retried).unwrap();
            manager.start().unwrap();
            assert_eq!(ended(&manager, retried).state, State::Cancelled);
            assert!(files(place.path()).is_empty(), "{:?}", files(place.path()));
        } else {
            manager.start().unwrap();
            assert_eq!(done(&manager, retried)["folder"], FOLDER);
            assert_eq!((here.found().len(), claims(place.path())), (1, 0));
            assert_eq!(imported(place.path(), &json!(FOLDER)), tape(5));
        }
    }
}

/// It names the object whose size was asked for, and what helps.
fn is_forbidden(trouble: &Trouble, object: &str) {
    assert_eq!(trouble.code, "forbidden", "{trouble:?}");
    assert!(trouble.message.contains("remote r: asking for the size of "), "{trouble:?}");
    assert!(trouble.message.contains(object) && trouble.message.contains("403"), "{trouble:?}");
    assert!(trouble.remedy.as_ref().unwrap().contains("vtl remote test"), "{trouble:?}");
}

#[test]
fn an_export_that_may_not_ask_for_its_claim_takes_it_back_and_begins_with_the_same_folder_when_it_may() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::new();
    let remote = Arc::new(Odd { lags: true, denies: Mutex::new(true), ..Odd::on(place.path()) });
    here.put_remote(remote.clone());
    here.cartridge(LABEL, &tape(5));
    let manager = here.start();
    let id = export(&manager);
    is_forbidden(&failed(&manager, id), "VTL001L8.claim.");
    assert!(files(place.path()).is_empty(), "{:?}", files(place.path()));
    *remote.denies.lock().unwrap() = false;
    let again = manager.retry(id).unwrap().job.id;
    assert_eq!(done(&manager, again)["folder"], FOLDER);
    assert_eq!(imported(place.path(), &json!(FOLDER)), tape(5));
}

/// An export that has failed when some of its objects were confirmed, and the one after them lies in the folder.
fn some_confirmed(place: &Path) -> (Arc<Bench>, Arc<Odd>, Manager, JobId) {
    let here = Bench::new();
    let remote = Arc::new(Odd::on(place));
    here.put_remote(remote.clone());
    here.set(|settings| settings.slots = 1);
    here.cartridge(LABEL, &tape(5));
    let manager = here.start();
    // One of them before anything is sent.
    here.refuses_after(3);
    let id = export(&manager);
    failed(&manager, id);
    here.refuses_after(i64::MAX);
    assert!(here.confirmed(FOLDER) > 0);
    (here, remote, manager, id)
}

#[test]
fn an_export_whose_objects_a_listing_lacks_gives_none_of_them_up_while_it_may_not_ask_for_them() {
    let place = tempfile::tempdir().unwrap();
    let (_here, remote, manager, id) = some_confirmed(place.path());
    let before = contents(place.path());
    *remote.lacks.lock().unwrap() = true;
    *remote.denies.lock().unwrap() = true;
    let again = manager.retry(id).unwrap().job.id;
    is_forbidden(&failed(&manager, again), "VTL001L8.img.000001");
    assert!(contents(place.path()) == before, "nothing is removed or written anew");
    *remote.denies.lock().unwrap() = false;
    let last = manager.retry(again).unwrap().job.id;
    assert_eq!(done(&manager, last)["folder"], FOLDER, "{}", notes(&manager, last));
    let first = place.path().join(FOLDER).join(format!("{LABEL}.img.000001"));
    assert!(std::fs::read(&first).unwrap() == before[&first], "it is not sent anew");
    assert_eq!(imported(place.path(), &json!(FOLDER)), tape(5));
}

#[test]
fn a_prune_that_may_not_ask_whether_there_is_a_manifest_removes_nothing() {
    const OLD: &str = "VTL002L8-20261101_000000";
    let (object, manifest) = ("VTL002L8.img.000001", "VTL002L8.manifest");
    for (there, goes) in [(&[object, manifest][..], json!([])), (&[object][..], json!([OLD]))] {
        let place = tempfile::tempdir().unwrap();
        let here = Bench::new();
        let remote = Arc::new(Odd { hides: true, denies: Mutex::new(true), ..Odd::on(place.path()) });
        here.put_remote(remote.clone());
        foreign(place.path(), OLD, there);
        let before = contents(place.path());
        let manager = here.start();
        for folder in [None, Some(OLD)] {
            is_forbidden(&failed(&manager, prune(&manager, folder)), "VTL002L8.manifest");
            assert!(contents(place.path()) == before, "{there:?} {folder:?}");
        }
        *remote.denies.lock().unwrap() = false;
        assert_eq!(done(&manager, prune(&manager, None))["folders"], goes);
    }
}

#[test]
fn a_cartridge_stays_while_its_remote_does_not_say_what_it_has_of_it_and_can_be_imported_from_there() {
    let place = tempfile::tempdir().unwrap();
    let (here, there) = (Bench::new(), Bench::new());
    let remote = Arc::new(Odd { denies: Mutex::new(true), ..Odd::on(place.path()) });
    here.put_remote(remote.clone());
    here.set(|settings| settings.verify = Mode::None);
    here.cartridge(LABEL, &tape(5));
    let manager = here.start();
    let request = r#"{"delete_after_export":true}"#;
    let result = done(&manager, submit(&manager, EXPORT, Some(LABEL), request));
    assert_eq!((&result["exported"], &result["deleted_here"]), (&json!(true), &json!(false)));
    let why = result["kept_because"].as_str().unwrap();
    assert!(why.contains("asking for the size of") && why.contains("vtl remote test"), "{why}");
    assert!(here.deleted.lock().unwrap().is_empty());
    there.put_remote(remote);
    let other = there.start();
    let request = json!({ "remote": "r", "folder": FOLDER }).to_string();
    done(&other, submit(&other, IMPORT, None, &request));
    assert_eq!(there.tape(LABEL), tape(5));
}

/// An export to a folder that was paused while its first object was sent.
fn paused(place: &Path) -> (Arc<Bench>, Manager, JobId) {
    let here = Bench::new();
    let remote = Watched::on(place);
    here.put_remote(remote.clone());
    here.cartridge(LABEL, &tape(5));
    let manager = here.start();
    *remote.held.lock().unwrap() = true;
    let id = export(&manager);
    until_put(&remote);
    manager.pause(id).unwrap();
    manager.wait_until(id, Some(common::PATIENCE), |job| job.state == State::Paused).unwrap().unwrap();
    *remote.held.lock().unwrap() = false;
    (here, manager, id)
}

#[test]
fn a_cancel_takes_back_what_was_sent_also_when_the_staging_folder_cannot_be_reached() {
    let place = tempfile::tempdir().unwrap();
    let (here, manager, id) = paused(place.path());
    assert_eq!(claims(place.path()), 1);
    let broken = here.folder.path().join("broken");
    std::fs::write(&broken, b"").unwrap();
    here.set(|settings| settings.staging = broken.join("staging"));
    manager.cancel(id).unwrap();
    assert_eq!(ended(&manager, id).state, State::Cancelled);
    assert!(files(place.path()).is_empty(), "{:?}", files(place.path()));
    assert!(notes(&manager, id).contains("staging"), "{}", notes(&manager, id));
}

#[test]
fn a_staging_folder_that_cannot_be_cleared_hides_no_end_of_an_export() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::with_folder(place.path());
    here.cartridge(LABEL, &[]);
    let manager = here.start();
    let broken = here.folder.path().join("broken");
    std::fs::write(&broken, b"").unwrap();
    here.set(|settings| settings.staging = broken.join("staging"));
    let skipped = export(&manager);
    assert_eq!(done(&manager, skipped)["skipped"], "blank");
    assert!(notes(&manager, skipped).contains("staging"), "{}", notes(&manager, skipped));
    here.append(here.id_of(LABEL).unwrap(), &tape(5));
    let refused = submit(&manager, EXPORT, Some(LABEL), r#"{"key":"nobody"}"#);
    let trouble = failed(&manager, refused);
    assert!(trouble.code == "not-found" && trouble.message.contains("no such key"), "{trouble:?}");
    assert!(notes(&manager, refused).contains("staging"), "{}", notes(&manager, refused));
}

#[test]
fn a_cancel_waits_for_no_transfer() {
    let place = tempfile::tempdir().unwrap();
    let (_here, manager, id) = paused(place.path());
    let all = vtl_jobs::Settings::default().max_transfers;
    let taken: Vec<_> = (0..all).map(|_| manager.transfer(|| false).unwrap()).collect();
    manager.cancel(id).unwrap();
    let job = manager
        .wait_until(id, Some(SOON), |job| job.state.is_terminal())
        .unwrap()
        .expect("it waits for a transfer");
    assert_eq!(job.state, State::Cancelled);
    assert!(files(place.path()).is_empty(), "{:?}", files(place.path()));
    drop(taken);
}

/// A retry, not begun yet, of an export whose first object lies in the folder and is not confirmed.
fn whole_object_left(place: &Path) -> (Arc<Bench>, Arc<Odd>, Manager, JobId) {
    let here = Bench::new();
    let remote = Arc::new(Odd { streams: true, ..Odd::on(place) });
    *remote.damages.lock().unwrap() = true;
    here.put_remote(remote.clone());
    here.cartridge(LABEL, &tape(5));
    let manager = here.start();
    let id = export(&manager);
    failed(&manager, id);
    *remote.damages.lock().unwrap() = false;
    let (manager, retried) = retried_later(&here, manager, id);
    (here, remote, manager, retried)
}

/// A retry that has not begun yet.
fn retried_later(here: &Arc<Bench>, manager: Manager, id: JobId) -> (Manager, JobId) {
    manager.stop();
    drop(manager);
    let manager = here.open();
    let retried = manager.retry(id).unwrap().job.id;
    (manager, retried)
}

/// Cancels a job before it has begun, and lets what is half done be taken back; the job, and whether that took no longer than a cancel may.
fn cancelled_soon(manager: &Manager, id: JobId) -> (vtl_jobs::Job, bool) {
    assert_eq!(manager.cancel(id).unwrap().job.state, State::Stopping);
    let began = Instant::now();
    manager.start().unwrap();
    let job = ended(manager, id);
    assert_eq!(job.state, State::Cancelled);
    (job, began.elapsed() < SOON)
}

#[test]
fn a_cancel_deletes_by_its_name_what_no_listing_shows_and_asks_for_nothing_that_was_never_begun() {
    let place = tempfile::tempdir().unwrap();
    let (here, remote, manager, id) = some_confirmed(place.path());
    let (manager, retried) = retried_later(&here, manager, id);
    *remote.veils.lock().unwrap() = Some(".img.000002");
    // What is deleted twice counts for nothing.
    *remote.echoes.lock().unwrap() = true;
    let (job, _) = cancelled_soon(&manager, retried);
    assert!(job.trouble.is_none(), "{:?}", job.trouble);
    assert!(files(place.path()).is_empty(), "{:?}", files(place.path()));
    let course: Value = serde_json::from_slice(&job.checkpoint).unwrap();
    let reached = course["reached"].as_u64().unwrap();
    let begun: Vec<String> =
        (1..=reached).map(|number| format!("{FOLDER}/{LABEL}.img.{number:06}")).collect();
    let deletes = remote.deletes.lock().unwrap();
    assert!(begun.iter().all(|name| deletes.contains(name)), "{begun:?} {deletes:?}");
    assert!(deletes.iter().all(|name| !name.contains(".img.") || begun.contains(name)), "{deletes:?}");
}

#[test]
fn a_cancel_deletes_by_its_name_what_lay_there_whole_when_its_upload_was_given_up() {
    let place = tempfile::tempdir().unwrap();
    let (_here, remote, manager, id) = whole_object_left(place.path());
    *remote.veils.lock().unwrap() = Some(".img.000001");
    let (job, _) = cancelled_soon(&manager, id);
    assert!(job.trouble.is_none(), "{:?}", job.trouble);
    assert!(files(place.path()).is_empty(), "{:?}", files(place.path()));
}

#[test]
fn a_removal_that_is_cut_off_at_its_beginning_deletes_the_next_time_what_no_listing_shows() {
    let place = tempfile::tempdir().unwrap();
    let (here, remote, manager, id) = some_confirmed(place.path());
    let more = [Some(noise(9, 1000))];
    here.append(here.id_of(LABEL).unwrap(), &more);
    *remote.veils.lock().unwrap() = Some(".img.000001");
    *remote.keeps.lock().unwrap() = Some(".manifest");
    let cut_off = manager.retry(id).unwrap().job.id;
    failed(&manager, cut_off);
    assert_eq!(here.confirmed(FOLDER), 0, "nobody goes on with what may be gone");
    *remote.keeps.lock().unwrap() = None;
    *here.now_s.lock().unwrap() += 60;
    let last = manager.retry(cut_off).unwrap().job.id;
    let result = done(&manager, last);
    assert_ne!(result["folder"], FOLDER);
    let left = files(place.path()).into_iter().filter(|path| path.starts_with(place.path().join(FOLDER)));
    assert_eq!((left.count(), here.confirmed(FOLDER)), (0, 0));
    assert_eq!(imported(place.path(), &result["folder"]), [tape(5), more.to_vec()].concat());
}

#[test]
fn an_export_that_is_tried_again_after_a_prune_was_cut_off_sends_all_anew_also_when_a_listing_lags() {
    let place = tempfile::tempdir().unwrap();
    let (here, remote, manager, id) = some_confirmed(place.path());
    let listed = Folder::new(FOLDER).unwrap();
    let before = here.runtime.block_on(remote.inner.list(&listed, None, 1000)).unwrap();
    *remote.keeps.lock().unwrap() = Some(".claim.");
    failed(&manager, prune(&manager, Some(FOLDER)));
    assert_eq!(here.confirmed(FOLDER), 0);
    *remote.keeps.lock().unwrap() = None;
    *remote.echo.lock().unwrap() = Some(before);
    let again = manager.retry(id).unwrap().job.id;
    let result = done(&manager, again);
    assert_eq!(imported(place.path(), &result["folder"]), tape(5));
}

#[test]
fn what_a_job_has_left_goes_also_when_the_listing_lacks_the_folder() {
    for is_left in [true, false] {
        let place = tempfile::tempdir().unwrap();
        let (here, remote, manager, id) = some_confirmed(place.path());
        *remote.lacks.lock().unwrap() = true;
        let left_by = is_left.then_some(id.0);
        let request = json!({ "remote": "r", "folder": FOLDER, "left_by": left_by }).to_string();
        let result = done(&manager, submit(&manager, PRUNE, None, &request));
        assert_eq!(result["folders"], json!([FOLDER]), "left: {is_left}");
        assert!(files(place.path()).is_empty(), "{:?}", files(place.path()));
        assert_eq!(here.confirmed(FOLDER), 0);
    }
}

#[test]
fn a_manifest_of_its_own_that_comes_late_keeps_nothing_of_what_a_job_has_left() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::new();
    let remote = Arc::new(Odd::on(place.path()));
    *remote.loses.lock().unwrap() = Some(".manifest");
    here.put_remote(remote.clone());
    here.cartridge(LABEL, &tape(5));
    let manager = here.start();
    let id = export(&manager);
    failed(&manager, id);
    let (_, late) = remote.lost.lock().unwrap()[0].clone();
    let manifest = place.path().join(FOLDER).join(format!("{LABEL}.manifest"));
    let request = json!({ "remote": "r", "folder": FOLDER, "left_by": id.0 }).to_string();
    let removal = || done(&manager, submit(&manager, PRUNE, None, &request));
    std::fs::write(&manifest, b"theirs").unwrap();
    assert_eq!(removal()["left"], json!([FOLDER]), "it is somebody else's");
    std::fs::write(&manifest, late).unwrap();
    let result = removal();
    assert_eq!((&result["folders"], &result["left"]), (&json!([FOLDER]), &json!([])));
    assert!(files(place.path()).is_empty(), "{:?}", files(place.path()));
}

#[test]
fn a_prune_deletes_by_its_name_what_a_failed_export_has_sent_and_no_listing_shows() {
    let place = tempfile::tempdir().unwrap();
    let (here, remote, manager, _) = some_confirmed(place.path());
    *remote.veils.lock().unwrap() = Some(".img.000002");
    assert_eq!(done(&manager, prune(&manager, Some(FOLDER)))["folders"], json!([FOLDER]));
    assert!(files(place.path()).is_empty(), "{:?}", files(place.path()));
    assert_eq!(here.confirmed(FOLDER), 0);
}

#[test]
fn a_cancel_ends_in_time_whatever_the_remote_takes_and_names_what_removes_the_rest() {
    let command = format!("vtl export prune --remote r --folder {FOLDER}");
    let calls = [
        (Doing::Delete, ".img.", "without a manifest", true),
        (Doing::Delete, ".claim.", "without a manifest", true),
        (Doing::Delete, ".manifest", "without a manifest", true),
        (Doing::List, FOLDER, "without a manifest", true),
        // It may have a manifest then.
        (Doing::Get, ".manifest", "whether it is complete is not known", false),
    ];
    for (doing, part, told, goes_on) in calls {
        let place = tempfile::tempdir().unwrap();
        let (here, remote, manager, id) = whole_object_left(place.path());
        *remote.hangs.lock().unwrap() = Some((doing, part));
        let (job, in_time) = cancelled_soon(&manager, id);
        assert!(in_time, "{doing:?} of {part}");
        let trouble = job.trouble.unwrap();
        assert!(trouble.message.contains(told) && trouble.message.contains("more than 3 s"), "{trouble:?}");
        assert!(trouble.remedy.is_some_and(|remedy| remedy.contains(&command)), "{doing:?} of {part}");
        assert!(notes(&manager, id).contains(&command), "{}", notes(&manager, id));
        // What is left keeps its claim, so nobody chooses the folder, and says that it is incomplete.
        assert_eq!((claims(place.path()), here.confirmed(FOLDER)), (1, 0), "{doing:?} of {part}");
        let listed = manager.list().unwrap();
        let follower = listed.iter().map(|shown| &shown.job).find(|job| job.kind == PRUNE).map(|job| job.id);
        assert_eq!(follower.is_some(), goes_on, "{doing:?} of {part}");
        *remote.hangs.lock().unwrap() = None;
        let removal = follower.unwrap_or_else(|| {
            let found = here.found();
            assert!(found.len() == 1 && !found[0].complete, "{found:?}");
            prune(&manager, Some(FOLDER))
        });
        if goes_on {
            let named = format!("job {removal} (prune) goes on with it by itself");
            assert!(notes(&manager, id).contains(&named), "{}", notes(&manager, id));
        }
        assert_eq!(done(&manager, removal)["folders"], json!([FOLDER]));
        assert!(files(place.path()).is_empty(), "{:?}", files(place.path()));
        assert_eq!(done(&manager, export(&manager))["exported"], true);
    }
}

#[test]
fn a_cancel_that_cannot_look_at_a_complete_bundle_leaves_it_whole() {
    let place = tempfile::tempdir().unwrap();
    let job = copied_on_its_way(place.path());
    let before = contents(place.path());
    let restored = Bench::new();
    let remote = Arc::new(Odd::on(place.path()));
    restored.put_remote(remote.clone());
    restored.cartridge(LABEL, &tape(5));
    *remote.hangs.lock().unwrap() = Some((Doing::Get, ".manifest"));
    let manager = restored.open();
    let id = manager.submit(&job).unwrap().id;
    let (job, in_time) = cancelled_soon(&manager, id);
    assert!(in_time && contents(place.path()) == before);
    let trouble = job.trouble.unwrap();
    assert!(trouble.message.contains("is not known"), "{trouble:?}");
}

#[test]
fn what_a_cancel_has_left_and_is_gone_complete_or_written_to_by_now_is_no_error_for_who_removes_it() {
    const OTHER: &str = "VTL002L8-20261101_000000";
    let place = tempfile::tempdir().unwrap();
    let here = Bench::with_folder(place.path());
    let manager = here.start();
    let request = json!({ "remote": "r", "folder": OTHER, "left_by": 1 }).to_string();
    let removal = || done(&manager, submit(&manager, PRUNE, None, &request));
    assert_eq!((&removal()["folders"], &removal()["left"]), (&json!([]), &json!([])));
    foreign(place.path(), OTHER, &["VTL002L8.img.000001", "VTL002L8.manifest"]);
    assert_eq!(removal()["left"], json!([OTHER]));
    std::fs::remove_file(place.path().join(OTHER).join("VTL002L8.manifest")).unwrap();
    here.written.lock().unwrap().push_back(vec![("r".to_owned(), OTHER.to_owned())]);
    assert_eq!(removal()["left"], json!([OTHER]));
    assert_eq!(files(place.path()).len(), 1);
    assert_eq!(removal()["folders"], json!([OTHER]));
}

#[test]
fn a_cancel_asks_a_remote_that_is_slow_for_few_things_one_after_the_other() {
    let place = tempfile::tempdir().unwrap();
    let (_here, remote, manager, id) = whole_object_left(place.path());
    *remote.pause.lock().unwrap() = Some(Duration::from_millis(20));
    let (job, _) = cancelled_soon(&manager, id);
    assert!(job.trouble.is_none(), "{:?}", job.trouble);
    assert!(files(place.path()).is_empty(), "{:?}", files(place.path()));
    let (_, rounds) = *remote.turns.lock().unwrap();
    assert!((1..=13).contains(&rounds), "{rounds}");
}

/// Cancels a job while a manifest is created late, and lets that take place while it is waited for.
fn cancelled_before_it_lands(remote: &Odd, manager: &Manager, id: JobId) {
    until_sealing(remote);
    manager.cancel(id).unwrap();
    manager.wait_until(id, Some(Duration::from_millis(300)), |job| job.state.is_terminal()).unwrap();
    *remote.late.lock().unwrap() = None;
    assert!(ended(manager, id).state.is_terminal());
    until_landed(remote);
}

/// Waits until a manifest is about to be created.
fn until_sealing(remote: &Odd) {
    while !remote.created.lock().unwrap().iter().any(|name| name.contains(".manifest")) {
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn until_landed(remote: &Odd) {
    while *remote.landed.lock().unwrap() == 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn cancelled_in_time(manager: &Manager, id: JobId) -> vtl_jobs::Job {
    let began = Instant::now();
    manager.cancel(id).unwrap();
    let job = ended(manager, id);
    assert_eq!(job.state, State::Cancelled);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    job
}

#[test]
fn a_cancel_ends_in_time_also_when_the_creation_of_a_manifest_hangs() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::new();
    let remote = Arc::new(Odd::on(place.path()));
    *remote.late.lock().unwrap() = Some(".manifest");
    here.put_remote(remote.clone());
    here.cartridge(LABEL, &tape(5));
    let manager = here.start();
    let id = export(&manager);
    until_sealing(&remote);
    let job = cancelled_in_time(&manager, id);
    assert!(job.trouble.is_none(), "{:?}", job.trouble);
    assert!(files(place.path()).is_empty(), "{:?}", files(place.path()));
    *remote.late.lock().unwrap() = None;
}

#[test]
fn a_rewrap_whose_manifest_hangs_is_cancelled_in_time_and_the_manifest_may_come_then() {
    let place = tempfile::tempdir().unwrap();
    let (_here, remote, manager, request) = sealed(place.path());
    *remote.late.lock().unwrap() = Some(".manifest.new");
    let id = submit(&manager, REWRAP, None, &request);
    until_sealing(&remote);
    cancelled_in_time(&manager, id);
    verified(&manager);
    *remote.late.lock().unwrap() = None;
    until_landed(&remote);
    verified(&manager);
    done(&manager, submit(&manager, REWRAP, None, &request));
}

#[test]
fn a_rewrap_is_cancelled_when_the_deletion_of_a_manifest_that_is_in_hand_has_come_and_not_before() {
    let place = tempfile::tempdir().unwrap();
    let (_here, remote, manager, request) = sealed(place.path());
    *remote.then_hangs.lock().unwrap() = Some((Doing::Delete, ".manifest"));
    let id = submit(&manager, REWRAP, None, &request);
    while !remote.deletes.lock().unwrap().iter().any(|name| name.ends_with(".manifest")) {
        std::thread::sleep(Duration::from_millis(10));
    }
    manager.cancel(id).unwrap();
    // Longer than what else is in hand is waited for.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(manager.show(id).unwrap().job.state, State::Stopping);
    *remote.hangs.lock().unwrap() = None;
    let job = ended(&manager, id);
    assert_eq!((job.state, job.trouble), (State::Cancelled, None));
    verified(&manager);
}

#[test]
fn a_manifest_whose_export_is_cancelled_while_it_is_created_is_one_of_objects_that_are_there() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::new();
    let remote = Arc::new(Odd::on(place.path()));
    *remote.late.lock().unwrap() = Some(".manifest");
    here.put_remote(remote.clone());
    here.cartridge(LABEL, &tape(5));
    let manager = here.start();
    let id = export(&manager);
    cancelled_before_it_lands(&remote, &manager, id);
    assert!(here.found()[0].complete);
    assert_eq!(imported(place.path(), &json!(FOLDER)), tape(5));
}

/// An encrypted export, and what asks for its rewrap.
fn sealed(place: &Path) -> (Arc<Bench>, Arc<Odd>, Manager, String) {
    let here = Bench::new();
    here.private.lock().unwrap().push(OTHER_KEY);
    let remote = Arc::new(Odd::on(place));
    here.put_remote(remote.clone());
    here.cartridge(LABEL, &tape(5));
    let manager = here.start();
    done(&manager, submit(&manager, EXPORT, Some(LABEL), &json!({ "key": KEY }).to_string()));
    remote.created.lock().unwrap().clear();
    let request = json!({ "remote": "r", "folder": FOLDER, "key": OTHER_KEY }).to_string();
    (here, remote, manager, request)
}

fn verified(manager: &Manager) {
    let request = json!({ "remote": "r", "folder": FOLDER }).to_string();
    done(manager, submit(manager, VERIFY, None, &request));
}

/// The manifest that is to take the other's place.
fn new_manifest(place: &Path) -> PathBuf {
    place.join(FOLDER).join(format!("{LABEL}.manifest.new"))
}

/// A rewrap that was paused when its new manifest had just been created; what hung then hangs still.
fn paused_rewrap(place: &Path, remote: &Odd, manager: &Manager, request: &str) -> JobId {
    *remote.then_hangs.lock().unwrap() = Some((Doing::Get, ".manifest.new"));
    let id = submit(manager, REWRAP, None, request);
    while !new_manifest(place).exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    manager.pause(id).unwrap();
    manager.wait_until(id, Some(common::PATIENCE), |job| job.state == State::Paused).unwrap().unwrap();
    id
}

#[test]
fn a_cancelled_rewrap_waits_for_no_transfer_and_leaves_a_manifest_that_counts_when_its_time_is_over() {
    for (hangs, ends) in [(None, true), (Some((Doing::Get, ".manifest.new")), false)] {
        let place = tempfile::tempdir().unwrap();
        let (here, remote, manager, request) = sealed(place.path());
        let new = new_manifest(place.path());
        let id = paused_rewrap(place.path(), &remote, &manager, &request);
        *remote.hangs.lock().unwrap() = hangs;
        let all = vtl_jobs::Settings::default().max_transfers;
        let taken: Vec<_> = (0..all).map(|_| manager.transfer(|| false).unwrap()).collect();
        let began = Instant::now();
        manager.cancel(id).unwrap();
        let job = ended(&manager, id);
        assert_eq!(job.state, State::Cancelled);
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        assert_eq!((job.trouble.is_none(), new.exists()), (ends, !ends), "{:?}", job.trouble);
        assert!(job.trouble.is_none_or(|trouble| trouble.message.contains("it can be read")));
        *remote.hangs.lock().unwrap() = None;
        drop(taken);
        done(&manager, submit(&manager, REWRAP, None, &request));
        assert!(here.found()[0].complete && !new.exists());
    }
}

#[test]
fn a_rewrap_waits_for_another_one_of_its_folder_that_is_taken_back() {
    let place = tempfile::tempdir().unwrap();
    let (here, remote, manager, request) = sealed(place.path());
    let first = paused_rewrap(place.path(), &remote, &manager, &request);
    *remote.hangs.lock().unwrap() = Some((Doing::Delete, ".manifest"));
    remote.deletes.lock().unwrap().clear();
    manager.cancel(first).unwrap();
    while remote.deletes.lock().unwrap().is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let second = submit(&manager, REWRAP, None, &request);
    let is_busy = |job: &vtl_jobs::Job| {
        job.trouble.as_ref().is_some_and(|trouble| trouble.message.contains("another job is at folder"))
    };
    assert!(manager.wait_until(second, Some(SOON), is_busy).unwrap().is_some(), "it does not wait");
    *remote.hangs.lock().unwrap() = None;
    assert_eq!(ended(&manager, first).state, State::Cancelled);
    done(&manager, second);
    assert!(here.found()[0].complete && !new_manifest(place.path()).exists());
    verified(&manager);
}

#[test]
fn the_folder_of_a_rewrap_that_is_cancelled_while_its_manifest_is_created_can_be_used() {
    let place = tempfile::tempdir().unwrap();
    let (here, remote, manager, request) = sealed(place.path());
    *remote.late.lock().unwrap() = Some(".manifest.new");
    let id = submit(&manager, REWRAP, None, &request);
    cancelled_before_it_lands(&remote, &manager, id);
    done(&manager, submit(&manager, REWRAP, None, &request));
    assert!(here.found()[0].complete && !new_manifest(place.path()).exists());
}

#[test]
fn a_manifest_that_comes_when_its_rewrap_was_cancelled_long_ago_is_one_that_was_written_here() {
    let place = tempfile::tempdir().unwrap();
    let (here, remote, manager, request) = sealed(place.path());
    *remote.loses.lock().unwrap() = Some(".manifest.new");
    let id = submit(&manager, REWRAP, None, &request);
    failed(&manager, id);
    let (manager, retried) = retried_later(&here, manager, id);
    let (job, _) = cancelled_soon(&manager, retried);
    assert!(job.trouble.is_none(), "{:?}", job.trouble);
    *remote.loses.lock().unwrap() = None;
    let lost = remote.lost.lock().unwrap().clone();
    assert!(lost.len() > 1, "each attempt has made one");
    for (_, bytes) in lost {
        std::fs::write(new_manifest(place.path()), bytes).unwrap();
        verified(&manager);
    }
    done(&manager, submit(&manager, REWRAP, None, &request));
}

//! Who made a bundle and who can open it: signatures, quarantine, other recipients, copies for other programs.
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
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use common::{
    Bench, KEY, OTHER_KEY, Watched, done, ended, failed, files, noise, private_key_of, signing_key, submit,
    tape,
};
use serde_json::{Value, json};
use vtl_bundle::{Manifest, Signed, counting};
use vtl_cartridge::Cartridge;
use vtl_jobs::{JobId, Manager, State};
use vtl_migrate::{EXPORT, FETCH, ForeignRule, IMPORT, REWRAP, VERIFY};
use vtl_remote::{
    Abilities, ByteStream, Checkpoint, Class, Doing, Error, Folder, FolderRemote, HalfSent, Head, ObjectName,
    Page, Put, Receipt, Remote, Span, StoredHash, Streams,
};
use vtl_types::CartridgeId;

const LABEL: &str = "VTL001L8";
const FOLDER: &str = "VTL001L8-20261126_031500";

fn export(manager: &Manager, request: &Value) -> JobId {
    submit(manager, EXPORT, Some(LABEL), &request.to_string())
}

fn of_folder(manager: &Manager, kind: &str, more: &Value) -> JobId {
    let mut request = json!({ "remote": "r", "folder": FOLDER });
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    submit(manager, kind, None, &request.to_string())
}

fn import(manager: &Manager) -> JobId {
    of_folder(manager, IMPORT, &json!({}))
}

/// A server with one exported cartridge; it knows and has the keys of these names.
fn exported(place: &Path, keys: &[&'static str], request: &Value) -> (Arc<Bench>, Manager) {
    let here = Bench::with_folder(place);
    here.private.lock().unwrap().extend(keys);
    here.cartridge(LABEL, &small());
    let manager = here.start();
    done(&manager, export(&manager, request));
    (here, manager)
}

/// Two frames in one object.
fn small() -> Vec<Option<Vec<u8>>> {
    vec![Some(b"a block".to_vec()), None, Some(noise(1, 200_000)), Some(noise(2, 200_000))]
}

fn another(place: &Path, rule: ForeignRule, signers: &[&'static str]) -> (Arc<Bench>, Manager) {
    let there = Bench::with_folder(place);
    there.set(|settings| settings.foreign = rule);
    there.signers.lock().unwrap().extend(signers);
    let manager = there.start();
    (there, manager)
}

/// The manifest that counts in a folder remote.
fn manifest(place: &Path) -> (Manifest, Signed) {
    let read = |name: &str| std::fs::read(place.join(FOLDER).join(name)).ok();
    let bytes =
        counting(read("VTL001L8.manifest"), read("VTL001L8.manifest.new")).expect("there is a manifest");
    Manifest::decode(&bytes, None).unwrap()
}

/// Whether a key opens what counts.
fn opens(place: &Path, key: &str) -> bool {
    let manifest = manifest(place).0;
    let data_key = manifest.data_key(&private_key_of(key).unwrap());
    data_key.is_ok_and(|data_key| manifest.inside(Some(&data_key)).is_ok())
}

#[test]
fn plans_of_other_keys_and_of_a_copy_tell_their_bytes_and_write_nothing() {
    let (place, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_here, manager) = exported(place.path(), &["s"], &json!({ "key": KEY }));
    let bytes = || {
        let all = files(place.path());
        all.iter().map(|file| std::fs::read(file).unwrap()).collect::<Vec<_>>()
    };
    let before = bytes();
    let planned = |kind: &str, more: Value| {
        let mut request = json!({ "remote": "r", "folder": FOLDER });
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        manager.plan(kind, &request.to_string()).unwrap()
    };
    let plan = planned(REWRAP, json!({ "key": OTHER_KEY, "sign_with": "s" })).unwrap();
    assert!(plan.tasks[0].name == "write the manifest" && plan.tasks[0].bytes > 0, "{plan:?}");
    assert!(plan.notes[0].contains(&format!("1 keys: {OTHER_KEY}")), "{plan:?}");
    assert!(plan.notes[1].contains("it is signed"), "{plan:?}");
    assert!(planned(REWRAP, json!({ "key": "nobody" })).unwrap_err().message.contains("no such key"));
    let plan = planned(FETCH, json!({ "to": copies.path() })).unwrap();
    let of_manifest = std::fs::metadata(place.path().join(FOLDER).join("VTL001L8.manifest")).unwrap().len();
    let all = manifest(place.path()).0.stored_bytes() + of_manifest;
    assert_eq!((plan.tasks[0].name.as_str(), plan.tasks[0].bytes), ("fetch", all));
    let nowhere = planned(FETCH, json!({ "to": copies.path().join("no") })).unwrap_err();
    assert_eq!(nowhere.code, "invalid", "{nowhere:?}");
    assert!(files(copies.path()).is_empty());
    std::fs::create_dir(copies.path().join(FOLDER)).unwrap();
    assert_eq!(planned(FETCH, json!({ "to": copies.path() })).unwrap_err().code, "exists");
    assert!(bytes() == before && opens(place.path(), KEY) && !opens(place.path(), OTHER_KEY));
}

#[test]
fn an_export_is_signed_by_who_is_named_and_each_of_its_keys_opens_it() {
    let place = tempfile::tempdir().unwrap();
    let (here, manager) =
        exported(place.path(), &["s"], &json!({ "key": format!("{KEY},{OTHER_KEY}"), "sign_with": "s" }));
    let signer = signing_key("s").unwrap().verifying().unwrap();
    assert_eq!(manifest(place.path()).1, Signed::By(signer));
    assert!(opens(place.path(), KEY) && opens(place.path(), OTHER_KEY));
    here.append(here.id_of(LABEL).unwrap(), &[Some(b"more".to_vec())]);
    let many = ["k"; 17].join(",");
    for (request, words) in [
        (json!({ "key": "k,nobody" }), "no such key"),
        (json!({ "key": "k,k" }), "named twice"),
        (json!({ "key": many }), "17 keys are named"),
        (json!({ "sign_with": "t" }), "no such key"),
    ] {
        let trouble = failed(&manager, export(&manager, &request));
        assert!(trouble.message.contains(words), "{request}: {trouble:?}");
    }
    here.set(|settings| settings.defaults.sign_with = Some("s".to_owned()));
    let result = done(&manager, export(&manager, &json!({ "sign_with": "none" })));
    assert_eq!(result["signed_with"], Value::Null);
    here.append(here.id_of(LABEL).unwrap(), &[Some(b"more".to_vec())]);
    assert_eq!(done(&manager, export(&manager, &json!({})))["signed_with"], "s");
}

#[test]
fn an_attempt_after_a_crash_signs_as_the_first_one_was_to() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::with_folder(place.path());
    here.private.lock().unwrap().push("s");
    here.cartridge(LABEL, &tape(1));
    let manager = here.start();
    here.set(|settings| settings.defaults.sign_with = Some("s".to_owned()));
    here.dies_after(6);
    let id = export(&manager, &json!({}));
    manager.wait_until(id, Some(common::PATIENCE), |_| here.is_dead()).unwrap();
    manager.stop();
    drop(manager);
    here.set(|settings| settings.defaults.sign_with = None);
    let manager = here.start();
    let result = done(&manager, id);
    let signed = manifest(place.path()).1 != Signed::No;
    assert_eq!(result["signed_with"] == "s", signed, "{result}");
}

#[test]
fn what_nobody_known_made_is_taken_held_or_refused_as_the_settings_say() {
    for (request, signers, is_foreign) in [
        (json!({ "key": KEY }), &[][..], true),
        (json!({ "key": KEY, "sign_with": "s" }), &[][..], true),
        (json!({ "key": KEY, "sign_with": "s" }), &["t"][..], true),
        (json!({ "key": KEY, "sign_with": "s" }), &["t", "s"][..], false),
    ] {
        let place = tempfile::tempdir().unwrap();
        exported(place.path(), &["s"], &request);
        let (there, manager) = another(place.path(), ForeignRule::Accept, signers);
        assert_eq!(done(&manager, import(&manager)).get("quarantined"), None);
        assert_eq!(there.quarantined(LABEL), None);

        let (there, manager) = another(place.path(), ForeignRule::Quarantine, signers);
        let result = done(&manager, import(&manager));
        assert_eq!(result.get("quarantined").is_some(), is_foreign, "{result}");
        assert_eq!(there.quarantined(LABEL).is_some(), is_foreign);
        assert_eq!(there.tape(LABEL), small());
        // An export from here would look like ours.
        there.append(there.id_of(LABEL).unwrap(), &[Some(b"more".to_vec())]);
        let again = ended(&manager, export(&manager, &json!({})));
        assert_eq!(again.state == State::Failed, is_foreign, "{:?}", again.trouble);
        if let Some(trouble) = again.trouble {
            assert_eq!(trouble.remedy.as_deref(), Some("vtl cartridge release VTL001L8"));
        }

        let (there, manager) = another(place.path(), ForeignRule::Refuse, signers);
        let imported = ended(&manager, import(&manager));
        assert_eq!(imported.state == State::Failed, is_foreign, "{:?}", imported.trouble);
        if let Some(trouble) = imported.trouble {
            assert!(trouble.message.contains("migrate.foreign_bundles is refuse"), "{trouble:?}");
            assert!(trouble.remedy.unwrap().contains("vtl key import"));
            assert!(there.store.owners().is_empty() && there.id_of(LABEL).is_none());
        }
    }
}

#[test]
fn what_was_exported_from_here_is_not_foreign_but_what_was_imported_here_before_still_is() {
    let place = tempfile::tempdir().unwrap();
    let (here, manager) = exported(place.path(), &[], &json!({}));
    here.set(|settings| settings.foreign = ForeignRule::Refuse);
    let own = of_folder(&manager, IMPORT, &json!({ "as_label": "VTL002L8" }));
    done(&manager, own);
    assert_eq!(here.quarantined("VTL002L8"), None);
    let (there, manager) = another(place.path(), ForeignRule::Accept, &[]);
    done(&manager, import(&manager));
    there.set(|settings| settings.foreign = ForeignRule::Quarantine);
    let result = done(&manager, of_folder(&manager, IMPORT, &json!({ "as_label": "VTL002L8" })));
    assert_eq!(result["known"], true);
    assert!(there.quarantined("VTL002L8").unwrap().contains("not signed"));
}

#[test]
fn a_crash_at_any_change_of_the_inventory_leaves_no_foreign_cartridge_without_its_mark() {
    foreign_with_crashes(&json!({}));
}

#[test]
fn nor_one_that_is_here_in_part() {
    foreign_with_crashes(&json!({ "lazy": true }));
}

fn foreign_with_crashes(request: &Value) {
    let place = tempfile::tempdir().unwrap();
    exported(place.path(), &[], &json!({}));
    let mut lived = false;
    for changes in 0..60 {
        let (there, manager) = another(place.path(), ForeignRule::Quarantine, &[]);
        let id = of_folder(&manager, IMPORT, request);
        there.dies_after(changes);
        manager
            .wait_until(id, Some(common::PATIENCE), |job| there.is_dead() || job.state.is_terminal())
            .unwrap();
        lived = !there.is_dead();
        manager.stop();
        drop(manager);
        // A lazy one is listed before it is finished.
        assert!(there.id_of(LABEL).is_none() || there.quarantined(LABEL).is_some(), "{changes}");
        // What a start lists: every copy that is finished.
        for owner in there.store.owners() {
            let id = CartridgeId(owner.0);
            if !Cartridge::inspect(&there.store, id).unwrap().unfinished {
                let mark = there.meta.lock().unwrap().read(|tx| vtl_library::quarantined(tx, id)).unwrap();
                assert!(mark.is_some(), "{changes}");
            }
        }
        let manager = there.start();
        done(&manager, id);
        assert!(there.quarantined(LABEL).is_some(), "{changes}");
        if lived {
            break;
        }
    }
    assert!(lived, "the crashes went past the end");
}

#[test]
fn what_a_bundle_says_of_its_cartridge_is_bounded() {
    use vtl_bundle::{Settings, Sink, Stored, Writer};

    struct Files(PathBuf, Vec<u8>);
    impl Sink for Files {
        fn begin(&mut self, _: &str) -> std::io::Result<()> {
            self.1.clear();
            Ok(())
        }
        fn write(&mut self, bytes: &bytes::Bytes) -> std::io::Result<()> {
            self.1.extend_from_slice(bytes);
            Ok(())
        }
        fn end(&mut self, object: &Stored) -> std::io::Result<()> {
            std::fs::write(self.0.join(&object.name), &self.1)
        }
    }

    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join(FOLDER);
    std::fs::create_dir(&folder).unwrap();
    let attributes = [
        ("capacity_bytes", "18446744073709551615"),
        ("early_warning_bytes", "18446744073709551615"),
        ("created_s", "9223372036854775807"),
        ("serial", "../../etc/passwd and much more than any serial number has"),
    ];
    let attributes: BTreeMap<String, String> =
        attributes.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let write = |generation: u64| {
        for file in std::fs::read_dir(&folder).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
        let settings = Settings {
            version: vtl_bundle::Version::default(),
            label: LABEL.parse().unwrap(),
            created: FOLDER[9..].parse().unwrap(),
            generation,
            attributes: attributes.clone(),
            codec: vtl_codec::Method::Raw,
            level: 1,
            chunk_bytes: 1 << 20,
            recipients: Vec::new(),
            signing: None,
            random: vtl_codec::Randomness::system(),
        };
        let mut writer = Writer::new(settings, Files(folder.clone(), Vec::new())).unwrap();
        writer.block(b"one block").unwrap();
        writer.finish().unwrap();
    };
    let (there, manager) = another(place.path(), ForeignRule::Accept, &[]);
    write(u64::MAX);
    let refused = failed(&manager, import(&manager));
    assert!(refused.message.contains("write generation 18446744073709551615"), "{refused:?}");
    assert!(there.store.owners().is_empty());
    write(1 << 61);
    done(&manager, import(&manager));
    let facts = Cartridge::inspect(&there.store, there.id_of(LABEL).unwrap()).unwrap();
    // 64 TiB: more no cartridge can be made with.
    assert_eq!(facts.capacity_bytes, 70_368_744_177_664);
    assert!(facts.early_warning_bytes <= facts.capacity_bytes / 8, "{}", facts.early_warning_bytes);
    assert_eq!(facts.serial.len(), 10);
}

#[test]
fn a_rewrap_gives_the_bundle_to_other_keys_and_sends_no_object() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::new();
    let remote = Watched::on(place.path());
    here.put_remote(remote.clone());
    here.private.lock().unwrap().push("s");
    here.signers.lock().unwrap().push("s");
    here.cartridge(LABEL, &tape(1));
    let manager = here.start();
    done(&manager, export(&manager, &json!({ "key": KEY, "sign_with": "s" })));
    let objects = |place: &Path| -> BTreeMap<PathBuf, Vec<u8>> {
        let all = files(place).into_iter().filter(|path| !path.to_str().unwrap().ends_with(".manifest"));
        all.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
    };
    let (before, old) = (objects(place.path()), manifest(place.path()).0);
    remote.puts.lock().unwrap().clear();
    let result = done(&manager, of_folder(&manager, REWRAP, &json!({ "key": OTHER_KEY })));
    assert_eq!((&result["signed_with"], result["recipients"].as_array().unwrap().len()), (&json!("s"), 1));
    assert!(remote.puts.lock().unwrap().is_empty() && objects(place.path()) == before);
    let (new, signed) = manifest(place.path());
    assert_eq!(signed, Signed::By(signing_key("s").unwrap().verifying().unwrap()));
    assert!(opens(place.path(), OTHER_KEY) && !opens(place.path(), KEY));
    assert_eq!((new.bundle, new.generation, &new.objects), (old.bundle, old.generation, &old.objects));
    assert_eq!(here.rows()[0].manifest_sha256, result["manifest_sha256"]);
    // It is still ours, and still the copy of what is on the cartridge.
    assert_eq!(done(&manager, of_folder(&manager, VERIFY, &json!({})))["known"], true);
    assert_eq!(done(&manager, export(&manager, &json!({})))["skipped"], "unchanged");
    let refused = failed(&manager, of_folder(&manager, REWRAP, &json!({ "key": KEY })));
    assert!(refused.message.contains("no such key"), "the key that opens it now is not here: {refused:?}");
    here.private.lock().unwrap().push(OTHER_KEY);
    done(&manager, of_folder(&manager, REWRAP, &json!({ "key": "k,l" })));
    assert!(opens(place.path(), OTHER_KEY) && opens(place.path(), KEY));

    let there = Bench::with_folder(place.path());
    *there.private.lock().unwrap() = vec![OTHER_KEY];
    let other = there.start();
    done(&other, import(&other));
    assert_eq!(there.tape(LABEL), tape(1));
}

#[test]
fn a_rewrap_that_cannot_be_is_refused_and_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let (here, manager) = exported(place.path(), &["s"], &json!({ "sign_with": "s" }));
    let told = |id| failed(&manager, id).message;
    assert!(told(of_folder(&manager, REWRAP, &json!({ "key": KEY }))).contains("is not encrypted"));
    here.append(here.id_of(LABEL).unwrap(), &[Some(b"more".to_vec())]);
    let folder = done(&manager, export(&manager, &json!({ "key": KEY, "sign_with": "s" })))["folder"].clone();
    let rewrap = |key: &str| {
        let request = json!({ "remote": "r", "folder": folder, "key": key });
        submit(&manager, REWRAP, None, &request.to_string())
    };
    let all =
        || -> Vec<Vec<u8>> { files(place.path()).iter().map(|path| std::fs::read(path).unwrap()).collect() };
    let (before, rows) = (all(), here.rows());
    assert!(told(rewrap("nobody")).contains("no such key"));
    // It was signed, and the key that signed it is not known here by a name.
    here.private.lock().unwrap().retain(|name| *name != "s");
    assert!(told(rewrap(OTHER_KEY)).contains("the key that signed it is not here"));
    here.private.lock().unwrap().clear();
    assert!(told(rewrap(OTHER_KEY)).contains("no such key"));
    assert_eq!((all(), here.rows()), (before, rows));
    let unknown = json!({ "remote": "r", "folder": "VTL009L8-20261126_031500", "key": KEY }).to_string();
    assert!(told(submit(&manager, REWRAP, None, &unknown)).contains("has no manifest"));
}

#[test]
fn a_foreign_bundle_is_not_signed_by_a_rewrap_unless_somebody_says_so() {
    let place = tempfile::tempdir().unwrap();
    exported(place.path(), &[], &json!({ "key": KEY }));
    let (there, manager) = another(place.path(), ForeignRule::Accept, &["s"]);
    there.private.lock().unwrap().extend([OTHER_KEY, "s"]);
    there.set(|settings| settings.defaults.sign_with = Some("s".to_owned()));
    let result = done(&manager, of_folder(&manager, REWRAP, &json!({ "key": OTHER_KEY })));
    assert_eq!((result.get("signed_with"), manifest(place.path()).1), (None, Signed::No));
    let result = done(&manager, of_folder(&manager, REWRAP, &json!({ "key": OTHER_KEY, "sign_with": "s" })));
    assert_eq!(result["signed_with"], "s");

    // A signature of somebody who is not known is not lost by accident.
    let place = tempfile::tempdir().unwrap();
    exported(place.path(), &["t"], &json!({ "key": KEY, "sign_with": "t" }));
    there.put_remote(Arc::new(FolderRemote::open("r", place.path()).unwrap()));
    let refused = failed(&manager, of_folder(&manager, REWRAP, &json!({ "key": OTHER_KEY })));
    assert!(refused.remedy.unwrap().contains("--sign-with none"));
    let request = json!({ "key": OTHER_KEY, "sign_with": "none" });
    assert_eq!(done(&manager, of_folder(&manager, REWRAP, &request)).get("signed_with"), None);
}

#[test]
fn another_server_takes_a_rewrapped_bundle_that_it_knew_when_a_known_signer_says_so() {
    let place = tempfile::tempdir().unwrap();
    let (here, manager) = exported(place.path(), &["s"], &json!({ "key": KEY, "sign_with": "s" }));
    let (there, other) = another(place.path(), ForeignRule::Accept, &[]);
    done(&other, import(&other));
    here.signers.lock().unwrap().push("s");
    done(&manager, of_folder(&manager, REWRAP, &json!({ "key": "k,l" })));
    let refused = failed(&other, of_folder(&other, VERIFY, &json!({})));
    assert!(refused.message.contains("is not the one that was written or read here"), "{refused:?}");
    there.signers.lock().unwrap().push("s");
    assert_eq!(done(&other, of_folder(&other, VERIFY, &json!({})))["signed"], "signed by s");
}

/// What becomes of a call that comes when the line is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    /// It does not arrive.
    Before,
    /// It is done, and the answer is lost.
    After,
    /// Half of an object is left.
    Torn,
}

/// A remote whose line is cut after so many calls that change something.
#[derive(Debug)]
struct CutOff {
    inner: FolderRemote,
    place: PathBuf,
    left: AtomicI64,
    how: Mutex<Cut>,
}

impl CutOff {
    fn is_over(&self) -> bool {
        self.left.load(Ordering::SeqCst) <= 0
    }

    fn lost() -> Error {
        Error::new(Class::Interrupted, Doing::Create, "the line is cut")
    }

    /// Whether this call is the one at which the line is cut; later ones fail.
    fn counts(&self) -> Result<Option<Cut>, Error> {
        match self.left.fetch_sub(1, Ordering::SeqCst) {
            left if left <= 0 => Err(Self::lost()),
            1 => Ok(Some(*self.how.lock().unwrap())),
            _ => Ok(None),
        }
    }
}

#[async_trait]
impl Remote for CutOff {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn abilities(&self) -> Abilities {
        self.inner.abilities()
    }

    /// Only whole objects are cut off.
    fn streams(&self) -> Option<&dyn Streams> {
        None
    }

    async fn put(&self, put: Put<'_>) -> Result<Receipt, Error> {
        self.inner.put(put).await
    }

    async fn create(&self, name: &ObjectName, bytes: Bytes) -> Result<(), Error> {
        match self.counts()? {
            None => self.inner.create(name, bytes).await,
            Some(Cut::Before) => Err(Self::lost()),
            Some(Cut::After) => self.inner.create(name, bytes).await.and(Err(Self::lost())),
            Some(Cut::Torn) => {
                let path = self.place.join(name.as_str());
                if !path.exists() {
                    std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
                }
                Err(Self::lost())
            }
        }
    }

    async fn get(&self, name: &ObjectName, span: Span) -> Result<ByteStream, Error> {
        if self.is_over() { Err(Self::lost()) } else { self.inner.get(name, span).await }
    }

    async fn head(&self, name: &ObjectName) -> Result<Head, Error> {
        if self.is_over() { Err(Self::lost()) } else { self.inner.head(name).await }
    }

    async fn hashes(&self, name: &ObjectName) -> Result<Vec<StoredHash>, Error> {
        self.inner.hashes(name).await
    }

    async fn list(&self, folder: &Folder, after: Option<&ObjectName>, most: usize) -> Result<Page, Error> {
        self.inner.list(folder, after, most).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        match self.counts()? {
            None => self.inner.delete(name).await,
            Some(Cut::After) => self.inner.delete(name).await.and(Err(Self::lost())),
            Some(Cut::Before | Cut::Torn) => Err(Self::lost()),
        }
    }

    async fn abandon(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.inner.abandon(checkpoint).await
    }

    async fn half_sent(&self, folder: &Folder) -> Result<Vec<HalfSent>, Error> {
        self.inner.half_sent(folder).await
    }
}

/// After a rewrap: one manifest, for the new key alone, and the catalogue says the same.
fn is_rewrapped(place: &Path, here: &Bench) {
    let manifests: Vec<PathBuf> =
        files(place).into_iter().filter(|path| path.to_str().unwrap().contains(".manifest")).collect();
    assert_eq!(manifests, [place.join(FOLDER).join("VTL001L8.manifest")]);
    assert!(opens(place, OTHER_KEY) && !opens(place, KEY));
    let bytes = std::fs::read(&manifests[0]).unwrap();
    assert_eq!(here.rows()[0].manifest_sha256, vtl_migrate::sha256(&bytes));
}

#[test]
fn a_rewrap_that_is_cut_off_at_any_call_leaves_a_bundle_that_opens_and_is_done_by_the_next_attempt() {
    for how in [Cut::Before, Cut::After, Cut::Torn] {
        let mut ends = Vec::new();
        for calls in 1..30 {
            let place = tempfile::tempdir().unwrap();
            let (here, manager) = exported(place.path(), &[], &json!({ "key": KEY }));
            let cut = Arc::new(CutOff {
                inner: FolderRemote::open("r", place.path()).unwrap(),
                place: place.path().to_owned(),
                left: AtomicI64::new(calls),
                how: Mutex::new(how),
            });
            here.put_remote(cut.clone());
            let id = of_folder(&manager, REWRAP, &json!({ "key": OTHER_KEY }));
            let job = ended(&manager, id);
            let lived = !cut.is_over();
            assert_eq!(job.state == State::Completed, lived, "{how:?} {calls}: {:?}", job.trouble);
            assert_ne!(opens(place.path(), KEY), opens(place.path(), OTHER_KEY), "{how:?} {calls}");
            assert!(here.found()[0].complete, "{how:?} {calls}");
            // Whatever the moment, what is there is known.
            here.put_remote(Arc::new(FolderRemote::open("r", place.path()).unwrap()));
            assert_eq!(done(&manager, of_folder(&manager, VERIFY, &json!({})))["known"], true);
            if !lived {
                let again = manager.retry(id).unwrap().job.id;
                done(&manager, again);
            }
            is_rewrapped(place.path(), &here);
            if lived {
                ends.push(calls);
                break;
            }
        }
        assert_eq!(ends.len(), 1, "{how:?}: the cuts went past the end");
    }
}

#[test]
fn a_rewrap_that_dies_at_any_change_of_the_inventory_or_is_cancelled_after_that_leaves_what_opens_and_is_known()
 {
    for cancelled in [false, true] {
        let mut lived = false;
        for changes in 0..40 {
            let place = tempfile::tempdir().unwrap();
            let (here, manager) = exported(place.path(), &[], &json!({ "key": KEY }));
            let id = of_folder(&manager, REWRAP, &json!({ "key": OTHER_KEY }));
            here.dies_after(changes);
            manager
                .wait_until(id, Some(common::PATIENCE), |job| here.is_dead() || job.state.is_terminal())
                .unwrap();
            lived = !here.is_dead();
            manager.stop();
            drop(manager);
            assert_ne!(opens(place.path(), KEY), opens(place.path(), OTHER_KEY), "{changes}");
            let manager = here.start();
            if cancelled {
                // It may have ended meanwhile.
                let _ = manager.cancel(id);
            }
            let job = ended(&manager, id);
            match job.state {
                State::Completed => is_rewrapped(place.path(), &here),
                State::Cancelled => {
                    assert_ne!(opens(place.path(), KEY), opens(place.path(), OTHER_KEY), "{changes}");
                    assert!(!place.path().join(FOLDER).join("VTL001L8.manifest.new").exists());
                    let bytes = std::fs::read(place.path().join(FOLDER).join("VTL001L8.manifest")).unwrap();
                    assert!(here.rows()[0].has_manifest(&vtl_migrate::sha256(&bytes)), "{changes}");
                }
                other => panic!("{other:?} {:?}", job.trouble),
            }
            if lived {
                break;
            }
        }
        assert!(lived, "the crashes went past the end");
    }
}

#[test]
fn a_fetch_copies_a_bundle_as_it_is_without_a_key_and_leaves_nothing_when_it_fails() {
    let (place, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let here = Bench::with_folder(place.path());
    here.private.lock().unwrap().push("s");
    here.cartridge(LABEL, &tape(1));
    let manager = here.start();
    done(&manager, export(&manager, &json!({ "key": KEY, "sign_with": "s" })));
    let (there, manager) = another(place.path(), ForeignRule::Refuse, &["s"]);
    there.private.lock().unwrap().clear();
    let to = home.path().to_str().unwrap();
    let fetch = |to: &str| of_folder(&manager, FETCH, &json!({ "to": to }));
    let result = done(&manager, fetch(to));
    assert_eq!(
        (&result["place"], &result["signed"]),
        (&json!(format!("{to}/{FOLDER}")), &json!("signed by s"))
    );
    let names = |folder: &Path| -> BTreeMap<String, Vec<u8>> {
        let all = files(&folder.join(FOLDER)).into_iter();
        all.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap()))
            .collect()
    };
    assert_eq!(names(home.path()), names(place.path()));
    assert!(there.staging_is_empty());
    let again = failed(&manager, fetch(to));
    assert!(again.message.contains("is there already"), "{again:?}");

    let other = tempfile::tempdir().unwrap();
    let nothing_left = || std::fs::read_dir(other.path()).unwrap().next().is_none();
    let no_folder = failed(&manager, fetch(other.path().join("nowhere").to_str().unwrap()));
    assert!(no_folder.message.contains("nowhere") && nothing_left(), "{no_folder:?}");
    // A part that somebody else has made is his.
    let part = other.path().join(format!("{FOLDER}.part"));
    std::fs::create_dir(&part).unwrap();
    std::fs::write(part.join("mine"), b"mine").unwrap();
    let refused = failed(&manager, fetch(other.path().to_str().unwrap()));
    assert!(refused.message.contains(".part is there already") && part.join("mine").exists(), "{refused:?}");
    std::fs::remove_dir_all(&part).unwrap();
    let object = place.path().join(FOLDER).join("VTL001L8.img.000002");
    let mut bytes = std::fs::read(&object).unwrap();
    bytes[500] ^= 1;
    std::fs::write(&object, bytes).unwrap();
    let damaged = failed(&manager, fetch(other.path().to_str().unwrap()));
    assert!(
        damaged.message.contains("img.000002") && nothing_left() && there.staging_is_empty(),
        "{damaged:?}"
    );
}

#[test]
fn a_fetch_that_dies_begins_its_own_part_anew() {
    let place = tempfile::tempdir().unwrap();
    exported(place.path(), &[], &json!({}));
    let mut lived = false;
    for changes in 0..40 {
        let home = tempfile::tempdir().unwrap();
        let (there, manager) = another(place.path(), ForeignRule::Accept, &[]);
        let id = of_folder(&manager, FETCH, &json!({ "to": home.path() }));
        there.dies_after(changes);
        manager
            .wait_until(id, Some(common::PATIENCE), |job| there.is_dead() || job.state.is_terminal())
            .unwrap();
        lived = !there.is_dead();
        manager.stop();
        drop(manager);
        let part = home.path().join(format!("{FOLDER}.part"));
        let jobs = there.meta.lock().unwrap().read(vtl_jobs::unfinished).unwrap();
        let begun = jobs.iter().any(|job| !job.checkpoint.is_empty()) && !home.path().join(FOLDER).exists();
        if begun && !part.exists() {
            // As a crash would have left it, when it came in the middle.
            std::fs::create_dir(&part).unwrap();
            std::fs::write(part.join("VTL001L8.img.000001"), b"half").unwrap();
        }
        let manager = there.start();
        done(&manager, id);
        assert!(home.path().join(FOLDER).join("VTL001L8.manifest").exists() && !part.exists(), "{changes}");
        if lived {
            break;
        }
    }
    assert!(lived, "the crashes went past the end");
}

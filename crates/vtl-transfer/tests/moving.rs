//! Objects on their way: how many are staged at most, what a full disk, a stop and a failure leave, and that nothing is read before it is verified.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use vtl_bundle::{Sink as _, Source as _, Stored};
use vtl_jobs::{Class, Failure};
use vtl_remote::{
    Content, Doing, Fault, FaultyRemote, Folder, FolderRemote, Limiter, Mode, Plan, Remote, hex,
};
use vtl_transfer::{
    Confirmed, Line, Measure, Pace, Permission, Space, Staging, Trouble, receive, receive_for_image, send,
};

const FOLDER: &str = "VTL001L8-20261126_031500";

/// No object of these tests has more.
const MOST: u64 = 10 << 20;
const PLENTY: u64 = 1 << 40;

/// A disk of 1 TiB, of which so much is free as the test says.
#[derive(Debug)]
struct Disk(AtomicU64);

impl Disk {
    fn with_free(bytes: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(bytes)))
    }

    fn set_free(&self, bytes: u64) {
        self.0.store(bytes, Ordering::SeqCst);
    }
}

impl Measure for Disk {
    fn space(&self, _folder: &Path) -> Option<Space> {
        Some(Space { all: PLENTY, free: self.0.load(Ordering::SeqCst) })
    }
}

/// What happens while a job waits for room; whether it goes on to wait.
type Meanwhile = Box<dyn FnMut() -> bool + Send>;

/// A job of its own: it stops when it is told to, and looks into the staging folder whenever it is asked anything.
#[derive(Default)]
struct Job {
    stop: AtomicBool,
    staging: Mutex<Option<std::path::PathBuf>>,
    most_staged: AtomicUsize,
    confirmed: Mutex<Vec<String>>,
    notes: Mutex<Vec<String>>,
    meanwhile: Mutex<Option<Meanwhile>>,
    refuses_to_keep: AtomicBool,
    permits: AtomicUsize,
    /// The first object cannot be begun, and that is told when this says so.
    first_fails: Mutex<Option<Receiver<()>>>,
}

impl Job {
    fn look(&self) {
        if let Some(path) = &*self.staging.lock().unwrap() {
            let count = std::fs::read_dir(path).map_or(0, Iterator::count);
            self.most_staged.fetch_max(count, Ordering::SeqCst);
        }
    }
}

impl Pace for Job {
    fn goes_on(&self) -> bool {
        self.look();
        !self.stop.load(Ordering::SeqCst)
    }

    fn wait(&self, _time: Duration) -> bool {
        let goes_on = self.meanwhile.lock().unwrap().as_mut().is_some_and(|meanwhile| meanwhile());
        if !goes_on {
            // Nobody makes room: the operator gives up.
            self.stop.store(true, Ordering::SeqCst);
        }
        goes_on
    }

    fn permit(&self) -> Option<Permission> {
        self.look();
        self.permits.fetch_add(1, Ordering::SeqCst);
        Some(Box::new(()))
    }

    fn confirmed(&self, object: &Confirmed) -> Result<(), Failure> {
        if self.refuses_to_keep.load(Ordering::SeqCst) {
            let message = "the disk is full".to_owned();
            return Err(Failure { class: Class::Temporary, code: "internal".into(), message, remedy: None });
        }
        self.confirmed.lock().unwrap().push(object.object.name.clone());
        Ok(())
    }

    fn began(&self, object: &str, _checkpoint: &str) -> Result<(), Failure> {
        if object != names(1)[0] {
            return Ok(());
        }
        let Some(told) = self.first_fails.lock().unwrap().take() else { return Ok(()) };
        told.recv().unwrap();
        Err(Failure {
            class: Class::Temporary,
            code: "internal".into(),
            message: "the checkpoint is lost".into(),
            remedy: None,
        })
    }

    fn sealing(&self, _sha256: &str) -> Result<(), Failure> {
        Ok(())
    }

    fn moved(&self, _object: &Stored, _bytes: u64) {}

    fn note(&self, text: &str) {
        self.notes.lock().unwrap().push(text.to_owned());
    }
}

struct Desk {
    runtime: Runtime,
    home: tempfile::TempDir,
    place: tempfile::TempDir,
    limiter: Limiter,
    folder: Folder,
}

impl Desk {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let (home, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = Folder::new(FOLDER).unwrap();
        Self { runtime: runtime.unwrap(), home, place, limiter: Limiter::unlimited(), folder }
    }

    /// A folder that objects are staged for, as for anything far away.
    fn remote(&self) -> Arc<dyn Remote> {
        Arc::new(FaultyRemote::new(self.disk(), Plan::script([])))
    }

    /// A folder of this machine.
    fn disk(&self) -> Arc<FolderRemote> {
        Arc::new(FolderRemote::open("r", self.place.path()).unwrap())
    }

    fn staging(&self, job: &Job, free_bytes: u64) -> Staging {
        self.staging_on(Disk::with_free(free_bytes), job)
    }

    fn staging_on(&self, disk: Arc<Disk>, job: &Job) -> Staging {
        let staging = Staging::open(&self.home.path().join("staging"), "job-1", 0).unwrap().measured(disk);
        *job.staging.lock().unwrap() = Some(self.home.path().join("staging/job-1"));
        staging
    }

    fn line<'a>(&'a self, remote: &'a dyn Remote, staging: &'a Staging) -> Line<'a> {
        Line {
            runtime: self.runtime.handle(),
            remote,
            folder: &self.folder,
            staging,
            slots: 2,
            limiter: &self.limiter,
            verify: Mode::RemoteHash,
        }
    }

    fn is_clean(&self) -> bool {
        let parent = self.home.path().join("staging");
        std::fs::read_dir(parent).map_or(true, |mut entries| entries.next().is_none())
    }
}

fn object(number: u32) -> (Stored, Vec<u8>) {
    let bytes = vec![number as u8; 100_000 + number as usize];
    let content = Content::of(&bytes);
    let stored = Stored {
        name: format!("VTL001L8.img.{number:06}"),
        bytes: content.size,
        md5: hex(&content.md5),
        sha256: hex(&content.sha256),
        frames: 1,
    };
    (stored, bytes)
}

fn send_all(desk: &Desk, remote: &dyn Remote, job: &Job, free_bytes: u64, count: u32) -> Result<(), Trouble> {
    let staging = desk.staging(job, free_bytes);
    send(desk.line(remote, &staging), 0, Vec::new(), MOST, job, |mut outbox| {
        for number in 1..=count {
            let (stored, bytes) = object(number);
            let begun = outbox.begin(&stored.name);
            let sent =
                begun.and_then(|()| outbox.write(&bytes.clone().into())).and_then(|()| outbox.end(&stored));
            if sent.is_err() {
                // What it was is told by the transfer.
                return Err(Trouble::Stopped);
            }
        }
        Ok(())
    })
}

fn names(count: u32) -> Vec<String> {
    (1..=count).map(|number| object(number).0.name).collect()
}

fn files(place: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(place.join(FOLDER)) else { return Vec::new() };
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

#[test]
fn one_object_more_than_slots_is_staged_at_most_and_all_are_confirmed_in_their_order() {
    let (desk, job) = (Desk::new(), Job::default());
    let slow = Plan::script((0..8).map(|_| (Doing::Put, Fault::Slow(Duration::from_millis(150)))));
    let remote = FaultyRemote::new(desk.remote(), slow);
    send_all(&desk, &remote, &job, PLENTY, 8).unwrap();
    assert_eq!(*job.confirmed.lock().unwrap(), names(8));
    assert_eq!(files(desk.place.path()), names(8));
    assert_eq!(job.most_staged.load(Ordering::SeqCst), 3, "two are sent and one fills");
    assert!(desk.is_clean());
}

#[test]
fn without_room_a_transfer_waits_and_says_so_and_does_not_fail() {
    let (desk, job) = (Desk::new(), Job::default());
    let remote = desk.remote();
    assert_eq!(send_all(&desk, &*remote, &job, MOST - 1, 1), Err(Trouble::Stopped));
    let notes = job.notes.lock().unwrap();
    assert!(notes.len() == 1 && notes[0].contains("waits for room"), "{notes:?}");
    assert!(notes[0].contains("10485760 bytes are needed, 10485759 are free"), "{notes:?}");
    assert!(notes[0].contains("migrate.chunk_size"), "{notes:?}");
    assert!(files(desk.place.path()).is_empty() && desk.is_clean());
}

#[test]
fn a_transfer_that_waits_for_room_goes_on_when_some_is_made_before_an_object_and_in_its_middle() {
    let (desk, job, disk) = (Desk::new(), Job::default(), Disk::with_free(0));
    let remote = desk.remote();
    let freed = Arc::clone(&disk);
    *job.meanwhile.lock().unwrap() = Some(Box::new(move || {
        freed.set_free(PLENTY);
        true
    }));
    let staging = desk.staging_on(Arc::clone(&disk), &job);
    send(desk.line(&*remote, &staging), 0, Vec::new(), MOST, &job, |mut outbox| {
        let (stored, bytes) = object(1);
        outbox.begin(&stored.name).unwrap();
        assert_eq!(job.notes.lock().unwrap().len(), 1, "it waited for room for the object");
        disk.set_free(0);
        outbox.write(&bytes.clone().into()).unwrap();
        assert_eq!(job.notes.lock().unwrap().len(), 2, "others had taken it");
        outbox.end(&stored).unwrap();
        Ok(())
    })
    .unwrap();
    assert_eq!(*job.confirmed.lock().unwrap(), names(1));
}

#[test]
fn an_object_that_can_never_fit_fails_at_once_with_what_is_needed_what_there_is_and_what_helps() {
    let (desk, job) = (Desk::new(), Job::default());
    let remote = desk.remote();
    let staging = desk.staging(&job, PLENTY);
    let sent = send(desk.line(&*remote, &staging), 0, Vec::new(), PLENTY + 1, &job, |mut outbox| {
        outbox.begin(&object(1).0.name).map_err(|_| Trouble::Stopped)
    });
    let Err(Trouble::Failed(failure)) = sent else { panic!("it began: {sent:?}") };
    assert_eq!((failure.class, failure.code.as_str()), (Class::Permanent, "full"));
    let folder = desk.home.path().join("staging/job-1").display().to_string();
    for part in [folder, (PLENTY + 1).to_string(), PLENTY.to_string()] {
        assert!(failure.message.contains(&part), "{part}: {failure:?}");
    }
    let remedy = failure.remedy.unwrap();
    assert!(remedy.contains("migrate.chunk_size") && remedy.contains("migrate.staging_dir"), "{remedy}");
    assert!(
        job.notes.lock().unwrap().is_empty() && !job.stop.load(Ordering::SeqCst),
        "nothing was waited for"
    );
}

#[test]
fn who_waits_for_room_hears_of_the_upload_that_fails_and_makes_none() {
    let (desk, job, disk) = (Desk::new(), Job::default(), Disk::with_free(PLENTY));
    let failing = FaultyRemote::new(desk.remote(), Plan::script([(Doing::Put, Fault::Drop)]));
    let slow = Plan::script([(Doing::Put, Fault::Slow(Duration::from_millis(200)))]);
    let remote = FaultyRemote::new(Arc::new(failing), slow);
    let mut looks = 0;
    *job.meanwhile.lock().unwrap() = Some(Box::new(move || {
        std::thread::sleep(Duration::from_millis(10));
        looks += 1;
        looks < 1000
    }));
    let staging = desk.staging_on(Arc::clone(&disk), &job);
    let sent = send(desk.line(&remote, &staging), 0, Vec::new(), MOST, &job, |mut outbox| {
        let ((first, bytes), (second, _)) = (object(1), object(2));
        outbox
            .begin(&first.name)
            .and_then(|()| outbox.write(&bytes.clone().into()))
            .and_then(|()| outbox.end(&first))
            .unwrap();
        disk.set_free(0);
        outbox.begin(&second.name).map_err(|_| Trouble::Stopped)
    });
    assert!(matches!(&sent, Err(Trouble::Failed(_))), "{sent:?}");
    assert!(!job.stop.load(Ordering::SeqCst), "it waited for ever");
}

#[test]
fn what_fails_is_told_with_its_class_and_nothing_after_it_is_confirmed() {
    for (fault, again) in [(Fault::Drop, true), (Fault::Corrupt, true), (Fault::Lose, false)] {
        let (desk, job) = (Desk::new(), Job::default());
        let remote = FaultyRemote::new(desk.remote(), Plan::script([(Doing::Put, fault)]));
        let told = send_all(&desk, &remote, &job, PLENTY, 6);
        let Err(Trouble::Failed(failure)) = told else { panic!("{fault:?} passed") };
        assert_eq!(failure.class == Class::Temporary, again, "{fault:?}: {failure:?}");
        let confirmed = job.confirmed.lock().unwrap();
        // Which upload meets the fault is not known, but they are a beginning.
        assert!(confirmed.len() < 6 && names(6).starts_with(&confirmed), "{confirmed:?}");
        assert!(desk.is_clean());
    }
}

#[test]
fn what_could_not_be_kept_is_not_confirmed() {
    let (desk, job) = (Desk::new(), Job::default());
    job.refuses_to_keep.store(true, Ordering::SeqCst);
    let remote = desk.remote();
    let told = send_all(&desk, &*remote, &job, PLENTY, 3);
    assert!(
        matches!(&told, Err(Trouble::Failed(failure)) if failure.message == "the disk is full"),
        "{told:?}"
    );
    assert!(job.confirmed.lock().unwrap().is_empty() && desk.is_clean());
}

#[test]
fn a_stop_ends_it_soon_and_leaves_no_file() {
    let (desk, job) = (Desk::new(), Job::default());
    let slow = Plan::script((0..8).map(|_| (Doing::Put, Fault::Slow(Duration::from_secs(3600)))));
    let remote = FaultyRemote::new(desk.remote(), slow);
    let told = std::thread::scope(|scope| {
        let sending = scope.spawn(|| send_all(&desk, &remote, &job, PLENTY, 8));
        while job.most_staged.load(Ordering::SeqCst) < 3 {
            std::thread::sleep(Duration::from_millis(10));
        }
        job.stop.store(true, Ordering::SeqCst);
        let began = Instant::now();
        let told = sending.join().unwrap();
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        told
    });
    assert_eq!(told, Err(Trouble::Stopped));
    assert!(job.confirmed.lock().unwrap().is_empty() && desk.is_clean());
}

#[test]
fn staged_files_are_for_the_owner_alone_and_a_start_empties_the_folder_of_jobs_and_of_nothing_else() {
    let (desk, job) = (Desk::new(), Job::default());
    let remote = desk.remote();
    let staging = desk.staging(&job, PLENTY);
    let parent = desk.home.path().join("staging");
    let mode = |path: &str| std::fs::metadata(parent.join(path)).unwrap().permissions().mode() & 0o777;
    send(desk.line(&*remote, &staging), 0, Vec::new(), MOST, &job, |mut outbox| {
        outbox.begin("VTL001L8.img.000001").unwrap();
        outbox.write(&bytes::Bytes::from_static(b"secret")).unwrap();
        assert_eq!((mode("job-1"), mode("job-1/VTL001L8.img.000001")), (0o700, 0o600));
        Ok(())
    })
    .unwrap();
    // As a crash would.
    std::mem::forget(staging);
    std::fs::create_dir(parent.join("other")).unwrap();
    vtl_transfer::empty(&parent, &[]).unwrap();
    let left: Vec<_> = std::fs::read_dir(&parent).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["other"]);
    vtl_transfer::empty(&desk.home.path().join("nowhere"), &[]).unwrap();
}

/// What a crash leaves of these objects, each as it says: whole, damaged, cut off or gone.
fn left_by_a_crash(desk: &Desk, objects: &[(u32, &str)]) -> Vec<Stored> {
    let folder = desk.home.path().join("staging/job-1");
    std::fs::create_dir_all(&folder).unwrap();
    let write = |(number, how): &(u32, &str)| {
        let (stored, mut bytes) = object(*number);
        match *how {
            "damaged" => bytes[5] ^= 1,
            "cut off" => bytes.truncate(10),
            _ => {}
        }
        if *how != "gone" {
            std::fs::write(folder.join(&stored.name), bytes).unwrap();
        }
        stored
    };
    objects.iter().map(write).collect()
}

#[test]
fn of_what_a_crash_left_as_much_as_is_whole_is_sent_as_it_is_and_the_rest_goes() {
    for (objects, whole) in [
        (&[(3, "whole"), (4, "whole")][..], 2),
        (&[(3, "whole"), (4, "damaged"), (5, "whole")], 1),
        (&[(3, "cut off"), (4, "whole")], 0),
        (&[(3, "whole"), (4, "gone"), (5, "whole")], 1),
        (&[(3, "gone")], 0),
    ] {
        let (desk, job) = (Desk::new(), Job::default());
        let known = left_by_a_crash(&desk, objects);
        let parent = desk.home.path().join("staging");
        std::fs::write(parent.join("job-1/VTL001L8.img.000009"), "half").unwrap();
        let (staging, left) = Staging::reopen(&parent, "job-1", 0, &known, &job).unwrap();
        assert_eq!(left.len(), whole, "{objects:?}");
        assert_eq!(std::fs::read_dir(parent.join("job-1")).unwrap().count(), whole, "{objects:?}");
        let names: Vec<String> = left.iter().map(|left| left.object().name.clone()).collect();
        let remote = desk.remote();
        send(desk.line(&*remote, &staging), 2, left, MOST, &job, |_| Ok(())).unwrap();
        assert_eq!(*job.confirmed.lock().unwrap(), names);
        assert_eq!(files(desk.place.path()), names);
        drop(staging);
        assert!(desk.is_clean());
    }
}

#[test]
fn a_name_that_leads_out_of_the_staging_folder_is_nothing_that_a_crash_left() {
    let (desk, job) = (Desk::new(), Job::default());
    let parent = desk.home.path().join("staging");
    let (stored, bytes) = object(1);
    std::fs::create_dir_all(parent.join("job-1")).unwrap();
    std::fs::write(parent.join(&stored.name), bytes).unwrap();
    let outside = Stored { name: format!("../{}", stored.name), ..stored.clone() };
    let (_staging, left) = Staging::reopen(&parent, "job-1", 0, &[outside], &job).unwrap();
    assert!(left.is_empty() && parent.join(&stored.name).exists());
}

#[test]
fn a_start_leaves_what_a_job_may_go_on_with_and_a_job_that_ends_takes_it_along() {
    let desk = Desk::new();
    left_by_a_crash(&desk, &[(1, "whole")]);
    let parent = desk.home.path().join("staging");
    std::fs::create_dir(parent.join("job-11")).unwrap();
    vtl_transfer::empty(&parent, &["job-1".to_owned()]).unwrap();
    assert!(parent.join("job-1/VTL001L8.img.000001").exists() && !parent.join("job-11").exists());
    vtl_transfer::discard(&parent, "job-1").unwrap();
    vtl_transfer::discard(&parent, "job-1").unwrap();
    assert!(desk.is_clean());
}

struct OnDisk(std::path::PathBuf, Option<std::fs::File>);

impl vtl_bundle::Sink for OnDisk {
    fn begin(&mut self, name: &str) -> std::io::Result<()> {
        self.1 = Some(std::fs::File::create(self.0.join(name))?);
        Ok(())
    }

    fn write(&mut self, bytes: &bytes::Bytes) -> std::io::Result<()> {
        std::io::Write::write_all(self.1.as_mut().unwrap(), bytes)
    }

    fn end(&mut self, _object: &Stored) -> std::io::Result<()> {
        Ok(())
    }
}

/// A bundle of three objects in the remote's folder.
fn bundle(desk: &Desk) -> vtl_bundle::Manifest {
    let settings = vtl_bundle::Settings {
        version: vtl_bundle::Version::default(),
        label: "VTL001L8".parse().unwrap(),
        created: "20261126_031500".parse().unwrap(),
        generation: 1,
        attributes: vtl_bundle::Attributes::default(),
        codec: vtl_codec::Method::Raw,
        level: 1,
        chunk_bytes: 1 << 20,
        recipients: Vec::new(),
        signing: None,
        random: vtl_codec::Randomness::system(),
    };
    let home = desk.place.path().join(FOLDER);
    std::fs::create_dir_all(&home).unwrap();
    let mut writer = vtl_bundle::Writer::new(settings, OnDisk(home, None)).unwrap();
    (0..10).for_each(|at| writer.block(&vec![at; 250_000]).unwrap());
    writer.finish().unwrap().0
}

#[test]
fn no_byte_of_an_object_is_read_that_is_not_what_the_manifest_says() {
    let desk = Desk::new();
    let manifest = bundle(&desk);
    assert!(manifest.objects.len() >= 3);
    let remote = desk.remote();
    let read = |job: &Job| {
        let staging = desk.staging(job, PLENTY);
        receive(desk.line(&*remote, &staging), &manifest, job, |mut inbox| {
            let mut all = 0;
            for object in &manifest.objects {
                let Ok(mut staged) = inbox.open(&object.name) else { return Err(Trouble::Stopped) };
                let mut bytes = Vec::new();
                staged.read_to_end(&mut bytes).unwrap();
                assert_eq!(hex(&Content::of(&bytes).sha256), object.sha256);
                all += bytes.len() as u64;
            }
            Ok(all)
        })
    };
    let job = Job::default();
    assert_eq!(read(&job), Ok(manifest.objects.iter().map(|object| object.bytes).sum()));
    assert!(job.most_staged.load(Ordering::SeqCst) <= 3 && desk.is_clean());
    let name = &manifest.objects[1].name;
    let path = desk.place.path().join(FOLDER).join(name);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let Err(Trouble::Failed(failure)) = read(&Job::default()) else { panic!("a wrong bit passed") };
    assert!(failure.class == Class::Temporary && failure.message.contains(name.as_str()), "{failure:?}");
    std::fs::remove_file(&path).unwrap();
    let Err(Trouble::Failed(failure)) = read(&Job::default()) else { panic!("a missing object passed") };
    assert_eq!((failure.class, failure.code.as_str()), (Class::Permanent, "not-found"));
    assert!(failure.message.contains(name.as_str()), "{failure:?}");
    assert!(desk.is_clean());
}

#[test]
fn a_download_that_waits_for_room_has_no_right_to_a_transfer_and_those_after_it_wait_behind_it() {
    let (desk, job) = (Desk::new(), Job::default());
    let manifest = bundle(&desk);
    let remote = desk.remote();
    let staging = desk.staging(&job, 0);
    let received = receive(desk.line(&*remote, &staging), &manifest, &job, |mut inbox| {
        inbox.open(&manifest.objects[0].name).map(drop).map_err(|_| Trouble::Stopped)
    });
    assert_eq!(received, Err(Trouble::Stopped));
    let notes = job.notes.lock().unwrap();
    assert!(notes.len() == 1 && notes[0].contains("waits for room"), "{notes:?}");
    assert_eq!(job.permits.load(Ordering::SeqCst), 0);
}

#[test]
fn a_disk_takes_objects_while_they_are_made_and_nothing_is_staged() {
    let (desk, job) = (Desk::new(), Job::default());
    let disk = desk.disk();
    send_all(&desk, &*disk, &job, 0, 8).unwrap();
    assert_eq!(*job.confirmed.lock().unwrap(), names(8));
    assert_eq!(files(desk.place.path()), names(8));
    for number in 1..=8 {
        let (stored, bytes) = object(number);
        assert!(std::fs::read(desk.place.path().join(FOLDER).join(stored.name)).unwrap() == bytes);
    }
    assert_eq!(job.most_staged.load(Ordering::SeqCst), 0);
    assert_eq!(job.permits.load(Ordering::SeqCst), 8);
    assert!(desk.is_clean());
}

/// Sends one whole object and half of another one, with `work` between.
fn cut_off(
    desk: &Desk,
    job: &Job,
    work: impl FnOnce(&mut vtl_transfer::Outbox<'_, '_>) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    let (disk, staging) = (desk.disk(), desk.staging(job, PLENTY));
    send(desk.line(&*disk, &staging), 0, Vec::new(), MOST, job, |outbox| {
        let ((whole, bytes), (half, _)) = (object(1), object(2));
        let mut sink = &mut *outbox;
        sink.begin(&whole.name)
            .and_then(|()| sink.write(&bytes.clone().into()))
            .and_then(|()| sink.end(&whole))
            .unwrap();
        sink.begin(&half.name).unwrap();
        sink.write(&vec![7; 9 << 20].into()).unwrap();
        work(outbox)
    })
}

#[test]
fn of_an_object_that_is_not_made_to_its_end_nothing_stays_and_what_ended_it_is_told() {
    let (desk, job) = (Desk::new(), Job::default());
    let failure = Failure {
        class: Class::Permanent,
        code: "conflict".to_owned(),
        message: "block 7 cannot be read".to_owned(),
        remedy: None,
    };
    let told = cut_off(&desk, &job, |_| Err(Trouble::Failed(failure.clone())));
    assert_eq!(told, Err(Trouble::Failed(failure)));
    assert_eq!(files(desk.place.path()), names(1));
    assert!(desk.is_clean());
}

#[test]
fn an_object_that_is_being_made_is_not_made_to_its_end_when_one_before_it_has_failed() {
    let (desk, job) = (Desk::new(), Job::default());
    let (fails, told) = channel();
    *job.first_fails.lock().unwrap() = Some(told);
    let (disk, staging) = (desk.disk(), desk.staging(&job, PLENTY));
    let sent = send(desk.line(&*disk, &staging), 0, Vec::new(), MOST, &job, |mut outbox| {
        let ((first, bytes), (second, _)) = (object(1), object(2));
        outbox
            .begin(&first.name)
            .and_then(|()| outbox.write(&bytes.clone().into()))
            .and_then(|()| outbox.end(&first))
            .unwrap();
        outbox.begin(&second.name).unwrap();
        outbox.write(&bytes::Bytes::from_static(b"its beginning")).unwrap();
        fails.send(()).unwrap();
        let is_told = (0..1000).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            outbox.write(&bytes::Bytes::from_static(b"more")).is_err()
        });
        assert!(is_told, "it would have been made to its end");
        Err::<(), _>(Trouble::Stopped)
    });
    let Err(Trouble::Failed(failure)) = sent else { panic!("it passed: {sent:?}") };
    assert!(failure.message.contains("the checkpoint is lost"), "{failure:?}");
    drop(staging);
    assert!(desk.is_clean());
    // What was being made is let go by a thread that nobody waits for.
    let is_gone = (0..1000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        files(desk.place.path()).is_empty()
    });
    assert!(is_gone, "{:?}", files(desk.place.path()));
}

#[test]
fn a_stop_in_the_middle_of_an_object_that_is_being_made_leaves_what_is_whole() {
    let (desk, job) = (Desk::new(), Job::default());
    let told = cut_off(&desk, &job, |mut outbox| {
        job.stop.store(true, Ordering::SeqCst);
        // More than may wait to be sent: the line's end is met.
        let sent = (0..16).try_for_each(|_| outbox.write(&vec![7; 1 << 20].into()));
        assert!(sent.is_err(), "a stop was not heard of");
        Err(Trouble::Stopped)
    });
    assert_eq!(told, Err(Trouble::Stopped));
    assert!(names(1).starts_with(&files(desk.place.path())), "{:?}", files(desk.place.path()));
    assert!(desk.is_clean());
}

#[test]
fn a_folder_that_goes_away_under_an_object_fails_it_and_nothing_after_it_is_confirmed() {
    let (desk, job) = (Desk::new(), Job::default());
    let told = cut_off(&desk, &job, |mut outbox| {
        std::fs::remove_dir_all(desk.place.path().join(FOLDER)).unwrap();
        let (half, _) = object(2);
        let stored = Stored { bytes: 9 << 20, ..half };
        outbox.end(&stored).map_err(|_| Trouble::Stopped)
    });
    let Err(Trouble::Failed(failure)) = told else { panic!("it passed: {told:?}") };
    assert!(failure.message.contains("VTL001L8.img.00000"), "{failure:?}");
    assert!(!job.confirmed.lock().unwrap().contains(&object(2).0.name) && desk.is_clean());
}

#[test]
fn what_lies_on_a_disk_is_read_as_it_comes_and_nothing_is_staged() {
    let (desk, job) = (Desk::new(), Job::default());
    let (manifest, disk) = (bundle(&desk), desk.disk());
    let staging = desk.staging(&job, 0);
    let read = |job: &Job| {
        receive_for_image(desk.line(&*disk, &staging), &manifest, job, |inbox| {
            let mut image = vtl_bundle::Image::open(&manifest, None, inbox).unwrap();
            let mut bytes = 0;
            let copied = image.copy(|piece| {
                bytes += piece.len() as u64;
                Ok(())
            });
            copied.map(|()| bytes).map_err(|_| Trouble::Stopped)
        })
    };
    assert_eq!(read(&job), Ok(manifest.image_bytes));
    assert_eq!(job.most_staged.load(Ordering::SeqCst), 0);
    let path = desk.place.path().join(FOLDER).join(&manifest.objects[1].name);
    std::fs::remove_file(&path).unwrap();
    let Err(Trouble::Failed(failure)) = read(&job) else { panic!("a missing object passed") };
    assert_eq!((failure.class, failure.code.as_str()), (Class::Permanent, "not-found"));
    assert!(failure.message.contains(manifest.objects[1].name.as_str()), "{failure:?}");
}

//! Remotes with a counter in front: every call that goes through is counted by remote and kind, and what fails by class.
//!
//! Also here: since when a remote cannot be reached, as its calls tell; nothing is asked for that alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use vtl_remote::{
    Abilities, ByteStream, Checkpoint, Class, Doing, Error, Flow, Folder, HalfSent, Head, ObjectName, Page,
    Put, Receipt, Remote, Span, StoredHash, Streams,
};

use crate::clock;

/// So many objects whose last call failed are remembered, to tell a retry from a first call.
const MOST_FAILED: usize = 1024;

/// Kinds of calls, as the metrics name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// Sends an object.
    Put,
    /// Sends one that must be new.
    Create,
    /// Fetches.
    Get,
    /// Asks for a size.
    Head,
    /// Asks for hashes.
    Hashes,
    /// Lists.
    List,
    /// Removes.
    Delete,
    /// Removes half an upload.
    Abandon,
}

impl Call {
    /// The word of the label.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Create => "create",
            Self::Get => "get",
            Self::Head => "head",
            Self::Hashes => "hashes",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Abandon => "abandon",
        }
    }
}

/// Since when a remote does not answer, or not to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Away {
    /// The first call that failed.
    pub since_unix_s: u64,
    /// Calls that have failed since, without one that did not.
    pub failures: u64,
    /// What the last one said.
    pub why: String,
}

/// The counts of one remote.
#[derive(Debug, Default)]
pub struct RemoteMeter {
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    calls: BTreeMap<Call, u64>,
    failures: BTreeMap<(Call, &'static str), u64>,
    retries: u64,
    failed: BTreeSet<(Call, String)>,
    away: Option<Away>,
    has_answered: bool,
}

/// A copy of a remote's counts.
#[derive(Clone, Debug, Default)]
pub struct RemoteCounts {
    /// Bytes of objects that were sent whole.
    pub sent_bytes: u64,
    /// Bytes that came.
    pub received_bytes: u64,
    /// Calls.
    pub calls: Vec<(Call, u64)>,
    /// Calls that failed, by class.
    pub failures: Vec<((Call, &'static str), u64)>,
    /// Calls for an object whose last call of that kind had failed.
    pub retries: u64,
    /// It cannot be reached.
    pub away: Option<Away>,
    /// A call has come through since the start.
    pub has_answered: bool,
}

/// The counters of all remotes that were used since the start, by name.
#[derive(Clone, Debug, Default)]
pub struct RemoteMeters(Arc<Mutex<BTreeMap<String, Arc<RemoteMeter>>>>);

impl RemoteMeters {
    /// The remote, with its counter in front.
    pub fn metered(&self, remote: Arc<dyn Remote>) -> Arc<dyn Remote> {
        let meter = lock(&self.0).entry(remote.name().to_owned()).or_default().clone();
        Arc::new(Metered { remote, meter })
    }

    /// A remote that could not be opened, so that no call of it was made: a folder whose disk is not mounted.
    pub fn not_opened(&self, name: &str, error: &Error) {
        let meter = lock(&self.0).entry(name.to_owned()).or_default().clone();
        lock(&meter.counts).note_away(error);
    }

    /// A remote that was removed: one of the same name counts anew.
    pub fn forget(&self, name: &str) {
        lock(&self.0).remove(name);
    }

    /// What was counted, by name.
    pub fn counts(&self) -> Vec<(String, RemoteCounts)> {
        lock(&self.0).iter().map(|(name, meter)| (name.clone(), meter.copy())).collect()
    }
}

/// Whether an error says that the remote as a whole cannot be used, and not one object of it.
fn is_away(class: Class) -> bool {
    matches!(class, Class::Unavailable | Class::Denied | Class::Misconfigured)
}

impl Counts {
    /// Notes an error that says so.
    fn note_away(&mut self, error: &Error) {
        if !is_away(error.class()) {
            return;
        }
        let fresh = || Away { since_unix_s: clock::unix_seconds(), failures: 0, why: String::new() };
        let away = self.away.get_or_insert_with(fresh);
        away.failures += 1;
        away.why = error.to_string();
    }
}

impl RemoteMeter {
    fn begin(&self, call: Call, object: &str) {
        let mut counts = lock(&self.counts);
        *counts.calls.entry(call).or_default() += 1;
        if counts.failed.remove(&(call, object.to_owned())) {
            counts.retries += 1;
        }
    }

    fn end<T>(&self, call: Call, object: &str, outcome: Result<T, Error>) -> Result<T, Error> {
        let mut counts = lock(&self.counts);
        let Err(error) = &outcome else {
            (counts.away, counts.has_answered) = (None, true);
            return outcome;
        };
        *counts.failures.entry((call, error.class().word())).or_default() += 1;
        counts.note_away(error);
        if counts.failed.len() < MOST_FAILED {
            counts.failed.insert((call, object.to_owned()));
        }
        outcome
    }

    fn copy(&self) -> RemoteCounts {
        let counts = lock(&self.counts);
        RemoteCounts {
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            calls: counts.calls.iter().map(|(call, count)| (*call, *count)).collect(),
            failures: counts.failures.iter().map(|(key, count)| (*key, *count)).collect(),
            retries: counts.retries,
            away: counts.away.clone(),
            has_answered: counts.has_answered,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct Metered {
    remote: Arc<dyn Remote>,
    meter: Arc<RemoteMeter>,
}

impl Metered {
    async fn counted<T>(
        &self,
        call: Call,
        object: &str,
        work: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        self.meter.begin(call, object);
        self.meter.end(call, object, work.await)
    }

    fn sent(&self, bytes: u64) {
        self.meter.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[async_trait]
impl Remote for Metered {
    fn name(&self) -> &str {
        self.remote.name()
    }

    fn abilities(&self) -> Abilities {
        self.remote.abilities()
    }

    fn is_rehearsal(&self) -> bool {
        self.remote.is_rehearsal()
    }

    fn streams(&self) -> Option<&dyn Streams> {
        self.remote.streams().map(|_| self as &dyn Streams)
    }

    async fn put(&self, put: Put<'_>) -> Result<Receipt, Error> {
        let (object, size) = (put.name.to_string(), put.content.size);
        let receipt = self.counted(Call::Put, &object, self.remote.put(put)).await?;
        self.sent(size);
        Ok(receipt)
    }

    async fn create(&self, name: &ObjectName, bytes: Bytes) -> Result<(), Error> {
        let size = bytes.len() as u64;
        self.counted(Call::Create, &name.to_string(), self.remote.create(name, bytes)).await?;
        self.sent(size);
        Ok(())
    }

    async fn get(&self, name: &ObjectName, span: Span) -> Result<ByteStream, Error> {
        let object = name.to_string();
        let stream = self.counted(Call::Get, &object, self.remote.get(name, span)).await?;
        let meter = self.meter.clone();
        // A stream that breaks off has failed as well as a call that never gave one.
        let counted = stream.map(move |piece| match piece {
            Ok(bytes) => {
                meter.received_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                Ok(bytes)
            }
            failed => meter.end(Call::Get, &object, failed),
        });
        Ok(counted.boxed())
    }

    async fn head(&self, name: &ObjectName) -> Result<Head, Error> {
        self.counted(Call::Head, &name.to_string(), self.remote.head(name)).await
    }

    async fn hashes(&self, name: &ObjectName) -> Result<Vec<StoredHash>, Error> {
        self.counted(Call::Hashes, &name.to_string(), self.remote.hashes(name)).await
    }

    async fn list(&self, folder: &Folder, after: Option<&ObjectName>, most: usize) -> Result<Page, Error> {
        self.counted(Call::List, &folder.to_string(), self.remote.list(folder, after, most)).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        self.counted(Call::Delete, &name.to_string(), self.remote.delete(name)).await
    }

    async fn abandon(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.counted(Call::Abandon, "", self.remote.abandon(checkpoint)).await
    }

    async fn half_sent(&self, folder: &Folder) -> Result<Vec<HalfSent>, Error> {
        self.counted(Call::List, &folder.to_string(), self.remote.half_sent(folder)).await
    }
}

#[async_trait]
impl Streams for Metered {
    async fn stream(&self, flow: Flow<'_>) -> Result<Receipt, Error> {
        let Some(remote) = self.remote.streams() else {
            return Err(Error::new(Class::Local, Doing::Put, "this remote takes whole objects only"));
        };
        let (object, size) = (flow.name.to_string(), Arc::new(AtomicU64::new(0)));
        let passed = Arc::clone(&size);
        let bytes = flow.bytes.inspect_ok(move |piece| {
            passed.fetch_add(piece.len() as u64, Ordering::Relaxed);
        });
        let flow = Flow { bytes: bytes.boxed(), ..flow };
        self.meter.begin(Call::Put, &object);
        let outcome = remote.stream(flow).await;
        if outcome.as_ref().is_err_and(|error| error.class() == Class::Source) {
            // Who makes the object has stopped: the remote has not failed.
            return outcome;
        }
        let receipt = self.meter.end(Call::Put, &object, outcome)?;
        self.sent(size.load(Ordering::Relaxed));
        Ok(receipt)
    }
}

#[cfg(test)]
mod tests {
    use vtl_remote::{FaultyRemote, FolderRemote, collect};

    use super::*;

    fn name(text: &str) -> ObjectName {
        ObjectName::new(text).unwrap()
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    #[test]
    fn calls_and_bytes_are_counted_and_a_missing_object_is_a_failure_of_that_object_only() {
        let folder = tempfile::tempdir().unwrap();
        let meters = RemoteMeters::default();
        let remote = meters.metered(Arc::new(FolderRemote::open("shed", folder.path()).unwrap()));
        run(async {
            remote.create(&name("a/one"), Bytes::from_static(b"12345")).await.unwrap();
            let stream = remote.get(&name("a/one"), Span::of(1, 3)).await.unwrap();
            assert_eq!(collect(stream, 3).await.unwrap(), "234");
            assert!(remote.head(&name("a/two")).await.is_err());
            assert!(remote.head(&name("a/two")).await.is_err());
        });
        let (of, counts) = meters.counts().remove(0);
        assert_eq!((of.as_str(), counts.sent_bytes, counts.received_bytes), ("shed", 5, 3));
        assert_eq!(counts.calls, [(Call::Create, 1), (Call::Get, 1), (Call::Head, 2)]);
        assert_eq!(counts.failures, [((Call::Head, "not there"), 2)]);
        assert_eq!((counts.retries, counts.away), (1, None));
    }

    #[test]
    fn a_remote_that_does_not_answer_is_away_until_a_call_comes_through() {
        let meter = RemoteMeter::default();
        let fail = |class| Err::<(), _>(Error::new(class, vtl_remote::Doing::Open, "no route"));
        drop(meter.end(Call::Head, "x", fail(Class::NotThere)));
        assert_eq!((meter.copy().away, meter.copy().has_answered), (None, false));
        drop(meter.end(Call::Put, "x", fail(Class::Unavailable)));
        drop(meter.end(Call::Put, "x", fail(Class::Unavailable)));
        let away = meter.copy().away.unwrap();
        assert!(away.failures == 2 && away.why.contains("no route"), "{away:?}");
        assert!(!meter.copy().has_answered);
        drop(meter.end(Call::List, "", Ok(())));
        assert_eq!((meter.copy().away, meter.copy().has_answered), (None, true));
    }

    #[test]
    fn an_object_that_is_not_made_to_its_end_is_no_failure_of_the_remote() {
        let folder = tempfile::tempdir().unwrap();
        let meters = RemoteMeters::default();
        let remote = meters.metered(Arc::new(FolderRemote::open("shed", folder.path()).unwrap()));
        let limiter = vtl_remote::Limiter::unlimited();
        let stream = |object: &'static str, whole: bool| {
            let (tell, made) = tokio::sync::oneshot::channel();
            match whole {
                true => tell.send(vtl_remote::Content::of(b"12345")).unwrap(),
                false => drop(tell),
            }
            let bytes = futures_util::stream::iter([Ok(Bytes::from_static(b"12345"))]).boxed();
            let (name, watch) = (name(object), vtl_remote::Unwatched);
            let flow = Flow { name: &name, bytes, made, watch: &watch, limiter: &limiter };
            run(remote.streams().unwrap().stream(flow))
        };
        assert_eq!(stream("a/one", false).unwrap_err().class(), Class::Source);
        stream("a/one", true).unwrap();
        let (_, counts) = meters.counts().remove(0);
        assert_eq!((counts.calls, counts.sent_bytes), (vec![(Call::Put, 2)], 5));
        assert_eq!((counts.failures, counts.retries, counts.away), (vec![], 0, None));
    }

    #[test]
    fn a_counter_in_front_hides_nothing_of_what_a_remote_is() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".vtl-part-0f"), b"half").unwrap();
        let plain: Arc<dyn Remote> = Arc::new(FolderRemote::open("shed", folder.path()).unwrap());
        let plan = std::sync::Arc::new(Mutex::new(vtl_remote::Plan::script([])));
        let rehearsal: Arc<dyn Remote> = Arc::new(FaultyRemote::rehearsing("play", plain.clone(), plan));
        for remote in [plain, rehearsal] {
            let metered = RemoteMeters::default().metered(remote.clone());
            assert_eq!(metered.is_rehearsal(), remote.is_rehearsal());
            assert_eq!((metered.name(), metered.abilities()), (remote.name(), remote.abilities()));
            assert_eq!(metered.streams().is_some(), remote.streams().is_some());
            assert_eq!(run(metered.half_sent(&Folder::all())).unwrap().len(), 1);
        }
    }
}

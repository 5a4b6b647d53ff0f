//! A remote that fails by plan, around one that works: for rehearsals and for tests of everything above.
//!
//! A plan is a seed and a chance, so that a run can be repeated, or a list of faults for the calls to come. What is served
//! through it is either right, or an error of the class that the real trouble has, or caught by verification.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, StreamExt as _};

use crate::body::{Body, ByteStream, digest_all};
use crate::content::{Receipt, StoredHash};
use crate::error::{Class, Doing, Error};
use crate::name::{Folder, ObjectName};
use crate::remote::{Abilities, Checkpoint, HalfSent, Head, Page, Put, Remote, Span, Streams};

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends before the call has done anything.
    Drop,
    /// The call is done and its answer is lost.
    DropAnswer,
    /// The call takes so much longer.
    Slow(Duration),
    /// The remote asks for fewer requests.
    Throttle,
    /// An error of the server's own.
    ServerError,
    /// One bit is turned on the way.
    Corrupt,
    /// Half of the bytes arrive. What is sent ends so without an error; what is fetched ends with one.
    Half,
    /// What is sent is acknowledged and not there.
    Lose,
}

/// Every fault that a seeded plan draws from, but for the slow one.
const DRAWN: &[Fault] = &[
    Fault::Drop,
    Fault::DropAnswer,
    Fault::Throttle,
    Fault::ServerError,
    Fault::Corrupt,
    Fault::Half,
    Fault::Lose,
];

impl Fault {
    /// Whether this can happen to a call.
    const fn happens(self, doing: Doing) -> bool {
        match self {
            Self::Drop | Self::DropAnswer | Self::Slow(_) | Self::Throttle | Self::ServerError => true,
            Self::Corrupt | Self::Half => matches!(doing, Doing::Put | Doing::Get),
            Self::Lose => matches!(doing, Doing::Put),
        }
    }
}

/// Which calls fail, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Each call fails with a chance of `per_mille` in a thousand; what happens follows from the seed.
    Seeded {
        /// Where the sequence begins.
        seed: u64,
        /// 0 to 1,000.
        per_mille: u16,
    },
    /// Each fault comes with its own chance in a thousand; the first that does is the one.
    Chances {
        /// Where the sequence begins.
        seed: u64,
        /// Faults, each with 0 to 1,000.
        chances: Vec<(Fault, u16)>,
    },
    /// Each entry waits for the next call of its kind; then nothing fails any more.
    Script(VecDeque<(Doing, Fault)>),
}

impl Plan {
    /// A list of faults.
    pub fn script(faults: impl IntoIterator<Item = (Doing, Fault)>) -> Self {
        Self::Script(faults.into_iter().collect())
    }

    fn draw(&mut self, doing: Doing) -> Option<Fault> {
        match self {
            Self::Script(faults) => {
                let next = faults.iter().position(|(kind, _)| *kind == doing)?;
                faults.remove(next).map(|(_, fault)| fault)
            }
            Self::Chances { seed, chances } => {
                let mut drawn = None;
                // As many numbers for each call, whatever it is: a sequence does not hang on what is asked.
                for (fault, per_mille) in chances {
                    let comes = next(seed) % 1_000 < u64::from(*per_mille);
                    if comes && drawn.is_none() && fault.happens(doing) {
                        drawn = Some(*fault);
                    }
                }
                drawn
            }
            Self::Seeded { seed, per_mille } => {
                let (chance, choice) = (next(seed), next(seed));
                if chance % 1_000 >= u64::from(*per_mille) {
                    return None;
                }
                let possible: Vec<Fault> =
                    DRAWN.iter().copied().filter(|fault| fault.happens(doing)).collect();
                let index = usize::try_from(choice % possible.len().max(1) as u64).unwrap_or(0);
                possible.get(index).copied()
            }
        }
    }
}

/// SplitMix64, by Steele, Lea and Flood: enough to choose faults by.
const fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A plan that goes on from one use of a remote to the next.
pub type SharedPlan = Arc<Mutex<Plan>>;

/// A remote around another.
#[derive(Debug)]
pub struct FaultyRemote {
    /// Its own name, when it has one.
    name: Option<String>,
    inner: Arc<dyn Remote>,
    plan: SharedPlan,
}

impl FaultyRemote {
    /// `inner`, failing as `plan` says.
    pub fn new(inner: Arc<dyn Remote>, plan: Plan) -> Self {
        Self { name: None, inner, plan: Arc::new(Mutex::new(plan)) }
    }

    /// `inner` under a name of its own, for rehearsals; the plan is kept by who opens it.
    pub fn rehearsing(name: &str, inner: Arc<dyn Remote>, plan: SharedPlan) -> Self {
        Self { name: Some(name.to_owned()), inner, plan }
    }

    fn own_name(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.inner.name())
    }

    /// The fault of this call, after what can be done before it has been: waiting, and failing at once.
    async fn before(&self, doing: Doing, object: &str) -> Result<Option<Fault>, Error> {
        let fault = self.plan.lock().unwrap_or_else(PoisonError::into_inner).draw(doing);
        let fail = |class, text: &str| Err(Error::new(class, doing, text).on(self.own_name()).of(object));
        match fault.filter(|fault| fault.happens(doing)) {
            Some(Fault::Drop) => fail(Class::Unavailable, "the connection was dropped, by plan"),
            Some(Fault::Throttle) => fail(Class::Throttled, "too many requests, by plan"),
            Some(Fault::ServerError) => fail(Class::Unavailable, "status 500, by plan"),
            Some(Fault::Slow(delay)) => {
                tokio::time::sleep(delay).await;
                Ok(None)
            }
            fault => Ok(fault),
        }
    }

    /// The answer, unless it is lost.
    fn after<T>(&self, fault: Option<Fault>, doing: Doing, object: &str, answer: T) -> Result<T, Error> {
        if fault != Some(Fault::DropAnswer) {
            return Ok(answer);
        }
        Err(Error::new(Class::Unavailable, doing, "the answer was lost, by plan")
            .on(self.own_name())
            .of(object))
    }

    /// An upload whose bytes change on the way, as a remote that does not check would take them.
    async fn put_changed(&self, put: &Put<'_>, change: Fault) -> Result<Receipt, Error> {
        let body = Changed { inner: put.body, change, middle: put.content.size / 2 };
        let content = digest_all(body.open()).await?;
        let Put { name, watch, limiter, .. } = *put;
        // No checkpoint of the changed upload is kept: it must not be resumed with the right bytes.
        let quiet = crate::remote::Unwatched;
        let inner = Put { name, content: &content, body: &body, resume: put.resume, watch: &quiet, limiter };
        self.inner.put(inner).await?;
        watch.sent(put.content.size);
        Ok(Receipt::whole())
    }
}

/// A body that is changed at its middle, piece by piece: an object may be longer than memory.
#[derive(Debug)]
struct Changed<'a> {
    inner: &'a dyn Body,
    change: Fault,
    /// The byte that is turned, or the first that is cut off.
    middle: u64,
}

impl Body for Changed<'_> {
    fn open(&self) -> ByteStream {
        let (change, middle) = (self.change, self.middle);
        self.inner
            .open()
            .scan(0, move |at: &mut u64, piece| {
                let from = *at;
                let changed = match piece {
                    Ok(piece) => {
                        *at += piece.len() as u64;
                        change_piece(piece, from, change, middle).map(Ok)
                    }
                    Err(error) => Some(Err(error)),
                };
                async move { changed }
            })
            .boxed()
    }
}

/// A piece that begins at `from`; none: what is sent ends before it.
fn change_piece(piece: Bytes, from: u64, change: Fault, middle: u64) -> Option<Bytes> {
    if change == Fault::Half {
        let left = usize::try_from(middle.checked_sub(from)?).unwrap_or(usize::MAX);
        return (left > 0).then(|| piece.slice(..piece.len().min(left)));
    }
    let place = middle.checked_sub(from).and_then(|place| usize::try_from(place).ok());
    let Some(place) = place.filter(|place| *place < piece.len()) else { return Some(piece) };
    let mut bytes = BytesMut::from(&piece[..]);
    if let Some(byte) = bytes.get_mut(place) {
        *byte ^= 0x10;
    }
    Some(bytes.freeze())
}

/// What is fetched, with a bit turned in its first piece that has any, or cut off after half of it.
fn change_fetched(stream: ByteStream, change: Fault, error: Error) -> ByteStream {
    match change {
        Fault::Half => stream
            .take(1)
            .map(|piece| piece.map(|piece| piece.slice(..piece.len() / 2)))
            .chain(stream::once(async move { Err(error) }))
            .boxed(),
        _ => stream
            .scan(false, |turned, piece| {
                let piece = piece.map(|piece| turn_once(piece, turned));
                async move { Some(piece) }
            })
            .boxed(),
    }
}

fn turn_once(piece: Bytes, turned: &mut bool) -> Bytes {
    let mut bytes = BytesMut::from(&piece[..]);
    match bytes.first_mut() {
        Some(byte) if !*turned => {
            *byte ^= 0x01;
            *turned = true;
            bytes.freeze()
        }
        _ => piece,
    }
}

#[async_trait]
impl Remote for FaultyRemote {
    fn name(&self) -> &str {
        self.own_name()
    }

    fn is_rehearsal(&self) -> bool {
        self.name.is_some()
    }

    fn abilities(&self) -> Abilities {
        // What fails on its way is to be seen where objects are staged.
        Abilities { near: false, ..self.inner.abilities() }
    }

    /// What fails on its way is to be seen where objects are staged.
    fn streams(&self) -> Option<&dyn Streams> {
        None
    }

    async fn put(&self, put: Put<'_>) -> Result<Receipt, Error> {
        let object = put.name.to_string();
        let fault = self.before(Doing::Put, &object).await?;
        let receipt = match fault {
            Some(change @ (Fault::Corrupt | Fault::Half)) => self.put_changed(&put, change).await?,
            Some(Fault::Lose) => {
                put.watch.sent(put.content.size);
                Receipt::whole()
            }
            _ => self.inner.put(put).await?,
        };
        self.after(fault, Doing::Put, &object, receipt)
    }

    async fn create(&self, name: &ObjectName, bytes: Bytes) -> Result<(), Error> {
        let fault = self.before(Doing::Create, name.as_str()).await?;
        self.inner.create(name, bytes).await?;
        self.after(fault, Doing::Create, name.as_str(), ())
    }

    async fn get(&self, name: &ObjectName, span: Span) -> Result<ByteStream, Error> {
        let fault = self.before(Doing::Get, name.as_str()).await?;
        let stream = self.inner.get(name, span).await?;
        let cut = Error::new(Class::Interrupted, Doing::Get, "the stream was cut off, by plan")
            .on(self.own_name())
            .of(name);
        let stream = match fault {
            Some(change @ (Fault::Corrupt | Fault::Half)) => change_fetched(stream, change, cut),
            _ => stream,
        };
        self.after(fault, Doing::Get, name.as_str(), stream)
    }

    async fn head(&self, name: &ObjectName) -> Result<Head, Error> {
        let fault = self.before(Doing::Head, name.as_str()).await?;
        let head = self.inner.head(name).await?;
        self.after(fault, Doing::Head, name.as_str(), head)
    }

    async fn hashes(&self, name: &ObjectName) -> Result<Vec<StoredHash>, Error> {
        let fault = self.before(Doing::Hash, name.as_str()).await?;
        let hashes = self.inner.hashes(name).await?;
        self.after(fault, Doing::Hash, name.as_str(), hashes)
    }

    async fn list(&self, folder: &Folder, after: Option<&ObjectName>, most: usize) -> Result<Page, Error> {
        let object = folder.to_string();
        let fault = self.before(Doing::List, &object).await?;
        let page = self.inner.list(folder, after, most).await?;
        self.after(fault, Doing::List, &object, page)
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        let fault = self.before(Doing::Delete, name.as_str()).await?;
        self.inner.delete(name).await?;
        self.after(fault, Doing::Delete, name.as_str(), ())
    }

    async fn abandon(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let fault = self.before(Doing::Abandon, "a half-sent object").await?;
        self.inner.abandon(checkpoint).await?;
        self.after(fault, Doing::Abandon, "a half-sent object", ())
    }

    /// Not by plan: a sequence of faults is the same over every remote, and most have nothing to ask here.
    async fn half_sent(&self, folder: &Folder) -> Result<Vec<HalfSent>, Error> {
        self.inner.half_sent(folder).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_faults_and_each_kind_comes() {
        let draw = |seed| {
            let mut plan = Plan::Seeded { seed, per_mille: 500 };
            (0..500).map(|_| plan.draw(Doing::Put)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        for fault in DRAWN {
            assert!(draw(7).contains(&Some(*fault)), "{fault:?}");
        }
        assert!(draw(7).contains(&None));
    }

    #[test]
    fn faults_come_as_often_as_their_chances_say_and_only_where_they_can() {
        let chances = vec![(Fault::Lose, 1_000), (Fault::Throttle, 100)];
        let mut plan = Plan::Chances { seed: 3, chances };
        let drawn: Vec<Option<Fault>> = (0..1_000).map(|_| plan.draw(Doing::Head)).collect();
        let throttled = drawn.iter().filter(|fault| **fault == Some(Fault::Throttle)).count();
        assert!((60..140).contains(&throttled), "{throttled}");
        assert!(!drawn.contains(&Some(Fault::Lose)));
        assert_eq!(plan.draw(Doing::Put), Some(Fault::Lose));
    }

    /// Pieces of three bytes, counted as they are taken.
    #[derive(Debug, Default)]
    struct Counted(Arc<std::sync::atomic::AtomicUsize>);

    impl Body for Counted {
        fn open(&self) -> ByteStream {
            let count = Arc::clone(&self.0);
            let count_one = move |piece: &&'static [u8]| {
                count.fetch_add(piece.len(), std::sync::atomic::Ordering::SeqCst);
            };
            let pieces: [&'static [u8]; 4] = [b"abc", b"def", b"ghi", b"jk"];
            stream::iter(pieces).inspect(count_one).map(|piece| Ok(Bytes::from_static(piece))).boxed()
        }
    }

    #[tokio::test]
    async fn an_upload_is_changed_piece_by_piece_and_never_whole_in_memory() {
        for (change, expected) in [(Fault::Corrupt, "abcdevghijk"), (Fault::Half, "abcde")] {
            let inner = Counted::default();
            let body = Changed { inner: &inner, change, middle: 5 };
            let mut stream = body.open();
            let first = stream.next().await.unwrap().unwrap();
            assert_eq!(
                inner.0.load(std::sync::atomic::Ordering::SeqCst),
                3,
                "{change:?}: more than is passed on"
            );
            let rest = crate::body::collect(stream, 100).await.unwrap();
            assert_eq!([&first[..], &rest[..]].concat(), expected.as_bytes(), "{change:?}");
        }
        let inner = Counted::default();
        let nothing = Changed { inner: &inner, change: Fault::Half, middle: 0 };
        assert!(nothing.open().next().await.is_none());
    }

    #[test]
    fn a_script_waits_for_the_next_call_of_its_kind() {
        let mut plan = Plan::script([(Doing::Get, Fault::Half), (Doing::Put, Fault::Lose)]);
        assert_eq!(plan.draw(Doing::Head), None);
        assert_eq!(plan.draw(Doing::Put), Some(Fault::Lose));
        assert_eq!(plan.draw(Doing::Get), Some(Fault::Half));
        assert_eq!(plan.draw(Doing::Get), None);
    }
}

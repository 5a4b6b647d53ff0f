//! The first stage of a stream's way: bytes become chunks, chunks become references or new content.
//!
//! ```text
//! batch -> rope -> [hint fits? hash] or [scan for the cut, hash] -> own, known elsewhere, or new
//!                                                                        new -> region -> next stage
//! ```
//!
//! A stream has one cutter, and batches pass it in order. After a known chunk the table of its pack says how long the next one
//! probably is and what its fingerprint is: hashing so many bytes and comparing replaces the search for the cut. Since the search
//! starts anew at each cut, content that is equal would have been cut there as well: hints change no result.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::chunker::Chunker;
use crate::cipher::Prints;
use crate::codec::Fingerprint;
use crate::finder::Finder;
use crate::pack::PackId;
use crate::packs::View;
use crate::recipe::Extent;
use crate::sync::mpsc::Sender;

/// Chunks that are handed on at once.
const MAX_ITEMS: usize = 512;

/// Bytes handed over at once.
pub(crate) struct Batch {
    pub(crate) pieces: Vec<Bytes>,
    pub(crate) compress: bool,
    /// A chunk ends here whatever the content says, and everything so far goes on.
    pub(crate) end: bool,
    /// Asks the writer, once everything before this has passed it.
    pub(crate) probe: Option<Probe>,
}

/// Gets the extents that are not committed.
pub(crate) type Probe = Sender<Vec<Extent>>;

/// One chunk of the stream.
#[derive(Debug)]
pub(crate) enum Item {
    /// The next chunk of the region that comes with it.
    New,
    /// A chunk that this stream brought since its last commit: its number among the new ones.
    Own { number: u64, len: u32 },
    /// A chunk of a durable pack.
    Known { pack: PackId, at: u32, len: u32 },
}

/// A new chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewChunk {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) len: u32,
    pub(crate) forced: bool,
}

/// Chunks of the stream in order, and the new content among them.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    pub(crate) items: Vec<Item>,
    pub(crate) chunks: Vec<NewChunk>,
    /// The bytes of `chunks`.
    pub(crate) pieces: Vec<Bytes>,
    pub(crate) compress: bool,
    pub(crate) probe: Option<Probe>,
}

/// How a stream is cut.
pub(crate) enum Rule {
    Content(Box<Chunker>),
    Fixed(usize),
}

pub(crate) struct Cutter {
    rule: Rule,
    region_bytes: usize,
    finder: Option<Arc<Finder>>,
    prints: Prints,
    rope: Rope,
    cut: Cut,
    /// New bytes in `cut`.
    cut_bytes: usize,
    /// All bytes of the stream that `cut` stands for.
    held_bytes: usize,
    /// No more than so many are held back.
    held_limit: usize,
    /// New chunks since the last commit, by content.
    own: HashMap<Fingerprint, u64>,
    next_new: u64,
    /// Where the chunk that probably comes next is.
    hint: Option<(Arc<View>, usize)>,
}

enum Step {
    /// Nothing can be said before more bytes come.
    Wait,
    /// The hint was right.
    Hinted(Arc<View>, usize),
    /// A cut so many bytes on.
    Found(usize),
}

impl Cutter {
    /// Without a finder nothing is looked up.
    pub(crate) fn new(
        rule: Rule,
        region_bytes: usize,
        held_limit: usize,
        finder: Option<Arc<Finder>>,
        prints: Prints,
    ) -> Self {
        Self {
            rule,
            region_bytes,
            finder,
            prints,
            rope: Rope::default(),
            cut: Cut::default(),
            cut_bytes: 0,
            held_bytes: 0,
            held_limit,
            own: HashMap::new(),
            next_new: 0,
            hint: None,
        }
    }

    /// Cuts the next bytes of the stream; what is complete goes to `out`.
    pub(crate) fn feed(&mut self, batch: Batch, out: &mut Vec<Cut>) {
        if batch.probe.is_none() {
            self.cut.compress = batch.compress;
        }
        batch.pieces.into_iter().for_each(|piece| self.rope.push(piece));
        loop {
            match self.step(batch.end) {
                Step::Wait => break,
                Step::Hinted(view, number) => self.take_known(&view, number),
                Step::Found(len) => self.take(len, false),
            }
            self.hand_on(out, false);
        }
        if batch.end {
            self.reset_rule();
            if self.rope.len > 0 {
                self.take(self.rope.len, true);
            }
            self.hint = None;
            self.hand_on(out, true);
        }
        if batch.probe.is_some() {
            self.hand_on(out, true);
            out.push(Cut { probe: batch.probe, ..Cut::default() });
        }
    }

    /// The commit is durable: what was new is found like everything else now.
    pub(crate) fn committed(&mut self) {
        self.own.clear();
        self.next_new = 0;
    }

    fn step(&mut self, end: bool) -> Step {
        if self.rope.len == 0 {
            return Step::Wait;
        }
        if let Some((view, number)) = self.hint.take() {
            let next = view.table.get(number).map(|found| *found.chunk).filter(|chunk| !chunk.forced);
            match next {
                Some(chunk) if self.rope.len >= chunk.len as usize => {
                    let matches =
                        self.rope.fingerprint(&self.prints, chunk.len as usize) == chunk.fingerprint;
                    if matches && self.finder.as_ref().is_some_and(|finder| finder.admits(&view, number)) {
                        return Step::Hinted(view, number);
                    }
                }
                Some(_) if !end => {
                    self.hint = Some((view, number));
                    return Step::Wait;
                }
                _ => {}
            }
        }
        self.scan().map_or(Step::Wait, Step::Found)
    }

    /// Length of the chunk at the front, once its end is known.
    fn scan(&mut self) -> Option<usize> {
        let rope = &mut self.rope;
        match &mut self.rule {
            Rule::Fixed(len) => (rope.len >= *len).then_some(*len),
            Rule::Content(chunker) => {
                while let Some(piece) = rope.unscanned() {
                    if let Some(len) = chunker.next_cut(piece) {
                        return Some(rope.scanned + len);
                    }
                    rope.scanned_piece();
                }
                None
            }
        }
    }

    fn reset_rule(&mut self) {
        if let Rule::Content(chunker) = &mut self.rule {
            chunker.reset();
        }
    }

    fn take_known(&mut self, view: &Arc<View>, number: usize) {
        self.reset_rule();
        let Some(found) = view.table.get(number) else { return };
        let (at, len) = (found.chunk.at, found.chunk.len);
        self.rope.skip(len as usize);
        self.held_bytes += len as usize;
        self.cut.items.push(Item::Known { pack: view.id, at, len });
        self.hint = Some((Arc::clone(view), number + 1));
    }

    /// The next `len` bytes are a chunk.
    fn take(&mut self, len: usize, forced: bool) {
        let pieces = self.rope.take(len);
        self.held_bytes += len;
        let fingerprint = self.prints.of_chunk(&pieces);
        let new = NewChunk { fingerprint, len: len as u32, forced };
        let Some(finder) = self.finder.clone() else { return self.push_new(pieces, new) };
        if let Some(number) = self.own.get(&fingerprint) {
            self.cut.items.push(Item::Own { number: *number, len: new.len });
        } else if let Some((view, number)) = finder.find(&fingerprint, new.len) {
            let at = view.table.get(number).map_or(0, |found| found.chunk.at);
            self.cut.items.push(Item::Known { pack: view.id, at, len: new.len });
            self.hint = Some((view, number + 1));
        } else {
            self.own.insert(fingerprint, self.next_new);
            self.push_new(pieces, new);
        }
    }

    fn push_new(&mut self, pieces: Vec<Bytes>, chunk: NewChunk) {
        self.next_new += 1;
        self.cut_bytes += chunk.len as usize;
        self.cut.items.push(Item::New);
        self.cut.chunks.push(chunk);
        self.cut.pieces.extend(pieces);
    }

    /// Hands the region on when it is long enough, or in any case.
    fn hand_on(&mut self, out: &mut Vec<Cut>, all: bool) {
        let full = self.cut_bytes >= self.region_bytes
            || self.held_bytes >= self.held_limit
            || self.cut.items.len() >= MAX_ITEMS;
        if full || (all && !self.cut.items.is_empty()) {
            let compress = self.cut.compress;
            out.push(std::mem::replace(&mut self.cut, Cut { compress, ..Cut::default() }));
            (self.cut_bytes, self.held_bytes) = (0, 0);
        }
    }
}

/// Bytes in pieces, of which the first `scanned` have been searched for a cut.
#[derive(Default)]
struct Rope {
    pieces: VecDeque<Bytes>,
    len: usize,
    scanned: usize,
    /// Pieces that are scanned whole.
    scanned_pieces: usize,
}

impl Rope {
    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push_back(piece);
        }
    }

    fn unscanned(&self) -> Option<&Bytes> {
        self.pieces.get(self.scanned_pieces)
    }

    /// The piece that [`Self::unscanned`] gave holds no cut.
    fn scanned_piece(&mut self) {
        self.scanned += self.unscanned().map_or(0, Bytes::len);
        self.scanned_pieces += 1;
    }

    fn fingerprint(&self, prints: &Prints, len: usize) -> Fingerprint {
        match self.pieces.front().and_then(|piece| piece.get(..len)) {
            Some(one) => prints.of(one),
            None => prints.of_pieces(self.front(len)),
        }
    }

    /// The first `len` bytes.
    fn front(&self, len: usize) -> impl Iterator<Item = &[u8]> {
        let mut left = len;
        self.pieces.iter().map_while(move |piece| {
            let part = piece.get(..left).unwrap_or(piece);
            left -= part.len();
            (!part.is_empty()).then_some(part)
        })
    }

    fn take(&mut self, len: usize) -> Vec<Bytes> {
        let mut taken = Vec::with_capacity(2);
        let mut left = len.min(self.len);
        self.len -= left;
        (self.scanned, self.scanned_pieces) = (0, 0);
        while left > 0 {
            let Some(front) = self.pieces.front_mut() else { break };
            if front.len() > left {
                taken.push(front.split_to(left));
                break;
            }
            left -= front.len();
            taken.extend(self.pieces.pop_front());
        }
        taken
    }

    fn skip(&mut self, len: usize) {
        drop(self.take(len));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use vtl_durable::SimDisk;
    use vtl_types::Secret;

    use super::*;
    use crate::{Encryption, Options, OwnerId, PoolKey, Store};

    /// Where a pool cuts the same 300 KB, and the fingerprints of the chunks.
    fn cut(start_random: u64, encrypted: bool) -> (BTreeSet<u64>, BTreeSet<Fingerprint>) {
        let key = || Encryption::with(PoolKey::File(Secret::new(vec![7; 32])));
        let options = Options { start_random, encryption: encrypted.then(key), ..Options::small() };
        let store = Store::open(Arc::new(SimDisk::new(1)), Path::new("/pool"), options).unwrap();
        let mut noise = vec![0; 300_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        store.create(OwnerId([1; 16]), b"").unwrap();
        let mut stream = store.open_stream(OwnerId([1; 16])).unwrap();
        stream.append(&[Bytes::from(noise)], false).unwrap();
        stream.commit(b"").unwrap();
        let packs = &store.core.packs;
        let views: Vec<_> = packs.all().iter().map(|(id, _)| packs.view(*id).unwrap()).collect();
        let chunks = views.iter().flat_map(|view| view.table.chunks());
        let (mut ends, mut prints, mut end) = (BTreeSet::new(), BTreeSet::new(), 0);
        for chunk in chunks {
            end += u64::from(chunk.len);
            ends.insert(end);
            prints.insert(chunk.fingerprint);
        }
        assert_eq!(end, 300_000);
        (ends, prints)
    }

    #[test]
    fn the_same_content_in_two_encrypted_pools_has_no_fingerprint_and_hardly_a_cut_in_common() {
        let (cuts, prints) = cut(1, true);
        // The same id, the same key file: only the random domain key is another.
        let (other_cuts, other_prints) = cut(1, true);
        assert!(prints.len() > 500);
        assert_eq!(prints.intersection(&other_prints).count(), 0);
        // By chance one in some hundred; the end is the same.
        assert!(cuts.intersection(&other_cuts).count() < cuts.len() / 25);
        assert_eq!(cut(1, false), cut(1, false));
        assert!(cut(1, false).1.is_disjoint(&prints));
    }
}

//! Memory of regions, used again. A buffer that is given back to the system and asked for anew costs a page fault for each 4 KiB,
//! as much as reading the bytes does.

use bytes::Bytes;

use crate::sync::{Arc, Mutex};
use crate::workers::lock;

/// Buffers kept while nobody needs them: 6 MiB with regions of 192 KiB.
const MAX_KEPT: usize = 32;

/// Buffers of one length that wait for their next user.
pub(crate) struct Buffers {
    len: usize,
    kept: Mutex<Vec<Vec<u8>>>,
}

/// A vector that goes back to where it came from.
pub(crate) struct Buffer {
    pub(crate) bytes: Vec<u8>,
    home: Arc<Buffers>,
}

impl Buffers {
    /// For regions of at most `len` bytes, as a rule.
    pub(crate) fn new(len: usize) -> Arc<Self> {
        Arc::new(Self { len, kept: Mutex::default() })
    }

    /// The memory that a buffer for `len` bytes takes. Only what is not much shorter than usual is worth the room of a usual one.
    pub(crate) fn room(&self, len: usize) -> usize {
        if (self.len / 4..=self.len).contains(&len) { self.len } else { len }
    }

    /// An empty buffer with room for `len` bytes.
    pub(crate) fn take(self: &Arc<Self>, len: usize) -> Buffer {
        let room = self.room(len);
        let kept = if room == self.len { lock(&self.kept).pop() } else { None };
        Buffer { bytes: kept.unwrap_or_else(|| Vec::with_capacity(room)), home: Arc::clone(self) }
    }
}

impl Buffer {
    /// The bytes to be shared; the buffer goes back when the last share is gone.
    pub(crate) fn share(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes.capacity() != self.home.len {
            return;
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let mut kept = lock(&self.home.kept);
        if kept.len() < MAX_KEPT {
            kept.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(buffers: &Arc<Buffers>, len: usize) -> Bytes {
        let mut buffer = buffers.take(len);
        assert!(buffer.bytes.is_empty(), "nothing of the last user is left");
        buffer.bytes.resize(len, 0x5a);
        buffer.share()
    }

    #[test]
    fn a_regions_memory_comes_back_when_its_last_share_is_gone() {
        let buffers = Buffers::new(4096);
        let whole = filled(&buffers, 4096);
        let (place, share) = (whole.as_ptr(), whole.slice(100..200));
        drop(whole);
        assert_ne!(filled(&buffers, 4096).as_ptr(), place, "a share is still there");
        drop(share);
        assert_eq!(filled(&buffers, 4096).as_ptr(), place);
    }

    #[test]
    fn other_lengths_are_not_kept_and_not_served_from_what_is_kept() {
        let buffers = Buffers::new(4096);
        drop(filled(&buffers, 100));
        drop(filled(&buffers, 8192));
        assert!(lock(&buffers.kept).is_empty());
        drop(filled(&buffers, 3000));
        assert_eq!(buffers.take(100).bytes.capacity(), 100);
        assert_eq!(lock(&buffers.kept).len(), 1);
    }

    #[test]
    fn no_more_is_kept_than_the_limit() {
        let buffers = Buffers::new(4096);
        let all: Vec<Bytes> = (0..100).map(|_| filled(&buffers, 4096)).collect();
        drop(all);
        assert_eq!(lock(&buffers.kept).len(), MAX_KEPT);
    }
}

//! Memory that direct writes are made from, and direct reads arrive in.

use crate::disk::DIRECT_ALIGN;

/// Bytes gathered for one write, or brought by one read, at an address that is a multiple of [`DIRECT_ALIGN`].
pub struct PageBuffer {
    /// Longer than the buffer by what aligning it may take. It never grows, so its bytes stay where they are.
    room: Vec<u8>,
    start: usize,
    capacity: usize,
    len: usize,
}

impl PageBuffer {
    /// An empty buffer for so many bytes, rounded up to whole pages; at least one.
    pub fn new(bytes: usize) -> Self {
        let capacity = bytes.max(1).next_multiple_of(DIRECT_ALIGN);
        let room = vec![0; capacity + DIRECT_ALIGN];
        let start = room.as_ptr().align_offset(DIRECT_ALIGN).min(DIRECT_ALIGN);
        Self { room, start, capacity, len: 0 }
    }

    /// Takes what has room, and gives back the rest.
    pub fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let taken = bytes.len().min(self.capacity - self.len);
        let (now, rest) = bytes.split_at(taken);
        self.extend(taken, |place| place.copy_from_slice(now));
        rest
    }

    /// Adds zeros up to the end of the page that was begun; how many.
    pub fn finish_page(&mut self) -> usize {
        let zeros = self.len.next_multiple_of(DIRECT_ALIGN) - self.len;
        // What the buffer held before is still in its room.
        self.extend(zeros, |place| place.fill(0));
        zeros
    }

    /// Forgets what was gathered and lets `read` fill whole pages for at least `bytes` bytes, or the buffer when it is smaller; what it says has come.
    ///
    /// # Errors
    /// What `read` fails with; then nothing is there.
    pub fn refill<E>(
        &mut self,
        bytes: usize,
        read: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<&[u8], E> {
        self.len = 0;
        let wanted = bytes.min(self.capacity).next_multiple_of(DIRECT_ALIGN);
        let place = self.room.get_mut(self.start..self.start + wanted).unwrap_or_default();
        self.len = read(place)?.min(wanted);
        Ok(self.bytes())
    }

    fn extend(&mut self, bytes: usize, write: impl FnOnce(&mut [u8])) {
        let from = self.start + self.len;
        if let Some(place) = self.room.get_mut(from..from + bytes) {
            write(place);
            self.len += bytes;
        }
    }

    /// What was gathered.
    pub fn bytes(&self) -> &[u8] {
        self.room.get(self.start..self.start + self.len).unwrap_or_default()
    }

    /// How much was gathered.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was gathered.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether nothing more has room.
    pub fn is_full(&self) -> bool {
        self.len == self.capacity
    }

    /// How much has room in all.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Forgets what was gathered.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

impl std::fmt::Debug for PageBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageBuffer").field("len", &self.len).field("capacity", &self.capacity).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_aligned_takes_what_has_room_and_fills_its_page_with_zeros_whatever_it_held_before() {
        for bytes in [0, 1, 4096, 4097, 1 << 20] {
            let mut buffer = PageBuffer::new(bytes);
            assert_eq!(buffer.bytes().as_ptr() as usize % 4096, 0);
            assert_eq!(buffer.capacity(), bytes.max(1).div_ceil(4096) * 4096);
            let more = vec![0xa5; buffer.capacity() + 5];
            assert_eq!(buffer.fill(&more).len(), 5);
            assert!(buffer.is_full() && buffer.fill(b"x") == b"x" && buffer.finish_page() == 0);
            buffer.clear();
            assert!(buffer.is_empty() && buffer.fill(b"one").is_empty() && buffer.fill(b"two").is_empty());
            assert_eq!((buffer.finish_page(), buffer.finish_page(), buffer.len()), (4090, 0, 4096));
            assert_eq!(buffer.bytes()[..6], *b"onetwo");
            assert_eq!(buffer.bytes()[6..], [0; 4090]);
        }
    }
}

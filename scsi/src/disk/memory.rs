//! Bytes that exist only where something was written.

use alloc::{boxed::Box, collections::BTreeMap, vec, vec::Vec};

/// 64 KiB: a page for each stretch that is written.
const PAGE_LEN: usize = 0x1_0000;

/// A large range of bytes, zero where nothing was written.
#[derive(Debug, Default)]
pub(super) struct SparseMemory {
    pages: BTreeMap<u64, Box<[u8]>>,
}

/// Pieces of `len` bytes from `at` on that do not cross a page: page number, offset in the page, length.
fn pieces(at: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut at = at;
    let mut left = len;
    core::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let page = at / PAGE_LEN as u64;
        let offset = usize::try_from(at % PAGE_LEN as u64).unwrap_or(0);
        let length = left.min(PAGE_LEN - offset);
        at += length as u64;
        left -= length;
        Some((page, offset, length))
    })
}

impl SparseMemory {
    pub(super) fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len);
        for (page, offset, length) in pieces(at, len) {
            match self.pages.get(&page).and_then(|page| page.get(offset..offset + length)) {
                Some(written) => bytes.extend(written),
                None => bytes.resize(bytes.len() + length, 0),
            }
        }
        bytes
    }

    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) {
        let mut rest = bytes;
        for (page, offset, length) in pieces(at, bytes.len()) {
            let (part, behind) = rest.split_at(length.min(rest.len()));
            rest = behind;
            let page = self.pages.entry(page).or_insert_with(|| vec![0; PAGE_LEN].into_boxed_slice());
            if let Some(place) = page.get_mut(offset..offset + part.len()) {
                place.copy_from_slice(part);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_written_is_zero_and_takes_no_memory() {
        let mut memory = SparseMemory::default();
        memory.write(PAGE_LEN as u64 - 2, &[1, 2, 3, 4]);
        assert_eq!(memory.read(PAGE_LEN as u64 - 3, 6), [0, 1, 2, 3, 4, 0]);
        assert_eq!(memory.read(1 << 40, 3), [0, 0, 0]);
        assert_eq!(memory.pages.len(), 2);
    }
}

//! Pages that were read lately. Keys are random, so the next lookup wants another page; it is the same few keys asked
//! again and again that this is for.

use crate::sync::{Mutex, PoisonError};

use super::page::{PAGE_BYTES, PageId};

type Slot = Mutex<Option<(PageId, Box<[u8]>)>>;

/// Each page has one slot, and takes it from the page that had it.
#[derive(Debug)]
pub(crate) struct PageCache {
    slots: Box<[Slot]>,
}

/// Memory for each page.
pub(crate) const SLOT_BYTES: usize = PAGE_BYTES + size_of::<Slot>();

impl PageCache {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { slots: (0..bytes / SLOT_BYTES).map(|_| Mutex::new(None)).collect() }
    }

    fn slot(&self, id: PageId) -> Option<&Slot> {
        let mixed = (id.table ^ u64::from(id.page).rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let index = ((u128::from(mixed) * self.slots.len() as u128) >> 64) as usize;
        self.slots.get(index)
    }

    pub(crate) fn get<T>(&self, id: PageId, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let slot = self.slot(id)?.lock().unwrap_or_else(PoisonError::into_inner);
        let (found, bytes) = slot.as_ref()?;
        (*found == id).then(|| look(bytes))
    }

    pub(crate) fn put(&self, id: PageId, bytes: Vec<u8>) {
        if let Some(slot) = self.slot(id) {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some((id, bytes.into_boxed_slice()));
        }
    }
}

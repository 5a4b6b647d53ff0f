//! Looking at the index's files as they are, for the inspector.

use vtl_durable::{DiskError, DiskFile};

use super::header::{Header, decode_directory};
use super::page::{PAGE_BYTES, Page, PageId};
use super::parts::{Filter, PartId, decode_hooks};

pub(crate) use super::manifest::{KIND as MANIFEST_KIND, Manifest};

/// What every table begins with.
pub(crate) const TABLE_MAGIC: [u8; 8] = *b"VTLINDX\0";

/// Something in a table.
pub(crate) enum Met {
    Header(Header),
    /// A segment, where it is, and how many of its pages and records are right.
    Segment {
        number: u32,
        at: u64,
        pages: u32,
        good_pages: u32,
        records: u64,
    },
    Wrong {
        at: u64,
        why: String,
    },
}

/// Tells all of a table; damage in one part does not hide the others.
pub(crate) fn table(file: &dyn DiskFile, mut visit: impl FnMut(Met)) -> Result<(), DiskError> {
    let size = file.size()?;
    let page = read(file, 0, PAGE_BYTES)?;
    let header = match Header::decode(&page) {
        Ok(header) => header,
        Err(error) => {
            visit(Met::Wrong { at: error.at as u64, why: error.to_string() });
            return Ok(());
        }
    };
    visit(Met::Header(header));
    if header.directory_at.checked_add(header.directory_bytes()) != Some(size) {
        visit(Met::Wrong { at: 72, why: "the directory does not end the file".to_owned() });
        return Ok(());
    }
    let directory = read(file, header.directory_at, header.directory_bytes() as usize)?;
    let entries = match decode_directory(&directory, &header) {
        Ok(entries) => entries,
        Err(error) => {
            visit(Met::Wrong { at: header.directory_at + error.at as u64, why: error.to_string() });
            return Ok(());
        }
    };
    for (number, entry) in (0..header.segments).zip(entries) {
        let pages = header.pages_of(number);
        let (mut good_pages, mut records) = (0, 0);
        for page in 0..pages {
            let at = entry.offset + u64::from(page) * PAGE_BYTES as u64;
            let bytes = read(file, at, PAGE_BYTES)?;
            let first = number.saturating_mul(header.segment_pages);
            match Page::verify(&bytes, PageId { table: header.table, page: first.saturating_add(page) }) {
                Ok(page) => (good_pages, records) = (good_pages + 1, records + page.len() as u64),
                Err(error) => visit(Met::Wrong { at, why: error.to_string() }),
            }
        }
        let id = PartId { table: header.table, segment: number };
        let hooks_at = entry.offset + u64::from(pages) * PAGE_BYTES as u64;
        let filter_at = hooks_at + u64::from(entry.hook_bytes);
        let hooks = read(file, hooks_at, entry.hook_bytes as usize)?;
        if let Err(error) = decode_hooks(id, &hooks, |_| {}) {
            visit(Met::Wrong { at: hooks_at, why: error.to_string() });
        }
        let filter = read(file, filter_at, entry.filter_bytes as usize)?;
        if let Err(error) = Filter::decode(id, pages, entry.first, &filter) {
            visit(Met::Wrong { at: filter_at, why: error.to_string() });
        }
        visit(Met::Segment { number, at: entry.offset, pages, good_pages, records });
    }
    Ok(())
}

/// The bytes there are, of so many.
fn read(file: &dyn DiskFile, at: u64, len: usize) -> Result<Vec<u8>, DiskError> {
    let mut bytes = Vec::new();
    let left = file.size()?.saturating_sub(at);
    file.read_at(at, len.min(usize::try_from(left).unwrap_or(usize::MAX)), &mut bytes)?;
    Ok(bytes)
}

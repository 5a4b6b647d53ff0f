//! Opens the index: reads the manifest, looks at the tables that it names, and removes everything else.

use std::path::Path;

use vtl_durable::sealed::{self, SealedError};
use vtl_durable::{Disk, DiskError};

use crate::sync::{Arc, Mutex, RwLock};

use super::Index;
use super::budget::Budget;
use super::cache::PageCache;
use super::layout::Slice;
use super::manifest::{self, Manifest};
use super::options::{IndexOptions, Limits};
use super::packs::Packs;
use super::resident::{Mode, Table};
use super::state::{Retired, State};
use super::stats::Counters;
use super::table::TableFile;
use super::writer::{self, Shop};

pub(super) fn open(
    disk: Arc<dyn Disk>,
    folder: &Path,
    store_id: [u8; 16],
    options: &IndexOptions,
) -> Result<Index, DiskError> {
    let limits = Limits::new(options);
    make_folder(&*disk, folder)?;
    let (segment_pages, batch_pages) = (limits.segment_pages, limits.pages);
    let shop = Arc::new(Shop { disk, folder: folder.to_path_buf(), store_id, segment_pages, batch_pages });
    let found = shop.disk.list(folder)?;
    let budget = Budget::new(limits.memory);
    let fixed = budget.take(limits.fixed());
    let mut manifest = read_manifest(&shop);
    // A number is never used twice, not even one of a table that no manifest came to name.
    let numbers = found.iter().filter_map(|entry| writer::parse_name(&entry.name));
    let after_all = numbers.max().map_or(0, |number| number.saturating_add(1));
    manifest.next_table = manifest.next_table.max(after_all);
    let counters = Counters::default();
    let state = load(&shop, &manifest, &limits, &budget, &counters);
    sweep(&shop, &manifest, found.into_iter().filter(|entry| !entry.is_folder).map(|entry| entry.name));
    Ok(Index {
        cache: PageCache::new(limits.cache),
        shop,
        limits,
        budget,
        counters,
        state: RwLock::new(state),
        spilling: Mutex::new(()),
        merging: Mutex::new(0),
        committing: Mutex::new(()),
        _fixed: fixed,
    })
}

/// Makes the folder if it is missing, durably: what is synced in it must not be lost with its name.
fn make_folder(disk: &dyn Disk, folder: &Path) -> Result<(), DiskError> {
    match disk.list(folder) {
        Err(error) if error.is_not_found() => {
            disk.create_folder(folder)?;
            folder.parent().map_or(Ok(()), |parent| disk.sync_folder(parent))
        }
        other => other.map(drop),
    }
}

/// The manifest, or an empty one.
fn read_manifest(shop: &Shop) -> Manifest {
    let path = shop.folder.join(manifest::NAME);
    let dropped = |why: &dyn std::fmt::Display| {
        tracing::warn!(path = %path.display(), %why, "the fingerprint index cannot be used and is removed");
        writer::remove(&*shop.disk, &path);
        Manifest::default()
    };
    match sealed::read(&*shop.disk, &path, manifest::KIND) {
        Ok(bytes) => match Manifest::decode(&bytes) {
            Ok(manifest) if manifest.store_id == shop.store_id => manifest,
            Ok(_) => dropped(&"it is of another store"),
            Err(error) => dropped(&error),
        },
        Err(SealedError::Disk(error)) if error.is_not_found() => Manifest::default(),
        Err(error) => dropped(&error),
    }
}

/// The state that the manifest describes, without tables that cannot be used.
fn load(
    shop: &Arc<Shop>,
    manifest: &Manifest,
    limits: &Limits,
    budget: &Arc<Budget>,
    counters: &Counters,
) -> State {
    let packs = Packs::new(limits.ranges, manifest.covered.clone(), manifest.gone.clone());
    let mut state = State::new(limits, packs, manifest.next_table);
    let mut tables = Vec::with_capacity(manifest.tables.len());
    for line in &manifest.tables {
        let opened = TableFile::open(shop, line.number, line.age, line.file_bytes, budget);
        tables.push(match opened {
            Ok(file) => Some(Arc::new(Table::new(Arc::new(file), Mode::Blind, budget))),
            Err(error) => {
                let path = shop.path(line.number);
                tracing::warn!(path = %path.display(), %error, "a table of the fingerprint index is dropped");
                counters.dropped.add();
                state.packs.lose(line.least_pack, line.most_pack);
                state.retired.push(Retired { number: line.number, named: true });
                None
            }
        });
    }
    let slice = |line: &manifest::SliceLine| {
        let table = tables.get(line.table as usize)?.clone()?;
        Some(Slice { table, first: line.first, last: line.last })
    };
    let slices = manifest.slices.iter().filter_map(slice).collect();
    state.install(slices, limits, budget);
    state.is_changed = !state.retired.is_empty();
    state
}

/// Removes files that are not the manifest's: left by a crash, or by something that is not the index.
fn sweep(shop: &Shop, manifest: &Manifest, names: impl Iterator<Item = String>) {
    let mut known: Vec<u64> = manifest.tables.iter().map(|table| table.number).collect();
    known.sort_unstable();
    for name in names.filter(|name| name != manifest::NAME) {
        let is_known = writer::parse_name(&name).is_some_and(|number| known.binary_search(&number).is_ok());
        if !is_known {
            tracing::info!(name, folder = %shop.folder.display(), "a file that the fingerprint index does not know is removed");
            writer::remove(&*shop.disk, &shop.folder.join(&name));
        }
    }
}

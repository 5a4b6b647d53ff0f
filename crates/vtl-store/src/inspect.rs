//! Looking into any file of a pool, whole or damaged: what is in it, at which offset, and what is wrong there.
//!
//! For tools. It goes by the store's own parsers and changes nothing. Behind damage it goes on where the next thing can be found. Of a file of an encrypted
//! pool it tells what is not sealed: it has no key.

use std::path::Path;

use vtl_durable::log::{self, Met};
use vtl_durable::sealed::{self, HEADER_BYTES, Kind};
use vtl_durable::{Disk, DiskError, DiskFile, Open};

use crate::cipher::Domain;
use crate::codec::Codec;
use crate::commit::JOURNAL_KIND;
use crate::index::survey::{self, MANIFEST_KIND, Manifest, TABLE_MAGIC};
use crate::pack::{self, Frame, PAGE, PackHeader, PackId, Region};
use crate::reader;
use crate::recipe::{Begin, Change, Commit, Entry, Extent, HEAD_KIND, Note, PackEnd, State, decode_record};
use crate::recovery::{POOL_KIND, Pool};
use crate::roster::{self, Roster};
use crate::scrub::record;
use crate::types::OwnerId;
use crate::{keyring, newest, quarantine, scrub};

/// Longer sealed files are none of ours.
/// How deep below the pool's folder its files lie: a pack in `packs/XX`.
const DEEPEST: usize = 3;
const MAX_SEALED: u64 = 1 << 32;
const SEALED: &str = "needs the key of the pool, and is not shown";
const PACK_MAGIC: [u8; 8] = *b"VTLPACK\0";

/// One thing in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// Where it is, in bytes from the start of the file.
    pub at: u64,
    /// What it is.
    pub what: &'static str,
    /// What it says, by name.
    pub fields: Vec<(&'static str, String)>,
    /// What is wrong with it.
    pub wrong: Option<String>,
    /// What an owner said: a snapshot or a delta, whose meaning is not the store's business.
    pub note: Vec<u8>,
}

/// What sort of file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// Identity of a pool.
    Pool,
    /// The wrapped key of an encrypted pool.
    Keyring,
    /// A file of the journal.
    Journal,
    /// An owner's state.
    Head,
    /// Chunks.
    Pack,
    /// The folders of packs beside a pool's home.
    Members,
    /// Which of them a folder is.
    Member,
    /// The newest journal file that packs have lived with.
    Newest,
    /// The list of damaged chunks.
    Quarantine,
    /// The place of the scrub.
    Scrub,
    /// The list of the index's tables.
    Manifest,
    /// A table of the index.
    Table,
}

/// First bytes, the name's beginning and end, and the kind.
const KINDS: [([u8; 8], &str, &str, FileKind); 12] = [
    (POOL_KIND.magic, "pool", "pool", FileKind::Pool),
    (keyring::KIND.magic, keyring::NAME, "", FileKind::Keyring),
    (JOURNAL_KIND.magic, "", ".log", FileKind::Journal),
    (HEAD_KIND.magic, "head", "head", FileKind::Head),
    (PACK_MAGIC, "", ".pack", FileKind::Pack),
    (roster::ROSTER_KIND.magic, "members", "members", FileKind::Members),
    (roster::BADGE_KIND.magic, "member", "member", FileKind::Member),
    (newest::KIND.magic, "newest", "newest", FileKind::Newest),
    (quarantine::KIND.magic, "quarantine", "quarantine", FileKind::Quarantine),
    (record::KIND.magic, "scrub", "scrub", FileKind::Scrub),
    (MANIFEST_KIND.magic, "manifest", "manifest", FileKind::Manifest),
    (TABLE_MAGIC, "", ".table", FileKind::Table),
];

/// The kind that a file's first bytes say, or, where these are none of ours, its name.
pub fn kind(first: &[u8], name: &str) -> Option<FileKind> {
    let by_magic = KINDS.iter().find(|(magic, ..)| first.starts_with(magic));
    let by_name = || KINDS.iter().find(|(_, begin, end, _)| name.starts_with(begin) && name.ends_with(end));
    by_magic.or_else(by_name).map(|(.., kind)| *kind)
}

/// The kind that a file's first bytes say.
pub fn kind_by_magic(first: [u8; 8]) -> Option<FileKind> {
    KINDS.iter().find(|(magic, ..)| *magic == first).map(|(.., kind)| *kind)
}

/// The version of a kind that is written, and the newest one that is read.
pub fn known_version(kind: FileKind) -> u32 {
    match kind {
        FileKind::Pool => POOL_KIND.version,
        FileKind::Keyring => keyring::KIND.version,
        FileKind::Journal => JOURNAL_KIND.version,
        FileKind::Head => HEAD_KIND.version,
        FileKind::Pack => crate::pack::VERSION,
        FileKind::Members => roster::ROSTER_KIND.version,
        FileKind::Member => roster::BADGE_KIND.version,
        FileKind::Newest => newest::KIND.version,
        FileKind::Quarantine => quarantine::KIND.version,
        FileKind::Scrub => record::KIND.version,
        FileKind::Manifest => MANIFEST_KIND.version,
        FileKind::Table => crate::index::TABLE_VERSION,
    }
}

/// Tells all that is in a file of a pool; its kind, or none when it is no such file.
///
/// # Errors
/// The file cannot be read. Damage is no error here.
pub fn file(disk: &dyn Disk, path: &Path, each: &mut dyn FnMut(Item)) -> Result<Option<FileKind>, DiskError> {
    let file = disk.open(path, Open::Read)?;
    let mut first = Vec::new();
    file.read_at(0, 8, &mut first)?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(kind) = kind(&first, name) else { return Ok(None) };
    if is_encrypted(disk, path) {
        sealed_content(&*file, kind, name, each)?;
    } else {
        opened(&*file, kind, name, each)?;
    }
    Ok(Some(kind))
}

/// What the pool file says in whose folder, or in a folder below it, the file lies.
fn is_encrypted(disk: &dyn Disk, path: &Path) -> bool {
    let pool = |folder: &Path| sealed::read(disk, &folder.join("pool"), POOL_KIND).ok();
    let found = path.ancestors().skip(1).take(DEEPEST).find_map(pool);
    found.is_some_and(|payload| Pool::decode(&payload).is_ok_and(|pool| pool.is_encrypted))
}

/// A file of an encrypted pool.
fn sealed_content(
    file: &dyn DiskFile,
    kind: FileKind,
    name: &str,
    each: &mut dyn FnMut(Item),
) -> Result<(), DiskError> {
    let sealed = |at| Item::new(at, "sealed").with("content", SEALED);
    match kind {
        FileKind::Pool
        | FileKind::Newest
        | FileKind::Scrub
        | FileKind::Keyring
        | FileKind::Members
        | FileKind::Member => opened(file, kind, name, each),
        FileKind::Head => sealed_file(file, HEAD_KIND, not_shown, each),
        FileKind::Quarantine => sealed_file(file, quarantine::KIND, not_shown, each),
        FileKind::Journal => {
            journal(file, &mut |at, payload, each| each(sealed(at).with("bytes", payload.len())), each)
        }
        FileKind::Pack => {
            pack_header(file, name, each)?;
            each(sealed(PAGE));
            Ok(())
        }
        FileKind::Manifest | FileKind::Table => {
            each(sealed(0));
            Ok(())
        }
    }
}

fn not_shown(_: &[u8], each: &mut dyn FnMut(Item)) -> Result<(), (usize, String)> {
    let item = Item::new(HEADER_BYTES as u64, "sealed");
    each(item.with("content", SEALED));
    Ok(())
}

/// The same with a file that is open.
///
/// # Errors
/// The file cannot be read.
pub fn opened(
    file: &dyn DiskFile,
    kind: FileKind,
    name: &str,
    each: &mut dyn FnMut(Item),
) -> Result<(), DiskError> {
    match kind {
        FileKind::Journal => journal(file, &mut journal_record, each),
        FileKind::Pack => packs(file, name, each),
        FileKind::Table => table(file, each),
        FileKind::Pool => sealed_file(file, POOL_KIND, pool, each),
        FileKind::Keyring => sealed_file(file, keyring::KIND, keys, each),
        FileKind::Head => sealed_file(file, HEAD_KIND, head, each),
        FileKind::Members => sealed_file(file, roster::ROSTER_KIND, members, each),
        FileKind::Member => sealed_file(file, roster::BADGE_KIND, member, each),
        FileKind::Newest => sealed_file(file, newest::KIND, newest_journal, each),
        FileKind::Quarantine => sealed_file(file, quarantine::KIND, damaged, each),
        FileKind::Scrub => sealed_file(file, scrub::record::KIND, scrubbed, each),
        FileKind::Manifest => sealed_file(file, MANIFEST_KIND, manifest, each),
    }
}

impl Item {
    fn new(at: u64, what: &'static str) -> Self {
        Self { at, what, ..Self::default() }
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.fields.push((name, value.to_string()));
        self
    }

    fn wrong(mut self, why: impl ToString) -> Self {
        self.wrong = Some(why.to_string());
        self
    }

    fn wrong_if(self, wrong: bool, why: &str) -> Self {
        if wrong { self.wrong(why) } else { self }
    }

    fn note(mut self, note: &[u8]) -> Self {
        self.note = note.to_vec();
        self.with("bytes", note.len())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Tells what a payload says; where it cannot be, and why, otherwise.
type Payload = fn(&[u8], &mut dyn FnMut(Item)) -> Result<(), (usize, String)>;

fn sealed_file(
    file: &dyn DiskFile,
    kind: Kind,
    payload: Payload,
    each: &mut dyn FnMut(Item),
) -> Result<(), DiskError> {
    let size = file.size()?;
    if size > MAX_SEALED {
        each(Item::new(0, "file").wrong("longer than any file of this kind"));
        return Ok(());
    }
    let mut bytes = Vec::new();
    file.read_at(0, size as usize, &mut bytes)?;
    let survey = sealed::survey(&bytes, kind);
    each(Item::new(0, "seal").with("version", survey.version).with("length", survey.len));
    for (at, why) in &survey.wrong {
        each(Item::new(*at, "seal").wrong(why));
    }
    let content = bytes.get(HEADER_BYTES..).unwrap_or_default();
    if let Err((at, why)) = payload(content, each) {
        each(Item::new((HEADER_BYTES + at) as u64, "content").wrong(why));
    }
    Ok(())
}

fn malformed(error: vtl_durable::wire::Malformed) -> (usize, String) {
    (error.at, error.to_string())
}

fn pool(bytes: &[u8], each: &mut dyn FnMut(Item)) -> Result<(), (usize, String)> {
    let pool = Pool::decode(bytes).map_err(malformed)?;
    // The key of the gear table is a secret.
    let item = Item::new(32, "pool").with("store", hex(&pool.store_id)).with("chunk_bytes", pool.chunk_bytes);
    each(item.with("encrypted", pool.is_encrypted));
    Ok(())
}

fn keys(bytes: &[u8], each: &mut dyn FnMut(Item)) -> Result<(), (usize, String)> {
    let status = keyring::told(bytes).map_err(malformed)?;
    let item = Item::new(32, "keyring").with("store", hex(&store_of(bytes)));
    let item = item.with("revision", status.revision).with("method", status.method);
    each(item.with("exported", status.exported));
    Ok(())
}

/// The first sixteen bytes, which name the store in every payload.
fn store_of(bytes: &[u8]) -> [u8; 16] {
    bytes.first_chunk().copied().unwrap_or_default()
}

fn head(bytes: &[u8], each: &mut dyn FnMut(Item)) -> Result<(), (usize, String)> {
    let store = store_of(bytes);
    let owner = OwnerId(bytes.get(16..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default());
    let state = State::decode(bytes, store, owner).map_err(|why| (0, why))?;
    let item = Item::new(32, "head").with("store", hex(&store)).with("owner", owner);
    let item = item.with("sequence", state.sequence).with("length", state.head.length);
    each(item.with("arrived_bytes", state.arrived_bytes).with("guarded", state.guarded));
    let mut at = HEADER_BYTES as u64 + 64 + 8;
    each(Item::new(at, "snapshot").note(&state.head.snapshot));
    at += state.head.snapshot.len() as u64 + 8;
    for delta in &state.head.deltas {
        at += 8;
        each(Item::new(at, "delta").note(delta));
        at += delta.len() as u64;
    }
    at += 8;
    for extent in state.extents() {
        each(extent_item(at, extent));
        at += 20;
    }
    Ok(())
}

fn extent_item(at: u64, extent: &Extent) -> Item {
    let item = Item::new(at, "extent").with("start", extent.start).with("bytes", extent.len);
    item.with("pack", extent.pack).with("raw", extent.at)
}

fn members(bytes: &[u8], each: &mut dyn FnMut(Item)) -> Result<(), (usize, String)> {
    let roster = Roster::decode(bytes).map_err(malformed)?;
    let item = Item::new(32, "members").with("store", hex(&roster.store_id)).with("next", roster.next);
    each(item.with("folders", roster.entries.len()));
    let mut at = 32 + 24;
    for entry in &roster.entries {
        let item = Item::new(at, "folder").with("number", entry.number);
        each(item.with("stage", format!("{:?}", entry.stage)).with("path", &entry.path));
        at += 8 + entry.path.len() as u64;
    }
    Ok(())
}

fn member(bytes: &[u8], each: &mut dyn FnMut(Item)) -> Result<(), (usize, String)> {
    let (store, number) = roster::decode_badge(bytes).map_err(malformed)?;
    each(Item::new(32, "member").with("store", hex(&store)).with("number", number));
    Ok(())
}

fn newest_journal(bytes: &[u8], each: &mut dyn FnMut(Item)) -> Result<(), (usize, String)> {
    let (store, newest) = newest::Newest::decode(bytes).map_err(malformed)?;
    let item = Item::new(32, "newest").with("store", hex(&store));
    each(item.with("epoch", format!("{:016x}", newest.epoch)).with("number", newest.number));
    Ok(())
}

fn damaged(bytes: &[u8], each: &mut dyn FnMut(Item)) -> Result<(), (usize, String)> {
    let store = store_of(bytes);
    let entries = quarantine::decode(bytes, store).map_err(malformed)?;
    each(Item::new(32, "quarantine").with("store", hex(&store)).with("chunks", entries.len()));
    for (nth, one) in entries.iter().enumerate() {
        let item = Item::new(48 + 52 * nth as u64, "damaged").with("pack", one.pack).with("raw", one.at);
        each(item.with("bytes", one.len).with("blake3", hex(&one.fingerprint)));
    }
    Ok(())
}

fn scrubbed(bytes: &[u8], each: &mut dyn FnMut(Item)) -> Result<(), (usize, String)> {
    let store = store_of(bytes);
    let record = record::Record::decode(bytes, store).map_err(malformed)?;
    let item = Item::new(32, "scrub").with("store", hex(&store)).with("next_pack", record.next);
    each(item.with("unread_packs", record.unread.len()));
    let pass = |at, what, pass: &scrub::Pass| {
        let item = Item::new(at, what).with("number", pass.number).with("begun", pass.begun_s);
        let item = item.with("ended", pass.finished_s).with("packs", pass.packs).with("bytes", pass.bytes);
        item.with("damaged", pass.damaged)
    };
    if let Some(last) = &record.last {
        each(pass(48, "last_pass", last));
    }
    if let Some((current, at)) = &record.current {
        each(pass(96, "pass", current).with("at_pack", at));
    }
    record.unread.iter().zip(0_u64..).for_each(|(pack, nth)| {
        each(Item::new(176 + 12 * nth, "unread").with("pack", pack));
    });
    Ok(())
}

fn manifest(bytes: &[u8], each: &mut dyn FnMut(Item)) -> Result<(), (usize, String)> {
    let manifest = Manifest::decode(bytes).map_err(malformed)?;
    let item = Item::new(32, "manifest").with("store", hex(&manifest.store_id));
    let item = item.with("next_table", manifest.next_table).with("tables", manifest.tables.len());
    let item = item.with("slices", manifest.slices.len()).with("covered_ranges", manifest.covered.len());
    each(item.with("removed_packs", manifest.gone.iter().len()));
    for (nth, table) in manifest.tables.iter().enumerate() {
        let item = Item::new(64 + 40 * nth as u64, "table").with("number", format!("{:016x}", table.number));
        let item = item.with("age", table.age).with("bytes", table.file_bytes);
        each(item.with("least_pack", table.least_pack).with("most_pack", table.most_pack));
    }
    Ok(())
}

fn table(file: &dyn DiskFile, each: &mut dyn FnMut(Item)) -> Result<(), DiskError> {
    survey::table(file, |met| {
        each(match met {
            survey::Met::Header(header) => {
                let item = Item::new(0, "header").with("store", hex(&header.store_id));
                let item =
                    item.with("table", format!("{:016x}", header.table)).with("records", header.records);
                item.with("segments", header.segments).with("directory_at", header.directory_at)
            }
            survey::Met::Segment { number, at, pages, good_pages, records } => {
                let item = Item::new(at, "segment").with("number", number).with("pages", pages);
                let item = item.with("good_pages", good_pages).with("records", records);
                item.wrong_if(good_pages < pages, "some of its pages are damaged")
            }
            survey::Met::Wrong { at, why } => Item::new(at, "table").wrong(why),
        });
    })
}

/// Tells what the payload of the record at an offset says.
type Told<'a> = &'a mut dyn FnMut(u64, &[u8], &mut dyn FnMut(Item));

fn journal(file: &dyn DiskFile, told: Told<'_>, each: &mut dyn FnMut(Item)) -> Result<(), DiskError> {
    log::survey(file, JOURNAL_KIND.magic, |met| match met {
        Met::Header(header) => {
            let item = Item::new(0, "header").with("store", hex(&header.tag));
            let item = item.with("version", header.version).with("epoch", format!("{:016x}", header.log_id));
            each(item.with("number", header.number).with("first_sequence", header.first_sequence));
        }
        Met::Wrong { at, why } => each(Item::new(at, "journal").wrong(why)),
        Met::Record { at, sequence, payload } => {
            each(Item::new(at, "record").with("sequence", sequence).with("bytes", payload.len()));
            told(at, payload, each);
        }
    })
}

fn journal_record(at: u64, payload: &[u8], each: &mut dyn FnMut(Item)) {
    match decode_record(payload) {
        Ok(entries) => {
            each(Item::new(at, "entries").with("count", entries.len()));
            entries.iter().for_each(|entry| journal_entry(at, entry, each));
        }
        Err(error) => each(Item::new(at, "entries").wrong(error)),
    }
}

/// Entries have the offset of their record.
fn journal_entry(at: u64, entry: &Entry, each: &mut dyn FnMut(Item)) {
    match entry {
        Entry::Remove(owner) => each(Item::new(at, "removal").with("owner", owner)),
        Entry::Begin(begin) => begins(at, begin, each),
        Entry::Commit(commit) => committed(at, commit, each),
    }
}

fn begins(at: u64, begin: &Begin, each: &mut dyn FnMut(Item)) {
    let Begin { packs, owners, kept, arrived_bytes } = begin;
    let item = Item::new(at, "begin").with("next", packs.next).with("arrived_bytes", arrived_bytes);
    let item = item.with("uncommitted", packs.uncommitted.len()).with("unsealed", packs.unsealed.len());
    each(item.with("owners", owners.len()).with("kept", kept.len()));
    packs.uncommitted.iter().for_each(|pack| each(Item::new(at, "uncommitted").with("pack", pack)));
    packs.unsealed.iter().for_each(|end| each(pack_end(at, end)));
    for (owner, sequence) in owners {
        each(Item::new(at, "owner").with("owner", owner).with("sequence", sequence));
    }
    for (sequence, commit) in kept {
        each(Item::new(at, "kept").with("sequence", sequence));
        committed(at, commit, each);
    }
}

fn committed(at: u64, commit: &Commit, each: &mut dyn FnMut(Item)) {
    let Commit { owner, follows, change } = commit;
    let Change { truncate_to, guard, packs, extents, arrived_bytes, note } = change;
    let item = Item::new(at, "commit").with("owner", owner).with("follows", follows);
    let guard = guard.map_or("as before", |on| if on { "on" } else { "off" });
    let item = item.with("guard", guard).with("truncate_to", truncate_to);
    each(item.with("arrived_bytes", arrived_bytes));
    packs.iter().for_each(|end| each(pack_end(at, end)));
    extents.iter().for_each(|extent| each(extent_item(at, extent)));
    each(match note {
        Note::Snapshot(bytes) => Item::new(at, "snapshot").note(bytes),
        Note::Delta(bytes) => Item::new(at, "delta").note(bytes),
    });
}

fn pack_end(at: u64, end: &PackEnd) -> Item {
    Item::new(at, "pack").with("pack", end.pack).with("end", end.end).with("sealed", end.sealed)
}

/// Tells of the header; the store, the pack and its generation, as the header or the file's name say.
fn pack_header(
    file: &dyn DiskFile,
    name: &str,
    each: &mut dyn FnMut(Item),
) -> Result<Option<([u8; 16], PackId, u16)>, DiskError> {
    let mut page = Vec::new();
    file.read_at(0, PAGE as usize, &mut page)?;
    let named = PackId::parse(name);
    let header = PackHeader::decode(&page);
    match &header {
        Ok(header) => {
            let item = Item::new(0, "header").with("store", hex(&header.store_id)).with("pack", header.id);
            let other = named.is_some_and(|named| named != (header.id, header.generation));
            let item = item
                .with("generation", header.generation)
                .wrong_if(!header.is_whole(&page), "its page is not as it was written");
            each(item.wrong_if(other, "it is not the pack that the file's name says"));
        }
        Err(why) => each(Item::new(0, "header").wrong(why)),
    }
    let said = header.ok().map(|header| (header.store_id, header.id, header.generation));
    Ok(said.or(named.map(|(id, generation)| ([0; 16], id, generation))))
}

fn packs(file: &dyn DiskFile, name: &str, each: &mut dyn FnMut(Item)) -> Result<(), DiskError> {
    let Some((store_id, id, generation)) = pack_header(file, name, each)? else {
        each(
            Item::new(0, "file")
                .wrong("neither header nor name say which pack it is: regions cannot be told"),
        );
        return Ok(());
    };
    if pack::is_sealed(file)? {
        each(Item::new(PAGE, "sealed").with("content", SEALED));
        return Ok(());
    }
    let size = file.size()?;
    let domain = Domain::plain(store_id);
    let frame = Frame::new(&domain, id, generation);
    let trailer = pack::read_trailer(file, &frame)?;
    let footer = pack::read_footer(file, &frame)?;
    let footer_at = trailer.map_or(size, |trailer| {
        size.saturating_sub(frame.footer_len(trailer.regions as usize, trailer.chunks as usize))
    });
    let walked = pack::walk(file, &frame, footer_at)?;
    let codec = Codec::new(1, 0, domain.prints());
    let mut end = PAGE;
    for region in &walked.regions {
        gap(file, end, region.offset.into(), each)?;
        self::region(file, &codec, &frame, region, each)?;
        end = region.end();
    }
    gap(file, end, footer_at, each)?;
    let Some(trailer) = trailer else {
        each(Item::new(size, "footer").wrong("there is none, or it is damaged: the pack is not sealed"));
        return Ok(());
    };
    let item = Item::new(footer_at, "footer").with("regions", trailer.regions).with("chunks", trailer.chunks);
    let item = item.with("raw_bytes", trailer.raw_bytes);
    let item = item.wrong_if(footer.is_none(), "its checksum or its content is wrong");
    each(item);
    // What the footer knows and the walk did not find: their headers are damaged.
    for region in footer.iter().flat_map(|table| &table.regions) {
        match walked.regions.iter().find(|other| other.offset == region.offset) {
            None => {
                each(
                    Item::new(region.offset.into(), "region")
                        .wrong("its header is damaged; the footer has a copy"),
                );
                self::region(file, &codec, &frame, region, each)?;
            }
            Some(other) if other != region => {
                each(Item::new(region.offset.into(), "region").wrong("header and footer differ"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Where no region is found there should be zeros.
fn gap(file: &dyn DiskFile, start: u64, end: u64, each: &mut dyn FnMut(Item)) -> Result<(), DiskError> {
    let mut bytes = Vec::new();
    file.read_at(start, end.saturating_sub(start) as usize, &mut bytes)?;
    if let Some(first) = bytes.iter().position(|byte| *byte != 0) {
        let item = Item::new(start + first as u64, "gap").with("start", start).with("end", end);
        each(item.wrong("no whole region begins here, and these bytes are not zero"));
    }
    Ok(())
}

fn region(
    file: &dyn DiskFile,
    codec: &Codec,
    frame: &Frame,
    region: &Region,
    each: &mut dyn FnMut(Item),
) -> Result<(), DiskError> {
    let mut stored = Vec::new();
    pack::read_stored(file, region, &mut stored)?;
    let right = stored.len() as u64 == u64::from(region.stored_len) && crc32c::crc32c(&stored) == region.crc;
    let item = Item::new(region.offset.into(), "region").with("algorithm", format!("{:?}", region.algorithm));
    let item = item.with("raw_bytes", region.raw_len).with("stored_bytes", region.stored_len);
    let item = item.with("chunks", region.chunks.len()).with("crc", format!("{:08x}", region.crc));
    each(item.wrong_if(!right, "the checksum of its stored bytes does not match"));
    let raw = reader::fetch(file, codec, frame, region);
    for found in region.found() {
        let verdict = match &raw {
            Ok(raw) => {
                reader::verified(codec.prints(), raw, &found).map(drop).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        let at = u64::from(region.offset) + pack::REGION_HEADER + found.nth as u64 * pack::ENTRY_BYTES;
        let item = Item::new(at, "chunk").with("raw", found.chunk.at).with("bytes", found.chunk.len);
        let item = item.with("forced", found.chunk.forced).with("blake3", hex(&found.chunk.fingerprint));
        each(match verdict {
            Ok(()) => item,
            Err(why) => item.wrong(why),
        });
    }
    Ok(())
}

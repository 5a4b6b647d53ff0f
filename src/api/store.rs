//! Requests about what is stored. Each says which pools it is about: the one that it names; without a name all that are open, or the default one
//! where only one can be meant (a key).

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde_json::{Value, json};
use vtl_api::{
    ApiError, CollectStore, Damage, Done, ErrorCode, ExportStoreKey, HistorySince, JobDetail, OnPool,
    PoolScrub, PoolStats, RepairStore, RotateStoreKey, ScrubStore, StoreCheck, StoreCollected, StoreKey,
    StoreRepaired, StoreScrub, StoreStats,
};
use vtl_conf::StoreKeyMethod;
use vtl_durable::Blame;
use vtl_migrate::{REPAIR, RepairRequest};
use vtl_store::{GcRule, PassphraseCost, StoreError};

use super::pools::read_key;
use super::route::{Route, field, get, post};
use super::system::absolute;
use super::{Planned, refused};
use crate::daemon::{Daemon, internal, invalid, lock, not_at};
use crate::jobs;
use crate::pools::rows::KeyPlace;
use crate::pools::{Pool, SEE_DISK, pool_key};
use crate::scrub::Rate;
use crate::state::hexadecimal;

type Answer<T> = Result<T, ApiError>;

/// So long a request for a pass of the scrub waits until the pass has begun; its job may have to wait for others.
const SCRUB_BEGINS: Duration = Duration::from_secs(10);

/// A file that nobody else can read, durable when it returns. None is left when that fails: part of it would stand in the way of another attempt.
fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let durable = written.and_then(|()| File::open(folder)?.sync_all());
    if durable.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(path);
    }
    durable
}

/// What the store says of its key.
fn not_for_the_key(error: &StoreError) -> ApiError {
    let (code, remedy) = match error {
        StoreError::Key { .. } => (ErrorCode::Conflict, "do what it says, then ask again"),
        StoreError::ReadOnly { .. } => (ErrorCode::Conflict, "check the disk, then restart vtld"),
        _ => (ErrorCode::Internal, SEE_DISK),
    };
    ApiError::new(code, error.to_string(), remedy)
}

/// A pool without a key has none to change or to copy.
fn encrypted(pool: &Pool) -> Answer<()> {
    match pool.store.key_status() {
        Some(_) => Ok(()),
        None => {
            let message = format!("pool {} is not encrypted, so it has no key", pool.name);
            Err(ApiError::new(ErrorCode::Conflict, message, "name an encrypted pool: vtl pool ls")
                .about("pool"))
        }
    }
}

/// One word for all that say the same.
fn common(words: impl IntoIterator<Item = String>, otherwise: &str) -> String {
    let mut words = words.into_iter();
    let first = words.next().unwrap_or_default();
    if words.all(|word| word == first) { first } else { otherwise.to_owned() }
}

/// The sums over pools.
fn sum_of(each: &[PoolStats]) -> StoreStats {
    let sum = |of: fn(&StoreStats) -> u64| each.iter().map(|one| of(&one.stats)).sum();
    StoreStats {
        logical_bytes: sum(|one| one.logical_bytes),
        unique_bytes: sum(|one| one.unique_bytes),
        stored_bytes: sum(|one| one.stored_bytes),
        chunks: sum(|one| one.chunks),
        packs: sum(|one| one.packs),
        reclaimable_bytes: sum(|one| one.reclaimable_bytes),
        memory_bytes: sum(|one| one.memory_bytes),
        arrived_bytes: sum(|one| one.arrived_bytes),
        metadata_bytes: sum(|one| one.metadata_bytes),
        reclaimed_bytes: each.iter().map(|one| one.stats.reclaimed_bytes).sum(),
        writes: common(each.iter().map(|one| one.stats.writes.clone()), "mixed"),
        scrub: lines(each.iter().map(|one| (one.pool.as_str(), one.stats.scrub.as_str()))),
        encrypted: each.iter().all(|one| one.stats.encrypted),
        index_bad_pages: sum(|one| one.index_bad_pages),
        index_dropped_tables: sum(|one| one.index_dropped_tables),
        pools: Vec::new(),
    }
}

/// What each pool says, with its name where there are several.
fn lines<'a>(each: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let each: Vec<_> = each.collect();
    match each.as_slice() {
        [(_, line)] => (*line).to_owned(),
        _ => each.iter().map(|(pool, line)| format!("{pool}: {line}")).collect::<Vec<_>>().join("; "),
    }
}

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/store/stats", "What is stored", |d, (), q: OnPool| d.store_stats(q.pool.as_deref())),
        get("/store/history", "How the store has grown", |d, (), q: HistorySince| d.store_history(&q)),
        post("/store/account", "Count what each cartridge needs", |d, (), b: OnPool| d.store_account(&b)),
        get("/store/key", "What may be told of the key of a pool", |d, (), q: OnPool| {
            d.store_key(q.pool.as_deref())
        }),
        post("/store/key/rotate", "Change what opens a pool", |d, (), b: RotateStoreKey| {
            d.store_key_rotate(&b)
        }),
        post("/store/key/export", "Copy the keyring of a pool", |d, (), b: ExportStoreKey| {
            d.store_key_export(&b)
        }),
        post("/store/check", "Read everything and compare", |d, (), b: OnPool| d.store_check(&b)),
        get("/store/scrub", "How the scrub is doing", |d, (), q: OnPool| d.store_scrub(q.pool.as_deref())),
        post("/store/scrub", "Begin a pass of the scrub", |d, (), b: ScrubStore| d.store_scrub_begin(&b))
            .answers::<Planned<StoreScrub>>(),
        post("/store/repair", "Repair what is damaged", |d, (), b: RepairStore| d.store_repair(&b))
            .answers::<Planned<RepairAnswer>>()
            .makes_job(),
        post("/store/rebuild-index", "Make the index anew", |d, (), b: OnPool| d.store_rebuild_index(&b)),
        post("/store/gc", "Collect what nobody needs", |d, (), b: CollectStore| d.store_gc(&b))
            .answers::<Planned<CollectAnswer>>()
            .makes_job(),
    ]
}

/// What was repaired, or the job that fetches from exports.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "a form of answers for the OpenAPI text")]
enum RepairAnswer {
    Repaired(StoreRepaired),
    Job(Box<JobDetail>),
}

/// What was collected, or the job that goes on.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "a form of answers for the OpenAPI text")]
enum CollectAnswer {
    Collected(StoreCollected),
    Job(Box<JobDetail>),
}

impl Daemon {
    fn stats_of(&self, pool: &Pool) -> StoreStats {
        let (stats, index) = (pool.store.stats(), pool.store.index_stats());
        StoreStats {
            logical_bytes: stats.logical_bytes,
            unique_bytes: stats.unique_bytes,
            stored_bytes: stats.stored_bytes,
            chunks: stats.chunks,
            packs: stats.packs,
            reclaimable_bytes: stats.reclaimable_bytes,
            memory_bytes: stats.memory_bytes,
            arrived_bytes: stats.arrived_bytes,
            metadata_bytes: stats.metadata_bytes,
            reclaimed_bytes: stats.reclaimed_bytes,
            writes: pool.store.pack_writes().to_string(),
            scrub: self.scrub_line(pool),
            encrypted: pool.store.key_status().is_some(),
            index_bad_pages: index.bad_pages,
            index_dropped_tables: index.dropped,
            pools: Vec::new(),
        }
    }

    /// What all pools take, and each; or one.
    pub(crate) fn store_stats(&self, pool: Option<&str>) -> Answer<StoreStats> {
        if pool.is_some() {
            return Ok(self.stats_of(&*field("pool", self.pools.one(pool))?));
        }
        let of = |pool: &Arc<Pool>| PoolStats { pool: pool.name.to_string(), stats: self.stats_of(pool) };
        let each: Vec<PoolStats> = self.pools.open_ones().iter().map(of).collect();
        Ok(StoreStats { pools: each.clone(), ..sum_of(&each) })
    }

    /// The scrub of these pools in one line.
    pub(super) fn scrub_lines(&self, pools: &[Arc<Pool>]) -> String {
        let each: Vec<_> = pools.iter().map(|pool| (pool.name.to_string(), self.scrub_line(pool))).collect();
        lines(each.iter().map(|(name, line)| (name.as_str(), line.as_str())))
    }

    /// What may be told of a pool's key.
    pub(super) fn store_key(&self, pool: Option<&str>) -> Answer<StoreKey> {
        let Some(status) = field("pool", self.pools.one(pool))?.store.key_status() else {
            return Ok(StoreKey { encryption: "none".to_owned(), ..StoreKey::default() });
        };
        let cost = (status.method == vtl_store::Method::Passphrase).then_some(status.cost);
        Ok(StoreKey {
            encryption: "aes-256-gcm".to_owned(),
            method: Some(status.method.to_string()),
            revision: Some(status.revision),
            exported: Some(status.exported),
            passphrase_memory_bytes: cost.map(|cost| u64::from(cost.memory_kib) << 10),
            passphrase_passes: cost.map(|cost| cost.passes),
        })
    }

    /// Makes another key open a pool. Of a pool that the inventory lists, the new file is noted before and is the one afterwards; a crash between
    /// leaves both noted, and the next start takes the one that opens it.
    pub(super) fn store_key_rotate(&self, request: &RotateStoreKey) -> Answer<Done> {
        let _one_at_a_time = lock(&self.changes);
        let (file, method, member) = match (&request.key_file, &request.passphrase_file) {
            (Some(file), None) => (file, StoreKeyMethod::KeyFile, "key_file"),
            (None, Some(file)) => (file, StoreKeyMethod::PassphraseFile, "passphrase_file"),
            (first, _) => {
                let member = if first.is_none() { "key_file" } else { "passphrase_file" };
                let message = "a rotation needs one new key".to_owned();
                return Err(invalid(message, "name a key file or a passphrase file").about(member));
            }
        };
        let pool = field("pool", self.pools.one(request.pool.as_deref()))?;
        let read = field(member, read_key(self.state.path(), file, method))?;
        encrypted(&pool)?;
        let Some(key) = pool_key(&read) else { return Err(internal("a key file gave no key")) };
        let place = KeyPlace { method, file: file.clone() };
        self.pools.note_next_key(&pool, &place).map_err(|error| refused(&error))?;
        let status =
            pool.store.rotate_key(key, PassphraseCost::default()).map_err(|e| not_for_the_key(&e))?;
        let next = if pool.name.is_default() {
            format!(
                ": set store.{member} = \"{file}\" before the next start of vtld, and export it again with vtl store key export"
            )
        } else {
            self.pools.note_key(&pool).map_err(|error| refused(&error))?;
            format!(
                "; keep {file} in its place, and export it again with vtl store key export --pool {}",
                pool.name
            )
        };
        Ok(done(format!(
            "the pool opens with the new {} from now on (revision {}){next}",
            status.method, status.revision
        )))
    }

    /// Writes the keyring to a file; it counts as exported when that is durable.
    pub(super) fn store_key_export(&self, request: &ExportStoreKey) -> Answer<Done> {
        let _one_at_a_time = lock(&self.changes);
        let pool = field("pool", self.pools.one(request.pool.as_deref()))?;
        let file = absolute(&request.file)?;
        encrypted(&pool)?;
        let (revision, bytes) = pool.store.export_keyring().map_err(|e| not_for_the_key(&e))?;
        write_new(file, &bytes).map_err(|error| {
            let told = format!("{}: {error}", file.display());
            let remedy = "name a file that does not exist yet, in a folder that does";
            not_at("file", told, Blame::of(error.kind()), remedy)
        })?;
        pool.store.keyring_exported(revision).map_err(|e| not_for_the_key(&e))?;
        Ok(done(format!(
            "the keyring (revision {revision}) is in {}: keep it, and the key that opens it, apart from this machine",
            request.file
        )))
    }

    /// Finds out what each cartridge takes, without freeing anything.
    pub(super) fn store_account(&self, on: &OnPool) -> Answer<StoreStats> {
        for pool in self.pools_asked(on.pool.as_deref())? {
            self.account(&pool)?;
        }
        self.store_stats(on.pool.as_deref())
    }

    /// How the scrub is doing.
    pub(super) fn store_scrub(&self, pool: Option<&str>) -> Answer<StoreScrub> {
        let pools = self.pools_asked(pool)?;
        let told =
            |pool: &Arc<Pool>| PoolScrub { pool: pool.name.to_string(), scrub: self.scrub_told(pool, None) };
        let each: Vec<PoolScrub> = pools.iter().map(told).collect();
        let sum = |of: fn(&StoreScrub) -> u64| each.iter().map(|one| of(&one.scrub)).sum();
        let first = each.first().map(|one| one.scrub.clone()).unwrap_or_default();
        Ok(StoreScrub {
            unread_packs: sum(|one| one.unread_packs),
            damaged_chunks: sum(|one| one.damaged_chunks),
            damaged_bytes: sum(|one| one.damaged_bytes),
            damage: each.iter().flat_map(|one| one.scrub.damage.clone()).collect(),
            pools: if each.len() > 1 { each } else { Vec::new() },
            ..first
        })
    }

    /// A job that makes a pass of the scrub through one pool, or through each; answers when the first pass has begun.
    pub(super) fn store_scrub_begin(&self, asked: &ScrubStore) -> Answer<Value> {
        let rate = asked.rate.clone();
        rate.as_deref().map(str::parse::<Rate>).transpose().map_err(|why| {
            let rate = asked.rate.as_deref().unwrap_or_default();
            invalid(
                format!("rate {rate}: {why}"),
                "write \"max\" or a size from 64k, such as \"200m\": bytes a second",
            )
            .about("rate")
        })?;
        let pool = self.pool_asked(asked.pool.as_deref())?;
        let request = about(json!({ "rate": rate }), pool.as_deref());
        if asked.plan {
            return Ok(json!(self.job_plan(jobs::SCRUB, &request)?));
        }
        let id = self.jobs.submit(jobs::SCRUB, pool.clone(), request)?;
        let job = self.jobs.begun(id, SCRUB_BEGINS)?;
        let begun = jobs::pass_of(&job.checkpoint);
        let pool = match &begun {
            Some((name, _)) => self.pools.named(name)?,
            None => self.pools.one(pool.as_deref())?,
        };
        let told = self.scrub_told(&pool, begun.map(|(_, pass)| pass));
        Ok(json!(StoreScrub { job: Some(id.0), ..told }))
    }

    pub(super) fn store_check(&self, on: &OnPool) -> Answer<StoreCheck> {
        let labels = self.meta.read(vtl_library::cartridges).map_err(|e| refused(&e))?;
        let pieces = self.owners_of_pieces();
        let name = |owner: [u8; 16]| {
            let id = pieces.get(&owner).unwrap_or(&owner);
            let found = labels.iter().find(|c| c.id.0 == *id);
            found.map_or_else(|| hexadecimal(&owner), |c| c.label.to_string())
        };
        let mut sum = StoreCheck::default();
        for pool in self.pools_asked(on.pool.as_deref())? {
            let report = pool.store.check();
            sum.chunks += report.good_chunks;
            sum.bytes += report.good_bytes;
            sum.damage.extend(report.findings.into_iter().map(|finding| Damage {
                cartridge: name(finding.owner.0),
                offset: finding.range.start,
                length: finding.range.end.saturating_sub(finding.range.start),
                why: finding.why,
            }));
        }
        Ok(sum)
    }

    /// Puts damaged chunks back whose content is elsewhere in their pool; from exports as well it is a job.
    pub(super) fn store_repair(&self, asked: &RepairStore) -> Answer<Value> {
        match (asked.from_exports, asked.plan) {
            (true, _) => self.repair_from_exports(asked),
            (false, false) => Ok(json!(self.repair_within(asked.pool.as_deref())?)),
            (false, true) => {
                let message = "there is a plan only of a repair from exports".to_owned();
                Err(invalid(message, "ask for the plan with from_exports, or leave it out").about("plan"))
            }
        }
    }

    fn repair_from_exports(&self, asked: &RepairStore) -> Answer<Value> {
        // As with an import: a removal of the pool comes before, or finds the job.
        let _one_at_a_time = lock(&self.changes);
        let pool = self.pool_asked(asked.pool.as_deref())?;
        let request = json!(RepairRequest { pool: pool.clone() }).to_string();
        if asked.plan {
            return Ok(json!(self.job_plan(REPAIR, &request)?));
        }
        let id = self.jobs.submit(REPAIR, pool, request)?;
        Ok(json!(self.job_show(&id.to_string())?))
    }

    fn repair_within(&self, pool: Option<&str>) -> Answer<StoreRepaired> {
        let mut sum = StoreRepaired::default();
        for pool in self.pools_asked(pool)? {
            let report = self.repair(&pool)?;
            sum.readable += report.readable;
            sum.healed += report.healed;
            sum.mended += report.mended;
            sum.lost += report.lost;
            sum.lost_bytes += report.lost_bytes;
        }
        Ok(sum)
    }

    /// Makes the index again from the packs.
    pub(super) fn store_rebuild_index(&self, on: &OnPool) -> Answer<Done> {
        let mut chunks = 0;
        for pool in self.pools_asked(on.pool.as_deref())? {
            pool.store.rebuild_index().map_err(|error| internal(&error.to_string()))?;
            chunks += pool.store.stats().chunks;
        }
        Ok(done(format!("the index is made again from {chunks} chunks")))
    }

    /// A job that frees what no cartridge needs any more, in one pool or in each; answers at its end, unless it is to be left in the background.
    pub(super) fn store_gc(&self, asked: &CollectStore) -> Answer<Value> {
        let dead_percent = asked.dead_percent.unwrap_or(GcRule::default().dead_percent);
        if !(1..=100).contains(&dead_percent) {
            let message = format!("{dead_percent} percent of a pack cannot be dead");
            return Err(invalid(message, "write a number from 1 to 100").about("dead_percent"));
        }
        let pool = self.pool_asked(asked.pool.as_deref())?;
        let request = about(json!({ "dead_percent": dead_percent }), pool.as_deref());
        if asked.plan {
            return Ok(json!(self.job_plan(jobs::COLLECT, &request)?));
        }
        let id = self.jobs.submit(jobs::COLLECT, pool, request)?;
        if asked.background {
            return Ok(json!(self.job_show(&id.to_string())?));
        }
        let result = self.jobs.result(id)?;
        let collected: StoreCollected =
            serde_json::from_str(&result).map_err(|error| internal(&error.to_string()))?;
        Ok(json!(StoreCollected { job: Some(id.0), ..collected }))
    }

    /// The name of the pool that a job is to be about; it must be open now.
    fn pool_asked(&self, pool: Option<&str>) -> Answer<Option<String>> {
        let found = field("pool", pool.map(|name| self.pools.one(Some(name))).transpose())?;
        Ok(found.map(|pool| pool.name.to_string()))
    }

    /// The pool that a request names, or all that are open.
    fn pools_asked(&self, pool: Option<&str>) -> Answer<Vec<Arc<Pool>>> {
        field("pool", self.pools.asked(pool))
    }
}

fn done(message: String) -> Done {
    Done { message, names: Vec::new() }
}

/// A job's request about a pool.
fn about(mut request: Value, pool: Option<&str>) -> String {
    if let (Some(fields), Some(pool)) = (request.as_object_mut(), pool) {
        fields.insert("pool".to_owned(), json!(pool));
    }
    request.to_string()
}

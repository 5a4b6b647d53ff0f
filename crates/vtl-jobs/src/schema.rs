//! The tables, as `docs/formats/inventory.md` describes them.

use vtl_meta::{Migration, Module, Table};

/// What this crate keeps in the inventory file.
pub const MODULE: Module = Module {
    name: "jobs",
    migrations: &[Migration { number: 1, sql: MIGRATION_1 }],
    tables: &[&JOBS, &TASKS, &EVENTS, &KEYS, &NUMBERS],
};

pub(crate) static JOBS: Table = Table {
    name: "jobs",
    columns: &[
        "id",
        "kind",
        "label",
        "request",
        "priority",
        "state",
        "attempts",
        "in_attempt",
        "not_before_s",
        "done_bytes",
        "total_bytes",
        "checkpoint",
        "result",
        "error_code",
        "error",
        "remedy",
        "created_s",
        "started_s",
        "finished_s",
    ],
    key_len: 1,
};

pub(crate) static TASKS: Table = Table {
    name: "job_tasks",
    columns: &["job", "number", "name", "state", "done_bytes", "total_bytes"],
    key_len: 2,
};

pub(crate) static EVENTS: Table =
    Table { name: "job_events", columns: &["job", "number", "at_s", "event", "text"], key_len: 2 };

pub(crate) static KEYS: Table = Table { name: "job_keys", columns: &["key", "job", "made_s"], key_len: 1 };

pub(crate) static NUMBERS: Table = Table { name: "job_numbers", columns: &["one", "next"], key_len: 1 };

const MIGRATION_1: &str = "
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY CHECK (id >= 1),
        kind TEXT NOT NULL,
        label TEXT,
        request TEXT NOT NULL,
        priority INTEGER NOT NULL CHECK (priority IN (0, 1, 2)),
        state TEXT NOT NULL CHECK (state IN
            ('queued', 'running', 'pausing', 'paused', 'stopping', 'completed', 'cancelled', 'failed')),
        attempts INTEGER NOT NULL CHECK (attempts >= 0),
        in_attempt INTEGER NOT NULL CHECK (in_attempt IN (0, 1)),
        not_before_s INTEGER NOT NULL,
        done_bytes INTEGER NOT NULL,
        total_bytes INTEGER NOT NULL,
        checkpoint BLOB NOT NULL,
        result TEXT,
        error_code TEXT,
        error TEXT,
        remedy TEXT,
        created_s INTEGER NOT NULL,
        started_s INTEGER,
        finished_s INTEGER,
        row_sum BLOB NOT NULL,
        CHECK ((finished_s IS NOT NULL) = (state IN ('completed', 'cancelled', 'failed'))),
        CHECK ((error IS NULL) = (error_code IS NULL))
    ) STRICT;

    CREATE INDEX jobs_by_state ON jobs (state);

    CREATE TABLE job_tasks (
        job INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
        number INTEGER NOT NULL CHECK (number >= 0),
        name TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done')),
        done_bytes INTEGER NOT NULL,
        total_bytes INTEGER NOT NULL,
        row_sum BLOB NOT NULL,
        PRIMARY KEY (job, number)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE job_events (
        job INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
        number INTEGER NOT NULL CHECK (number >= 1),
        at_s INTEGER NOT NULL,
        event TEXT NOT NULL,
        text TEXT NOT NULL,
        row_sum BLOB NOT NULL,
        PRIMARY KEY (job, number)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE job_keys (
        key TEXT PRIMARY KEY NOT NULL,
        job INTEGER NOT NULL,
        made_s INTEGER NOT NULL,
        row_sum BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE job_numbers (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        next INTEGER NOT NULL CHECK (next >= 1),
        row_sum BLOB NOT NULL
    ) STRICT;
";

//! The tables, as `docs/formats/access.md` describes them.

use vtl_meta::{Migration, Module, Row, Table, Value};

/// What this crate keeps in the inventory.
pub const MODULE: Module = Module {
    name: "auth",
    migrations: &[Migration { number: 1, sql: MIGRATION_1 }],
    tables: &[&USERS, &TOKENS, &APPROVALS],
};

pub(crate) static USERS: Table = Table {
    name: "users",
    columns: &[
        "name",
        "roles",
        "locked",
        "origin",
        "memory_kib",
        "passes",
        "lanes",
        "salt",
        "hash",
        "created_s",
    ],
    key_len: 1,
};

pub(crate) static TOKENS: Table = Table {
    name: "tokens",
    columns: &["id", "name", "user", "roles", "digest", "created_s", "expires_s"],
    key_len: 1,
};

pub(crate) static APPROVALS: Table = Table {
    name: "approvals",
    columns: &[
        "id",
        "method",
        "path",
        "body",
        "permission",
        "asked_by",
        "asked_s",
        "state",
        "decided_by",
        "decided_s",
    ],
    key_len: 1,
};

const MIGRATION_1: &str = "
    CREATE TABLE users (
        name TEXT PRIMARY KEY NOT NULL,
        roles TEXT NOT NULL,
        locked INTEGER NOT NULL CHECK (locked IN (0, 1)),
        origin TEXT NOT NULL CHECK (origin IN ('local', 'oidc')),
        memory_kib INTEGER,
        passes INTEGER,
        lanes INTEGER,
        salt BLOB,
        hash BLOB,
        created_s INTEGER NOT NULL,
        row_sum BLOB NOT NULL,
        CHECK ((hash IS NULL) = (origin = 'oidc')),
        CHECK ((hash IS NULL) = (salt IS NULL)),
        CHECK ((hash IS NULL) = (memory_kib IS NULL)),
        CHECK ((hash IS NULL) = (passes IS NULL)),
        CHECK ((hash IS NULL) = (lanes IS NULL))
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE tokens (
        id TEXT PRIMARY KEY NOT NULL,
        name TEXT NOT NULL,
        user TEXT NOT NULL,
        roles TEXT NOT NULL,
        digest BLOB NOT NULL CHECK (length(digest) = 32),
        created_s INTEGER NOT NULL,
        expires_s INTEGER NOT NULL,
        row_sum BLOB NOT NULL,
        UNIQUE (user, name)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE approvals (
        id TEXT PRIMARY KEY NOT NULL,
        method TEXT NOT NULL,
        path TEXT NOT NULL,
        body BLOB NOT NULL,
        permission TEXT NOT NULL,
        asked_by TEXT NOT NULL,
        asked_s INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'refused')),
        decided_by TEXT,
        decided_s INTEGER,
        row_sum BLOB NOT NULL,
        CHECK ((state = 'pending') = (decided_by IS NULL)),
        CHECK ((state = 'pending') = (decided_s IS NULL))
    ) STRICT, WITHOUT ROWID;
";

pub(crate) fn text(word: &str) -> Value {
    Value::Text(word.to_owned())
}

pub(crate) fn number(value: u64) -> Value {
    Value::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

pub(crate) fn count(row: &Row, column: &str) -> Result<u64, vtl_meta::MetaError> {
    u64::try_from(row.get::<i64>(column)?).map_err(|_| row.damaged())
}

/// A text that was checked when it was written.
pub(crate) fn parsed<T: std::str::FromStr>(row: &Row, column: &str) -> Result<T, vtl_meta::MetaError> {
    row.get::<String>(column)?.parse().map_err(|_| row.damaged())
}

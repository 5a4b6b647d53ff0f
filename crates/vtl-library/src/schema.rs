//! The tables, as `docs/formats/inventory.md` describes them.

use vtl_meta::{Migration, Module, Table};

/// What this crate keeps in the inventory file.
pub const MODULE: Module = Module {
    name: "library",
    migrations: &[
        Migration { number: 1, sql: MIGRATION_1 },
        Migration { number: 2, sql: MIGRATION_2 },
        Migration { number: 3, sql: MIGRATION_3 },
    ],
    tables: &[
        &INSTALLATION,
        &LIBRARIES,
        &DRIVES,
        &CARTRIDGES,
        &SETTINGS,
        &TARGETS,
        &CHAP,
        &INITIATORS,
        &RETIRED_LABELS,
        &QUARANTINE,
    ],
};

pub(crate) static INSTALLATION: Table =
    Table { name: "installation", columns: &["one", "id", "next_device"], key_len: 1 };

pub(crate) static LIBRARIES: Table = Table {
    name: "libraries",
    columns: &["id", "name", "profile", "drive_profile", "drive_generation", "slots", "mailslots", "serial"],
    key_len: 1,
};

pub(crate) static DRIVES: Table = Table {
    name: "drives",
    columns: &["library", "number", "profile", "generation", "device", "serial"],
    key_len: 2,
};

pub(crate) static CARTRIDGES: Table = Table {
    name: "cartridges",
    columns: &[
        "id",
        "label",
        "library",
        "place",
        "number",
        "source_place",
        "source_number",
        "placed_by",
        "capacity_bytes",
        "write_protect",
        "state",
        "created_s",
    ],
    key_len: 1,
};

pub(crate) static SETTINGS: Table =
    Table { name: "settings", columns: &["library", "key", "value"], key_len: 2 };

pub(crate) static TARGETS: Table =
    Table { name: "targets", columns: &["iqn", "library", "drive"], key_len: 1 };

pub(crate) static CHAP: Table =
    Table { name: "chap", columns: &["iqn", "user", "secret", "mutual_user", "mutual_secret"], key_len: 1 };

pub(crate) static INITIATORS: Table =
    Table { name: "initiators", columns: &["iqn", "initiator"], key_len: 2 };

/// Labels of cartridges that are gone.
pub(crate) static RETIRED_LABELS: Table = Table { name: "retired_labels", columns: &["label"], key_len: 1 };

const MIGRATION_2: &str = "
    CREATE TABLE retired_labels (
        label TEXT PRIMARY KEY NOT NULL,
        row_sum BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
";
pub(crate) static QUARANTINE: Table =
    Table { name: "quarantine", columns: &["cartridge", "why"], key_len: 1 };

const MIGRATION_1: &str = "
    CREATE TABLE installation (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        id BLOB NOT NULL CHECK (length(id) = 16),
        next_device INTEGER NOT NULL CHECK (next_device >= 0),
        row_sum BLOB NOT NULL
    ) STRICT;

    CREATE TABLE libraries (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        profile TEXT NOT NULL,
        drive_profile TEXT NOT NULL,
        drive_generation INTEGER NOT NULL,
        slots INTEGER NOT NULL CHECK (slots >= 1),
        mailslots INTEGER NOT NULL CHECK (mailslots >= 0),
        serial TEXT NOT NULL UNIQUE,
        row_sum BLOB NOT NULL
    ) STRICT;

    CREATE TABLE drives (
        library INTEGER NOT NULL REFERENCES libraries (id),
        number INTEGER NOT NULL CHECK (number >= 0),
        profile TEXT NOT NULL,
        generation INTEGER NOT NULL,
        device INTEGER NOT NULL UNIQUE,
        serial TEXT NOT NULL UNIQUE,
        row_sum BLOB NOT NULL,
        PRIMARY KEY (library, number)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE cartridges (
        id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
        label TEXT NOT NULL UNIQUE,
        library INTEGER REFERENCES libraries (id),
        place TEXT NOT NULL CHECK (place IN ('slot', 'drive', 'mailslot', 'vault')),
        number INTEGER,
        source_place TEXT CHECK (source_place IN ('slot', 'mailslot')),
        source_number INTEGER,
        placed_by TEXT CHECK (placed_by IN ('operator', 'robot')),
        capacity_bytes INTEGER NOT NULL CHECK (capacity_bytes >= 0),
        write_protect INTEGER NOT NULL CHECK (write_protect IN (0, 1)),
        state TEXT NOT NULL CHECK (state IN ('normal', 'removing')),
        created_s INTEGER NOT NULL,
        row_sum BLOB NOT NULL,
        UNIQUE (library, place, number),
        CHECK ((place = 'vault') = (library IS NULL)),
        CHECK ((place = 'vault') = (number IS NULL)),
        CHECK ((source_place IS NULL) = (source_number IS NULL)),
        CHECK ((placed_by IS NULL) = (place <> 'mailslot')),
        CHECK (state = 'normal' OR place = 'vault')
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE settings (
        library INTEGER NOT NULL REFERENCES libraries (id),
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        row_sum BLOB NOT NULL,
        PRIMARY KEY (library, key)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE targets (
        iqn TEXT PRIMARY KEY NOT NULL,
        library INTEGER NOT NULL REFERENCES libraries (id),
        drive INTEGER CHECK (drive >= 0),
        row_sum BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE chap (
        iqn TEXT PRIMARY KEY NOT NULL REFERENCES targets (iqn),
        user TEXT NOT NULL,
        secret BLOB NOT NULL,
        mutual_user TEXT,
        mutual_secret BLOB,
        row_sum BLOB NOT NULL,
        CHECK ((mutual_user IS NULL) = (mutual_secret IS NULL))
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE initiators (
        iqn TEXT NOT NULL REFERENCES targets (iqn),
        initiator TEXT NOT NULL,
        row_sum BLOB NOT NULL,
        PRIMARY KEY (iqn, initiator)
    ) STRICT, WITHOUT ROWID;
";

/// No reference to `cartridges`: a mark is there before its cartridge is listed.
const MIGRATION_3: &str = "
    CREATE TABLE quarantine (
        cartridge BLOB PRIMARY KEY NOT NULL CHECK (length(cartridge) = 16),
        why TEXT NOT NULL,
        row_sum BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
";

//! The one SQLite file: connection, migrations, row checksums, online copy

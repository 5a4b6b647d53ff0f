//! Rows with a checksum. SQLite has none over its pages, so each row carries one, verified on every read.

use rusqlite::{
    Transaction, params_from_iter,
    types::{FromSql, Value, ValueRef},
};

use crate::error::{MetaError, RowName};

/// Bytes of a row's checksum.
const SUM_LEN: usize = 16;
const SUM_CONTEXT: &str = "vtl inventory row 0";
pub(crate) const SUM_COLUMN: &str = "row_sum";

/// A table whose rows are checked. The key columns come first; `row_sum` is not listed.
#[derive(Debug)]
pub struct Table {
    /// The table's name.
    pub name: &'static str,
    /// Its columns but `row_sum`, key first, in the order of the checksum.
    pub columns: &'static [&'static str],
    /// How many columns make the key.
    pub key_len: usize,
}

impl Table {
    fn key(&self) -> &'static [&'static str] {
        self.columns.get(..self.key_len).unwrap_or(self.columns)
    }

    fn column_list(&self) -> String {
        self.columns.join(", ")
    }

    fn key_match(&self, first_parameter: usize) -> String {
        assignments(self.key(), first_parameter, " AND ")
    }

    fn row_name(&self, values: &[Value]) -> RowName {
        let shown = self.key().iter().zip(values).map(|(column, value)| format!("{column}={}", show(value)));
        RowName { table: self.name, key: shown.collect::<Vec<_>>().join(", ") }
    }
}

fn assignments(columns: &[&str], first_parameter: usize, separator: &str) -> String {
    let numbered = columns.iter().enumerate().map(|(at, c)| format!("{c} = ?{}", first_parameter + at));
    numbered.collect::<Vec<_>>().join(separator)
}

fn show(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Blob(bytes) => bytes.iter().map(|b| format!("{b:02x}")).collect(),
    }
}

/// The checksum of a row, as `docs/formats/inventory.md` defines it.
#[must_use]
pub fn row_sum(table: &Table, values: &[Value]) -> [u8; SUM_LEN] {
    sum_of(table.name, values)
}

pub(crate) fn sum_of(table: &str, values: &[Value]) -> [u8; SUM_LEN] {
    let mut hasher = blake3::Hasher::new_derive_key(SUM_CONTEXT);
    add(&mut hasher, &Value::Text(table.to_owned()));
    values.iter().for_each(|value| add(&mut hasher, value));
    let mut sum = [0; SUM_LEN];
    hasher.finalize_xof().fill(&mut sum);
    sum
}

fn add(hasher: &mut blake3::Hasher, value: &Value) {
    match value {
        Value::Null => hasher.update(&[0x00]),
        Value::Integer(number) => hasher.update(&[0x01]).update(&number.to_le_bytes()),
        Value::Real(number) => hasher.update(&[0x02]).update(&number.to_le_bytes()),
        Value::Text(text) => add_bytes(hasher, 0x03, text.as_bytes()),
        Value::Blob(bytes) => add_bytes(hasher, 0x04, bytes),
    };
}

fn add_bytes<'h>(hasher: &'h mut blake3::Hasher, tag: u8, bytes: &[u8]) -> &'h mut blake3::Hasher {
    // SQLite's own limit is 2^31 - 1 bytes, so the length always fits.
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    hasher.update(&[tag]).update(&len.to_le_bytes()).update(bytes)
}

/// A row whose checksum was right, unless it was asked for unproved.
#[derive(Clone, Debug)]
pub struct Row {
    table: &'static Table,
    values: Vec<Value>,
}

impl Row {
    /// The value of a column.
    ///
    /// # Errors
    /// [`MetaError::DamagedRow`] when the value has another type than the owner expects.
    pub fn get<T: FromSql>(&self, column: &str) -> Result<T, MetaError> {
        let at = self.table.columns.iter().position(|c| *c == column);
        at.and_then(|at| self.values.get(at))
            .and_then(|value| T::column_result(ValueRef::from(value)).ok())
            .ok_or_else(|| self.damaged())
    }

    /// The error for a row that has the bytes that were written, but no meaning.
    #[must_use]
    pub fn damaged(&self) -> MetaError {
        MetaError::DamagedRow(self.name())
    }

    /// Table and key.
    #[must_use]
    pub fn name(&self) -> RowName {
        self.table.row_name(&self.values)
    }
}

/// One transaction. Nothing that it wrote counts until [`crate::Meta::transaction`] returns.
#[derive(Debug)]
pub struct Tx<'c> {
    inner: Transaction<'c>,
}

impl<'c> Tx<'c> {
    pub(crate) const fn new(inner: Transaction<'c>) -> Self {
        Self { inner }
    }

    pub(crate) fn commit(self) -> Result<(), MetaError> {
        Ok(self.inner.commit()?)
    }

    /// Adds a row; `values` in the order of the table's columns.
    ///
    /// # Errors
    /// A constraint of the table, or a failure of the file.
    pub fn insert(&mut self, table: &'static Table, values: &[Value]) -> Result<(), MetaError> {
        let places = (1..=values.len() + 1).map(|n| format!("?{n}")).collect::<Vec<_>>().join(", ");
        let sql =
            format!("INSERT INTO {} ({}, {SUM_COLUMN}) VALUES ({places})", table.name, table.column_list());
        self.write(&sql, table, values).map(|_| ())
    }

    /// Replaces the row that has the same key.
    ///
    /// # Errors
    /// [`MetaError::Absent`] when there is none; a constraint of the table, or a failure of the file.
    pub fn update(&mut self, table: &'static Table, values: &[Value]) -> Result<(), MetaError> {
        let sql = format!(
            "UPDATE {} SET {}, {SUM_COLUMN} = ?{} WHERE {}",
            table.name,
            assignments(table.columns, 1, ", "),
            table.columns.len() + 1,
            table.key_match(1)
        );
        match self.write(&sql, table, values)? {
            1 => Ok(()),
            _ => Err(MetaError::Absent(table.row_name(values))),
        }
    }

    fn write(&mut self, sql: &str, table: &Table, values: &[Value]) -> Result<usize, MetaError> {
        let sum = Value::Blob(row_sum(table, values).to_vec());
        let mut statement = self.inner.prepare_cached(sql)?;
        Ok(statement.execute(params_from_iter(values.iter().chain([&sum])))?)
    }

    /// Deletes the row with this key; false when there is none.
    ///
    /// # Errors
    /// A constraint of the table, or a failure of the file.
    pub fn delete(&mut self, table: &'static Table, key: &[Value]) -> Result<bool, MetaError> {
        let sql = format!("DELETE FROM {} WHERE {}", table.name, table.key_match(1));
        Ok(self.inner.prepare_cached(&sql)?.execute(params_from_iter(key))? > 0)
    }

    /// Deletes the rows for which `condition` holds, damaged ones too: their content is not looked at. How many they were. `condition` is as in
    /// [`Tx::find`].
    ///
    /// # Errors
    /// A constraint of the table, or a failure of the file.
    pub fn delete_each(
        &mut self,
        table: &'static Table,
        condition: &str,
        parameters: &[Value],
    ) -> Result<usize, MetaError> {
        let sql = format!("DELETE FROM {} WHERE {condition}", table.name);
        Ok(self.inner.prepare_cached(&sql)?.execute(params_from_iter(parameters))?)
    }

    /// The row with this key.
    ///
    /// # Errors
    /// [`MetaError::DamagedRow`] when its checksum is wrong; a failure of the file.
    pub fn get(&self, table: &'static Table, key: &[Value]) -> Result<Option<Row>, MetaError> {
        Ok(self.find(table, &table.key_match(1), key)?.pop())
    }

    /// The rows for which `condition` holds, in the order of their key. `condition` is the caller's own SQL with
    /// parameters `?1`, `?2`..; never put a value into its text.
    ///
    /// # Errors
    /// [`MetaError::DamagedRow`] for the first row whose checksum is wrong; a failure of the file.
    pub fn find(
        &self,
        table: &'static Table,
        condition: &str,
        parameters: &[Value],
    ) -> Result<Vec<Row>, MetaError> {
        let rows = self.raw_rows(table, condition, parameters)?;
        rows.into_iter().map(|(row, whole)| if whole { Ok(row) } else { Err(row.damaged()) }).collect()
    }

    /// The same with the damaged ones, whose content may be anything.
    ///
    /// # Errors
    /// A failure of the file.
    pub fn find_unproved(
        &self,
        table: &'static Table,
        condition: &str,
        parameters: &[Value],
    ) -> Result<Vec<Row>, MetaError> {
        let rows = self.raw_rows(table, condition, parameters)?;
        Ok(rows.into_iter().map(|(row, _)| row).collect())
    }

    /// Those of them whose checksum is wrong: their content may be anything.
    ///
    /// # Errors
    /// A failure of the file.
    pub fn find_damaged(
        &self,
        table: &'static Table,
        condition: &str,
        parameters: &[Value],
    ) -> Result<Vec<Row>, MetaError> {
        let rows = self.raw_rows(table, condition, parameters)?;
        Ok(rows.into_iter().filter(|(_, whole)| !whole).map(|(row, _)| row).collect())
    }

    /// All rows of a table, in the order of their key.
    ///
    /// # Errors
    /// As [`Tx::find`].
    pub fn all(&self, table: &'static Table) -> Result<Vec<Row>, MetaError> {
        self.find(table, "TRUE", &[])
    }

    /// How many rows there are for which `condition` holds; their content is not looked at.
    ///
    /// # Errors
    /// A failure of the file.
    pub fn count(
        &self,
        table: &'static Table,
        condition: &str,
        parameters: &[Value],
    ) -> Result<u64, MetaError> {
        let sql = format!("SELECT count(*) FROM {} WHERE {condition}", table.name);
        let mut statement = self.inner.prepare_cached(&sql)?;
        let count: i64 = statement.query_row(params_from_iter(parameters), |row| row.get(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// How many rows there are of each pair of texts in two columns; what else is in them is not looked at.
    ///
    /// # Errors
    /// A failure of the file.
    pub fn tally(
        &self,
        table: &'static Table,
        columns: [&'static str; 2],
    ) -> Result<Vec<(String, String, u64)>, MetaError> {
        let list = columns.join(", ");
        let sql = format!("SELECT {list}, count(*) FROM {} GROUP BY {list} ORDER BY {list}", table.name);
        let mut statement = self.inner.prepare_cached(&sql)?;
        let rows = statement.query_map([], |row| {
            let count: i64 = row.get(2)?;
            Ok((row.get(0)?, row.get(1)?, u64::try_from(count).unwrap_or(0)))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    #[cfg(test)]
    pub(crate) fn pragma(&self, name: &str) -> String {
        let value: Value = self.inner.pragma_query_value(None, name, |row| row.get(0)).unwrap();
        show(&value)
    }

    pub(crate) fn damaged_rows(&self, table: &'static Table) -> Result<Vec<RowName>, MetaError> {
        Ok(self.find_damaged(table, "TRUE", &[])?.iter().map(Row::name).collect())
    }

    /// Each row, and whether its checksum is right.
    fn raw_rows(
        &self,
        table: &'static Table,
        condition: &str,
        parameters: &[Value],
    ) -> Result<Vec<(Row, bool)>, MetaError> {
        let sql = format!(
            "SELECT {}, {SUM_COLUMN} FROM {} WHERE {condition} ORDER BY {}",
            table.column_list(),
            table.name,
            table.key().join(", ")
        );
        let mut statement = self.inner.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(parameters))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let columns = 0..table.columns.len();
            let values = columns.map(|at| row.get_ref(at).map(lossless)).collect::<Result<Vec<_>, _>>()?;
            let sum = lossless(row.get_ref(table.columns.len())?);
            let whole = sum == Value::Blob(row_sum(table, &values).to_vec());
            found.push((Row { table, values }, whole));
        }
        Ok(found)
    }
}

/// A damaged text need not be UTF-8; as a blob it fails its checksum instead of the whole query.
fn lossless(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
        ValueRef::Text(bytes) => match str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::Blob(bytes.to_vec()),
        },
    }
}

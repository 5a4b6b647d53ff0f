//! Some cartridges of many: which, in which order, and how many. The file sorts and counts, so that only what is asked for is read and checked.

use std::collections::BTreeMap;

use vtl_meta::{Tx, Value};
use vtl_types::LibraryName;

use crate::cartridge::{self, Cartridge};
use crate::error::LibraryError;
use crate::library::{self, Library};
use crate::schema::CARTRIDGES;

/// What cartridges are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// Their labels.
    #[default]
    Label,
    /// When they were made, and then their labels.
    Created,
    /// What they may hold, and then their labels.
    Capacity,
}

/// An order of cartridges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// What goes first.
    pub by: By,
    /// The other way round.
    pub down: bool,
}

impl Order {
    /// The place of a cartridge in this order.
    #[must_use]
    pub fn key_of(self, cartridge: &Cartridge) -> (i64, String) {
        let value = match self.by {
            By::Label => 0,
            By::Created => cartridge.created_s,
            By::Capacity => i64::try_from(cartridge.capacity.0).unwrap_or(i64::MAX),
        };
        (value, cartridge.label.to_string())
    }

    /// The column that has the value of [`Order::key_of`].
    const fn column(self) -> &'static str {
        match self.by {
            By::Label => "0",
            By::Created => "created_s",
            By::Capacity => "capacity_bytes",
        }
    }
}

/// Which cartridges. Those that are being removed are none of them.
#[derive(Clone, Debug, Default)]
pub struct Select {
    /// In this library.
    pub library: Option<LibraryName>,
    /// In a place of this kind.
    pub place: Option<&'static str>,
    /// With labels that begin so.
    pub prefix: Option<String>,
    /// In this order.
    pub order: Order,
    /// Behind this place in it.
    pub after: Option<(i64, String)>,
    /// So many at most.
    pub most: Option<usize>,
}

/// What rows must be, with the values that it names.
#[derive(Default)]
struct Conditions {
    text: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    /// `?` in the text stands for the value.
    fn add(&mut self, text: &str, value: Value) {
        self.values.push(value);
        self.text.push(text.replace('?', &format!("?{}", self.values.len())));
    }

    fn behind(&mut self, order: Order, (value, label): &(i64, String)) {
        let behind = if order.down { "<" } else { ">" };
        match order.by {
            By::Label => self.add(&format!("label {behind} ?"), label.clone().into()),
            By::Created | By::Capacity => {
                self.values.extend([Value::Integer(*value), label.clone().into()]);
                let (column, last) = (order.column(), self.values.len());
                self.text.push(format!("({column}, label) {behind} (?{}, ?{last})", last - 1));
            }
        }
    }
}

fn conditions(asked: &Select, library: Option<&Library>) -> Conditions {
    let mut conditions = Conditions { text: vec!["state = 'normal'".to_owned()], values: Vec::new() };
    if let Some(library) = library {
        conditions.add("library = ?", library.id.into());
    }
    if let Some(place) = asked.place {
        conditions.add("place = ?", place.to_owned().into());
    }
    if let Some(prefix) = asked.prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
        conditions.add("label >= ?", prefix.to_owned().into());
        // Behind all characters of labels.
        conditions.add("label < ?", format!("{prefix}~").into());
    }
    if let Some(after) = &asked.after {
        conditions.behind(asked.order, after);
    }
    conditions
}

/// The cartridges that are asked for.
///
/// # Errors
/// There is no such library; a damaged row; a failure of the file.
pub fn select(tx: &Tx<'_>, asked: &Select) -> Result<Vec<Cartridge>, LibraryError> {
    let library = asked.library.as_ref().map(|name| library::library(tx, name)).transpose()?;
    let Conditions { text, mut values } = conditions(asked, library.as_ref());
    let way = if asked.order.down { "DESC" } else { "ASC" };
    let order = match asked.order.by {
        By::Label => format!("label {way}"),
        By::Created | By::Capacity => format!("{} {way}, label {way}", asked.order.column()),
    };
    // SQLite's word for all is a number below zero.
    values.push(Value::Integer(asked.most.and_then(|most| i64::try_from(most).ok()).unwrap_or(-1)));
    let condition = format!(
        "id IN (SELECT id FROM cartridges WHERE {} ORDER BY {order} LIMIT ?{})",
        text.join(" AND "),
        values.len()
    );
    let mut names: BTreeMap<u32, LibraryName> = BTreeMap::new();
    for library in library::libraries(tx)? {
        names.insert(library.id, library.name);
    }
    let rows = tx.find(&CARTRIDGES, &condition, &values)?;
    let read = |row| cartridge::read(row, |id| Ok(names.get(&id).cloned()));
    let mut found = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    found.sort_by_cached_key(|one| asked.order.key_of(one));
    if asked.order.down {
        found.reverse();
    }
    Ok(found)
}

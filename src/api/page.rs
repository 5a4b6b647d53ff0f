//! Pages of lists: how many rows, and where the next page begins. A cursor names the last row of its page by its key, and the order that it goes by.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use vtl_api::ApiError;

use crate::daemon::invalid;

/// The most rows in a page, and as many as it has when nobody says how many.
pub(crate) const MOST_ROWS: u32 = 1000;

/// Rows of a list, and where it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page<T> {
    pub rows: Vec<T>,
    pub next: Option<Cursor>,
}

/// Behind which row a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The order, as the parameter `sort` names it.
    pub sort: String,
    /// The row's value in that order, where that is not its key.
    pub value: i64,
    /// The row's key.
    pub key: String,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(format!("{}\n{}\n{}", self.sort, self.value, self.key)))
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| ())?;
        let text = String::from_utf8(bytes).map_err(|_| ())?;
        let mut parts = text.splitn(3, '\n');
        match (parts.next(), parts.next().and_then(|value| value.parse().ok()), parts.next()) {
            (Some(sort), Some(value), Some(key)) => {
                Ok(Self { sort: sort.to_owned(), value, key: key.to_owned() })
            }
            _ => Err(()),
        }
    }
}

/// Which page is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// So many rows at most.
    pub most: usize,
    pub after: Option<Cursor>,
}

impl Wanted {
    /// From the parameters `limit` and `cursor` of a list that goes by `sort`.
    pub(crate) fn of(limit: Option<u32>, cursor: Option<&str>, sort: &str) -> Result<Self, ApiError> {
        let most = match limit.unwrap_or(MOST_ROWS) {
            rows if (1..=MOST_ROWS).contains(&rows) => rows as usize,
            rows => {
                let refused = invalid(format!("limit cannot be {rows}"), "write 1 to 1000");
                return Err(refused.about("limit"));
            }
        };
        let read = |text: &str| text.parse().ok().filter(|cursor: &Cursor| cursor.sort == sort);
        let after = match cursor {
            None => None,
            Some(text) => Some(read(text).ok_or_else(|| {
                let remedy = "take the address of the next page from the header Link, and keep its sort";
                invalid("the cursor is none of this list".to_owned(), remedy).about("cursor")
            })?),
        };
        Ok(Self { most, after })
    }

    /// The page of a list that is in memory, by its keys. They are unique.
    pub(crate) fn cut<T>(self, mut rows: Vec<T>, sort: &str, key: impl Fn(&T) -> String) -> Page<T> {
        rows.sort_by_cached_key(&key);
        if let Some(after) = self.after {
            rows.retain(|row| key(row) > after.key);
        }
        if rows.len() <= self.most {
            return Page { rows, next: None };
        }
        rows.truncate(self.most);
        let next = rows.last().map(|last| Cursor { sort: sort.to_owned(), value: 0, key: key(last) });
        Page { rows, next }
    }
}

/// The header `Link` of a page: its own address with another cursor.
pub(super) fn link(path: &str, query: &str, cursor: &str) -> String {
    let others = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "cursor");
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(others)
        .append_pair("cursor", cursor)
        .finish();
    format!("<{path}?{query}>; rel=\"next\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(rows: &[&str], limit: Option<u32>, cursor: Option<&str>) -> (Vec<String>, Option<String>) {
        let rows: Vec<String> = rows.iter().map(|&row| row.to_owned()).collect();
        let page = Wanted::of(limit, cursor, "name").unwrap().cut(rows, "name", Clone::clone);
        (page.rows, page.next.map(|next| next.to_string()))
    }

    #[test]
    fn a_row_that_comes_or_goes_between_pages_neither_skips_nor_repeats_another() {
        let (first, next) = page(&["d", "b", "a", "c"], Some(2), None);
        assert_eq!(first, ["a", "b"]);
        // The last row of the page is gone, and one in front of it has come.
        let (second, end) = page(&["d", "aa", "a", "c"], Some(2), next.as_deref());
        assert_eq!((second, end), (vec!["c".to_owned(), "d".to_owned()], None));
        assert_eq!(page(&["b", "a"], None, None), (vec!["a".to_owned(), "b".to_owned()], None));
    }

    #[test]
    fn a_limit_out_of_range_and_a_cursor_of_another_order_are_refused_by_name() {
        let field = |limit, cursor: Option<&str>| Wanted::of(limit, cursor, "name").unwrap_err().field;
        for limit in [0, 1001, u32::MAX] {
            assert_eq!(field(Some(limit), None).as_deref(), Some("limit"));
        }
        let other = Cursor { sort: "-name".to_owned(), value: 0, key: "a".to_owned() }.to_string();
        for cursor in [other.as_str(), "", "%", "bm9uc2Vuc2U"] {
            assert_eq!(field(None, Some(cursor)).as_deref(), Some("cursor"), "{cursor}");
        }
    }

    #[test]
    fn the_link_keeps_all_other_parameters() {
        let told = link("/api/v1/cartridges", "limit=2&cursor=old&label=A%26B", "new");
        assert_eq!(told, "</api/v1/cartridges?limit=2&label=A%26B&cursor=new>; rel=\"next\"");
    }
}

//! What lies on a remote: all of it, printed page by page as it comes. Memory does not grow with the remote.

use std::io::{ErrorKind, Write};

use serde_json::{Value, json};

use crate::command::ObjectsOf;
use crate::http::{Client, Failure};
use crate::print;

const COLUMNS: &[&str] = &["size_bytes", "name"];
/// Names that no object may have are shown, but not more of them.
const MOST_FOREIGN: usize = 20;

/// Prints all objects: lines for people, or one object of JSON in the form of a page. What breaks off is no JSON.
///
/// # Errors
/// The API's refusal; the pages do not come to an end; they cannot be written. Who reads no further is no error.
pub fn list(client: &Client, of: &ObjectsOf<'_>, json: bool, out: &mut impl Write) -> Result<(), Failure> {
    let mut listing = Listing { json, pages: 0, objects: 0, foreign: Vec::new() };
    let mut after = of.after.map(str::to_owned);
    loop {
        let page = client.send(&ObjectsOf { what: of.what, after: after.as_deref() }.request())?;
        if !is_read(out.write_all(listing.page(&page).as_bytes()))? {
            return Ok(());
        }
        after = match (page["next"].as_str(), after) {
            (None, _) => break,
            (Some(next), Some(after)) if next <= after.as_str() => {
                return Err(Failure::Local(format!("the list goes back from '{after}' to '{next}'")));
            }
            (Some(next), _) => Some(next.to_owned()),
        };
    }
    is_read(out.write_all(listing.end().as_bytes()).and_then(|()| out.flush())).map(drop)
}

/// Whether anybody still reads.
fn is_read(written: std::io::Result<()>) -> Result<bool, Failure> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::Local(format!("the list cannot be written: {error}"))),
    }
}

/// How far it is.
struct Listing {
    json: bool,
    pages: u64,
    objects: u64,
    foreign: Vec<Value>,
}

impl Listing {
    /// The text of the next page.
    fn page(&mut self, page: &Value) -> String {
        for name in page["foreign"].as_array().into_iter().flatten() {
            if self.foreign.len() < MOST_FOREIGN && !self.foreign.contains(name) {
                self.foreign.push(name.clone());
            }
        }
        let text = if self.json { self.members(page) } else { self.lines(page) };
        self.pages += 1;
        text
    }

    fn members(&mut self, page: &Value) -> String {
        let mut text = if self.pages == 0 { "{\"objects\":[".to_owned() } else { String::new() };
        for object in page["objects"].as_array().into_iter().flatten() {
            if self.objects > 0 {
                text.push(',');
            }
            text.push_str(&object.to_string());
            self.objects += 1;
        }
        text
    }

    fn lines(&mut self, page: &Value) -> String {
        let lines = print::lines_of_table(&page["objects"], COLUMNS, self.objects == 0);
        self.objects += page["objects"].as_array().map_or(0, |all| all.len() as u64);
        lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }

    fn end(&self) -> String {
        match (self.json, self.foreign.as_slice()) {
            (true, foreign) => format!("],\"foreign\":{},\"next\":null}}\n", json!(foreign)),
            (false, []) => String::new(),
            (false, foreign) => {
                let names: Vec<_> = foreign.iter().filter_map(Value::as_str).collect();
                format!("foreign: {}\n", names.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::{answer, server};

    fn page(names: &[&str], next: Option<&str>) -> String {
        let objects: Vec<Value> = names.iter().map(|name| json!({ "name": name, "size_bytes": 5 })).collect();
        answer(
            "200 OK",
            "",
            &json!({ "objects": objects, "foreign": ["no\u{fffd}"], "next": next }).to_string(),
        )
    }

    /// What is printed of these pages, and what was asked for.
    fn listed(pages: Vec<String>, json: bool) -> (Result<String, Failure>, Vec<String>) {
        let (client, asked) = server(pages);
        let mut out = Vec::new();
        let listed = list(&client, &ObjectsOf { what: "r/f", after: None }, json, &mut out);
        let asked = asked.join().unwrap();
        let paths = asked.iter().filter_map(|head| head.split(' ').nth(1)).map(str::to_owned).collect();
        (listed.map(|()| String::from_utf8(out).unwrap()), paths)
    }

    #[test]
    fn pages_are_asked_for_until_there_is_no_more_and_all_objects_are_one_list() {
        let pages = || vec![page(&["a", "b"], Some("f/b")), page(&[], Some("f/c")), page(&["d"], None)];
        let (told, asked) = listed(pages(), false);
        assert_eq!(
            told.unwrap(),
            "SIZE_BYTES  NAME\n5           a\n5           b\n5           d\nforeign: no\u{fffd}\n"
        );
        assert_eq!(
            asked,
            [
                "/api/v1/remotes/r/objects?folder=f",
                "/api/v1/remotes/r/objects?folder=f&after=f%2fb",
                "/api/v1/remotes/r/objects?folder=f&after=f%2fc",
            ]
        );
        let (told, _) = listed(pages(), true);
        let told: Value = serde_json::from_str(&told.unwrap()).unwrap();
        let objects = ["a", "b", "d"].map(|name| json!({ "name": name, "size_bytes": 5 }));
        assert_eq!(told, json!({ "objects": objects, "foreign": ["no\u{fffd}"], "next": null }));
    }

    #[test]
    fn an_empty_remote_is_an_empty_list() {
        let empty =
            || answer("200 OK", "", &json!({ "objects": [], "foreign": [], "next": null }).to_string());
        assert_eq!(listed(vec![empty()], false).0.unwrap(), "");
        let told: Value = serde_json::from_str(&listed(vec![empty()], true).0.unwrap()).unwrap();
        assert_eq!(told, json!({ "objects": [], "foreign": [], "next": null }));
    }

    #[test]
    fn pages_that_go_back_are_no_list() {
        let (told, asked) = listed(vec![page(&["a"], Some("f/b")), page(&["a"], Some("f/b"))], true);
        let Err(Failure::Local(why)) = told else { panic!("it has no end") };
        assert!(why.contains("'f/b'"), "{why}");
        assert_eq!(asked.len(), 2);
    }
}

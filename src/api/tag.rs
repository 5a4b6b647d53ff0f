//! Entity tags in two halves: what somebody decides, and all with what changes by itself. `docs/api.md` says which is asked when.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::state::hexadecimal;

/// Members that change without anybody asking for it.
const VOLATILE: &[&str] = &[
    "arrived_bytes",
    "attempts",
    "block",
    "busy",
    "bytes_per_s",
    "done_bytes",
    "events",
    "exclusive_bytes",
    "file",
    "free_bytes",
    "here_bytes",
    "left_s",
    "logical_bytes",
    "memory_share_bytes",
    "objects",
    "packs",
    "partition",
    "retention_ends",
    "shared_bytes",
    "stored_bytes",
    "tasks",
    "total_bytes",
    "unique_bytes",
    "used_bytes",
];

/// So many bytes of a hash are in each half.
const HALF: usize = 8;

/// The tag of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    settled: String,
    all: String,
}

impl Tag {
    pub(super) fn of(json: &[u8]) -> Self {
        let settled = match serde_json::from_slice(json) {
            Ok(mut value) => {
                settle(&mut value);
                half(value.to_string().as_bytes())
            }
            Err(_) => half(json),
        };
        Self { settled, all: half(json) }
    }

    /// As the header has it.
    pub(super) fn text(&self) -> String {
        format!("\"{}-{}\"", self.settled, self.all)
    }

    /// `If-None-Match`: whoever asks has just this.
    pub(super) fn is_known(&self, header: &str) -> bool {
        let own = self.text();
        tags(header).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == own)
    }

    /// `If-Match`: what was decided is still as whoever asks has seen it.
    pub(super) fn holds(&self, header: &str) -> bool {
        let settled =
            |tag: &str| tag.strip_prefix('"').and_then(|tag| tag.split('-').next()) == Some(&self.settled);
        tags(header).any(|tag| tag == "*" || settled(tag))
    }
}

fn tags(header: &str) -> impl Iterator<Item = &str> {
    header.split(',').map(str::trim).filter(|tag| !tag.is_empty())
}

fn settle(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !VOLATILE.contains(&name.as_str()));
            members.values_mut().for_each(settle);
        }
        Value::Array(items) => items.iter_mut().for_each(settle),
        _ => {}
    }
}

fn half(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes).iter().take(HALF).copied().collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_move_change_the_tag_and_let_a_change_through() {
        let before = Tag::of(br#"{"label":"A","used_bytes":1,"lazy":{"here_bytes":1}}"#);
        let grown = Tag::of(br#"{"label":"A","used_bytes":2,"lazy":{"here_bytes":9}}"#);
        let other = Tag::of(br#"{"label":"B","used_bytes":1,"lazy":{"here_bytes":1}}"#);
        assert!(before.is_known(&before.text()) && !grown.is_known(&before.text()));
        assert!(grown.holds(&before.text()) && !other.holds(&before.text()));
    }

    #[test]
    fn lists_of_tags_a_star_and_a_weak_mark_are_understood() {
        let tag = Tag::of(b"{}");
        let (own, many) = (tag.text(), format!("\"a-b\", W/{}", tag.text()));
        assert!(
            tag.is_known("*") && tag.holds("*") && tag.is_known(&many) && tag.holds(&format!("\"x\",{own}"))
        );
        for header in ["", "\"a-b\"", "nonsense", &format!("W/{own}")] {
            assert!(!tag.holds(header), "{header}: If-Match knows no weak tags");
        }
    }
}

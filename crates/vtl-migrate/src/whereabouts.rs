//! Where the bundle of a job lies, as its row tells it, or why there is none, for lists of jobs.

use serde_json::Value;

/// What is known of it; of a job of another kind nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// Name of the remote.
    pub remote: Option<String>,
    /// The folder there.
    pub folder: Option<String>,
    /// Chunk objects that are there.
    pub objects: Option<u64>,
    /// Why nothing was sent.
    pub skipped: Option<String>,
}

impl Whereabouts {
    /// From what was asked, where the job is, and what came of it.
    #[must_use]
    pub fn of(request: &str, checkpoint: &[u8], result: Option<&str>) -> Self {
        let result: Option<Value> = result.and_then(|text| serde_json::from_str(text).ok());
        let skipped = result.as_ref().and_then(|end| end["skipped"].as_str()).map(str::to_owned);
        let parts = [result, serde_json::from_slice(checkpoint).ok(), serde_json::from_str(request).ok()];
        let parts: Vec<Value> = parts.into_iter().flatten().collect();
        let text = |name: &str| parts.iter().find_map(|part| part[name].as_str()).map(str::to_owned);
        let done = parts.iter().find_map(|part| part["done"].as_array().map(|done| done.len() as u64));
        let objects = parts.iter().find_map(|part| part["objects"].as_u64()).or(done);
        Self { remote: text("remote"), folder: text("folder"), objects, skipped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_counts_before_the_way_and_the_way_before_the_question() {
        let of = |result| Whereabouts::of(r#"{"remote":"r"}"#, br#"{"folder":"F","done":[1,2]}"#, result);
        let told = |objects| Whereabouts {
            remote: Some("r".into()),
            folder: Some("F".into()),
            objects,
            skipped: None,
        };
        assert_eq!(of(None), told(Some(2)));
        assert_eq!(of(Some(r#"{"objects":7,"folder":"F"}"#)), told(Some(7)));
        assert_eq!(Whereabouts::of(r#"{"dead_percent":25}"#, b"", None), Whereabouts::default());
        assert_eq!(Whereabouts::of("no JSON", b"\xff", Some("")), Whereabouts::default());
    }

    #[test]
    fn why_nothing_was_sent_is_what_the_end_says_in_words() {
        let skipped = |result| Whereabouts::of(r#"{"remote":"r"}"#, br#"{"skipped":"x"}"#, result).skipped;
        assert_eq!(skipped(Some(r#"{"exported":false,"skipped":"blank"}"#)).as_deref(), Some("blank"));
        assert_eq!((skipped(Some(r#"{"exported":true}"#)), skipped(None)), (None, None));
        // Of a collection it is a number of packs.
        assert_eq!(skipped(Some(r#"{"packs":9,"skipped":2}"#)), None);
    }
}

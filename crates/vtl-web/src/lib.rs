//! The web pages: files that are compiled into the program, and how they are told to a browser.
//!
//! The pages are hand-written modules and style sheets without a build step. They use the public API and nothing else, and ask no other host for
//! anything. `/` is the one page; its parts lie below `/web/HASH/`, where HASH is made of all their content: a browser may keep them for ever, and asks
//! for others after an upgrade. Modules name each other by relative paths, so none of them has to know the hash.
//!
//! This crate has no HTTP and no socket: [`page`] is a function from a path to what is to be sent.

mod files;

use std::borrow::Cow;
use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use files::{FILES, INDEX};

/// Where the parts of the page lie.
const PARTS: &str = "/web/";
/// Stands for their folder in the page itself.
const FOLDER: &str = "{{folder}}";
/// So many hexadecimal digits of the hash are enough for a name that nobody else chooses.
const HASH_DIGITS: usize = 16;

/// A page asks again each time; the answer is short when nothing has changed.
const ASK_AGAIN: &str = "no-cache";
/// A year, the longest that caches heed: another content has another path.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// Headers that go with every file: what a page may load (its own modules, styles and answers, nothing inline), that nobody may frame it, and that
/// its address is told to nobody.
pub const HEADERS: &[(&str, &str)] = &[
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// What is sent for a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its media type.
    pub content_type: &'static str,
    /// Its entity tag, with quotes.
    pub etag: &'static str,
    /// How long it may be kept.
    pub cache_control: &'static str,
    /// Its bytes.
    pub body: &'static [u8],
}

/// The page or the part of it at this path of a request; none: there is no such page.
#[must_use]
pub fn page(path: &str) -> Option<Page> {
    let site = &*SITE;
    if path == "/" {
        return Some(Page {
            content_type: "text/html; charset=utf-8",
            etag: &site.etag,
            cache_control: ASK_AGAIN,
            body: site.index.as_bytes(),
        });
    }
    let name = path.strip_prefix(PARTS)?.strip_prefix(site.hash.as_str())?.strip_prefix('/')?;
    let (own, body) = FILES.iter().find(|(own, _)| *own == name)?;
    Some(Page { content_type: content_type(own), etag: &site.etag, cache_control: FOR_EVER, body })
}

/// The files, as they are told.
struct Site {
    hash: String,
    etag: String,
    index: Cow<'static, str>,
}

static SITE: LazyLock<Site> = LazyLock::new(|| {
    let hash = hash_of(INDEX, FILES);
    Site {
        etag: format!("\"{hash}\""),
        index: Cow::Owned(INDEX.replace(FOLDER, &format!("{PARTS}{hash}"))),
        hash,
    }
});

/// Names and lengths are in it, so that no two sets of files have the same bytes in a row.
fn hash_of(index: &str, files: &[(&str, &[u8])]) -> String {
    let mut hash = Sha256::new();
    for (name, body) in std::iter::once(("/", index.as_bytes())).chain(files.iter().copied()) {
        for part in [name.as_bytes(), body] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    let digits = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    digits.chars().take(HASH_DIGITS).collect()
}

/// By the end of the name.
const TYPES: [(&str, &str); 5] = [
    (".js", "text/javascript; charset=utf-8"),
    (".css", "text/css; charset=utf-8"),
    (".json", "application/json"),
    (".svg", "image/svg+xml"),
    (".webmanifest", "application/manifest+json"),
];

fn content_type(name: &str) -> &'static str {
    let found = TYPES.iter().find(|(end, _)| name.ends_with(end));
    found.map_or("application/octet-stream", |(_, kind)| kind)
}

#[cfg(test)]
mod tests;

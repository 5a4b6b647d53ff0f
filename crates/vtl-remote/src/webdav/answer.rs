//! What a server says of what it has: the XML of RFC 4918, as little of it as is needed.

use percent_encoding::percent_decode_str;
use reqwest::Url;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::content::{StoredHash, from_hex};

/// What is asked of each thing. The checksums are ownCloud's; servers that do not know them say so or nothing.
pub(super) const QUESTION: &str = concat!(
    r#"<?xml version="1.0" encoding="utf-8"?>"#,
    r#"<d:propfind xmlns:d="DAV:" xmlns:o="http://owncloud.org/ns"><d:prop>"#,
    "<d:resourcetype/><d:getcontentlength/><o:checksums/>",
    "</d:prop></d:propfind>"
);

#[derive(Debug, Deserialize)]
struct MultiStatus {
    #[serde(default)]
    response: Vec<Response>,
}

#[derive(Debug, Deserialize)]
struct Response {
    href: String,
    /// Of the whole thing, in place of properties.
    #[serde(default)]
    status: String,
    #[serde(default)]
    propstat: Vec<PropStat>,
}

#[derive(Debug, Deserialize)]
struct PropStat {
    #[serde(default)]
    prop: Prop,
    #[serde(default)]
    status: String,
}

#[derive(Debug, Default, Deserialize)]
struct Prop {
    #[serde(default)]
    getcontentlength: Option<String>,
    #[serde(default)]
    resourcetype: Option<ResourceType>,
    #[serde(default)]
    checksums: Option<Checksums>,
}

#[derive(Debug, Deserialize)]
struct ResourceType {
    #[serde(default)]
    collection: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct Checksums {
    #[serde(default)]
    checksum: Vec<String>,
}

/// A file or a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Thing {
    /// Below the remote's own folder: segments with one `/` between them, empty for that folder itself. `Err`: where it is said to
    /// be, which is not below the folder or no text.
    pub path: Result<String, String>,
    /// A folder has no size.
    pub kind: Kind,
    /// What the server tells of the content.
    pub hashes: Vec<StoredHash>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    File {
        size: u64,
    },
    /// It is there, and the server does not tell how long it is.
    Unknown,
}

/// Reads an answer. `base` is the remote's own folder.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(text: &str, base: &Url) -> Result<Vec<Thing>, String> {
    let all: MultiStatus = quick_xml::de::from_str(text).map_err(|error| error.to_string())?;
    let there = all.response.into_iter().filter(|response| status_of(&response.status) != Some(404));
    Ok(there.map(|response| thing(response, base)).collect())
}

/// The first status in an answer of several that is no success: what a MOVE or a DELETE has failed with in part.
///
/// # Errors
/// It is no such answer.
pub(super) fn failed_status(text: &str) -> Result<Option<u16>, String> {
    let all: MultiStatus = quick_xml::de::from_str(text).map_err(|error| error.to_string())?;
    let own = all.response.into_iter().flat_map(|response| {
        std::iter::once(response.status).chain(response.propstat.into_iter().map(|one| one.status))
    });
    Ok(own.filter_map(|status| status_of(&status)).find(|status| !(200..300).contains(status)))
}

/// The number in `HTTP/1.1 404 Not Found`.
fn status_of(line: &str) -> Option<u16> {
    line.split_whitespace().nth(1)?.parse().ok()
}

fn thing(response: Response, base: &Url) -> Thing {
    let Response { href, propstat, .. } = response;
    let found = |status: &str| status.is_empty() || status.contains(" 200");
    let mut prop = Prop::default();
    for PropStat { prop: more, status } in propstat {
        if found(&status) {
            prop.getcontentlength = prop.getcontentlength.or(more.getcontentlength);
            prop.resourcetype = prop.resourcetype.or(more.resourcetype);
            prop.checksums = prop.checksums.or(more.checksums);
        }
    }
    let is_folder = prop.resourcetype.is_some_and(|kind| kind.collection.is_some());
    let size = prop.getcontentlength.as_deref().map(str::trim).and_then(|size| size.parse().ok());
    let kind = match (is_folder, size) {
        (true, _) => Kind::Folder,
        (false, Some(size)) => Kind::File { size },
        (false, None) => Kind::Unknown,
    };
    let hashes = prop.checksums.map(|sums| hashes(&sums.checksum)).unwrap_or_default();
    Thing { path: path(&href, base).ok_or(href), kind, hashes }
}

/// The path below the base that a reference means: an address, or a path from the server's root.
fn path(href: &str, base: &Url) -> Option<String> {
    let there = base.join(href.trim()).ok()?;
    if there.origin() != base.origin() {
        return None;
    }
    let (base, there) = (segments(base)?, segments(&there)?);
    Some(there.strip_prefix(base.as_slice())?.join("/"))
}

/// The segments of a path as they are meant. None may have a separator in it.
fn segments(url: &Url) -> Option<Vec<String>> {
    let raw = url.path_segments()?.filter(|segment| !segment.is_empty());
    raw.map(|segment| {
        let segment = percent_decode_str(segment).decode_utf8().ok()?;
        (!segment.contains('/')).then(|| segment.into_owned())
    })
    .collect()
}

/// Words such as `MD5:HEX` and `SHA256:HEX`, several in one text perhaps; others are passed over.
fn hashes(texts: &[String]) -> Vec<StoredHash> {
    let words = texts.iter().flat_map(|text| text.split_whitespace());
    words
        .filter_map(|word| {
            let (kind, hex) = word.split_once(':')?;
            match kind.to_ascii_uppercase().as_str() {
                "MD5" => from_hex(hex).map(StoredHash::Md5),
                "SHA256" | "SHA-256" => from_hex(hex).map(StoredHash::Sha256),
                _ => None,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Url {
        Url::parse("https://h:8443/dav/tapes/").unwrap()
    }

    /// As RFC 4918 draws it, 9.1.3, with a folder, two files and a property that is not there.
    const ANSWER: &str = r#"<?xml version="1.0" encoding="utf-8" ?>
<D:multistatus xmlns:D="DAV:" xmlns:oc="http://owncloud.org/ns">
  <D:response>
    <D:href>/dav/tapes/</D:href>
    <D:propstat><D:prop><D:resourcetype><D:collection/></D:resourcetype></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>
    <D:propstat><D:prop><D:getcontentlength/></D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>
  </D:response>
  <D:response>
    <D:href>https://h:8443/dav/tapes/a%20b/%C3%BC%2525</D:href>
    <D:propstat><D:prop><D:resourcetype/><D:getcontentlength>3</D:getcontentlength><oc:checksums><oc:checksum>SHA1:a9 MD5:900150983CD24FB0D6963F7D28E17F72</oc:checksum></oc:checksums></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>
  </D:response>
  <D:response>
    <D:href>/dav/other/x</D:href>
    <D:propstat><D:prop><D:resourcetype/><D:getcontentlength>4</D:getcontentlength></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>
  </D:response>
</D:multistatus>"#;

    #[test]
    fn an_answer_tells_folders_and_files_with_sizes_and_hashes() {
        let md5 = StoredHash::Md5(from_hex("900150983cd24fb0d6963f7d28e17f72").unwrap());
        let thing = |path: Result<&str, &str>, kind, hashes: &[StoredHash]| Thing {
            path: path.map(str::to_owned).map_err(str::to_owned),
            kind,
            hashes: hashes.to_vec(),
        };
        let expected = [
            thing(Ok(""), Kind::Folder, &[]),
            thing(Ok("a b/ü%25"), Kind::File { size: 3 }, &[md5]),
            thing(Err("/dav/other/x"), Kind::File { size: 4 }, &[]),
        ];
        assert_eq!(read(ANSWER, &base()).unwrap(), expected);
    }

    #[test]
    fn a_reference_cannot_lead_out_of_the_folder() {
        for href in
            ["/dav/tapes/a%2Fb", "https://other/dav/tapes/x", "/dav/tapes/../x", "/dav/tapes/%FF", "https://"]
        {
            assert_eq!(path(href, &base()), None, "{href}");
        }
        assert_eq!(path("/dav/tapes/x/", &base()).as_deref(), Some("x"));
    }

    #[test]
    fn a_thing_without_a_size_is_unknown_one_that_is_gone_is_left_out_and_the_others_are_told() {
        let odd = ANSWER.replace("<D:getcontentlength>4</D:getcontentlength>", "").replace(
            "</D:multistatus>",
            concat!(
                "<D:response><D:href>/dav/tapes/gone</D:href><D:status>HTTP/1.1 404 Not Found</D:status></D:response>",
                "<D:response><D:href>/dav/tapes/shut</D:href><D:status>HTTP/1.1 403 Forbidden</D:status></D:response>",
                "</D:multistatus>"
            ),
        );
        let kinds: Vec<_> =
            read(&odd, &base()).unwrap().into_iter().map(|thing| (thing.path, thing.kind)).collect();
        assert_eq!(
            kinds,
            [
                (Ok(String::new()), Kind::Folder),
                (Ok("a b/ü%25".to_owned()), Kind::File { size: 3 }),
                (Err("/dav/other/x".to_owned()), Kind::Unknown),
                (Ok("shut".to_owned()), Kind::Unknown),
            ]
        );
    }

    #[test]
    fn the_first_failure_of_several_is_found() {
        let answer = |status: &str| {
            format!(
                "<multistatus><response><href>/a</href><status>HTTP/1.1 200 OK</status></response>\
                <response><href>/b</href><status>{status}</status></response></multistatus>"
            )
        };
        assert_eq!(failed_status(&answer("HTTP/1.1 423 Locked")), Ok(Some(423)));
        assert_eq!(failed_status(&answer("HTTP/1.1 204 No Content")), Ok(None));
        assert!(failed_status("no xml").is_err());
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for text in ["", "no xml", "<a>"] {
            assert!(read(text, &base()).is_err(), "{text}");
        }
    }
}

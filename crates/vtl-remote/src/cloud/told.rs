//! What a server tells of an object in its headers.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;

use crate::content::{StoredHash, from_hex};

/// Hashes from the headers of an answer; the transport puts them with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub hashes: Vec<StoredHash>,
}

/// S3 tells an MD5 as ETag, and a SHA-256 when one was sent along.
pub(super) fn of_s3(headers: &HeaderMap) -> Told {
    let etag = text(headers, "etag").and_then(etag);
    let in_parts = matches!(etag, Some(StoredHash::Md5OfParts { .. }));
    let is_of_all = !in_parts || text(headers, "x-amz-checksum-type") == Some("FULL_OBJECT");
    // Of an object in parts, a checksum without their number may be of the whole or of the parts: nobody knows.
    let is_clear = |hash: &StoredHash| is_of_all || !matches!(hash, StoredHash::Sha256(_));
    let checksum = text(headers, "x-amz-checksum-sha256").and_then(sha256).filter(is_clear);
    let etag = etag.filter(|_| is_etag_an_md5(headers));
    Told { hashes: checksum.into_iter().chain(etag).collect() }
}

/// Azure tells the MD5 of an object that came in one request.
pub(super) fn of_azure(headers: &HeaderMap) -> Told {
    Told { hashes: text(headers, "content-md5").and_then(md5).into_iter().collect() }
}

/// Google tells `crc32c=B64,md5=B64` in one header or in several; the MD5 not of objects in parts.
pub(super) fn of_gcs(headers: &HeaderMap) -> Told {
    let all = headers.get_all("x-goog-hash").iter().filter_map(|value| value.to_str().ok());
    let md5 = all.flat_map(|line| line.split(',')).find_map(|hash| md5(hash.trim().strip_prefix("md5=")?));
    Told { hashes: md5.into_iter().collect() }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// In base64.
fn md5(text: &str) -> Option<StoredHash> {
    Some(StoredHash::Md5(BASE64_STANDARD.decode(text).ok()?.try_into().ok()?))
}

/// The ETag is an MD5 unless the server encrypts with a key of its key service or of the customer's.
fn is_etag_an_md5(headers: &HeaderMap) -> bool {
    let with_kms = headers
        .get("x-amz-server-side-encryption")
        .is_some_and(|value| value.as_bytes().starts_with(b"aws:kms"));
    !with_kms && !headers.contains_key("x-amz-server-side-encryption-customer-algorithm")
}

/// `"HEX"` for an object in one piece, `"HEX-N"` for one of N parts; anything else says nothing.
fn etag(text: &str) -> Option<StoredHash> {
    match of_parts(text.trim_matches('"'))? {
        (hex, None) => from_hex(hex).map(StoredHash::Md5),
        (hex, Some(parts)) => from_hex(hex).map(|digest| StoredHash::Md5OfParts { digest, parts }),
    }
}

/// The same in base64.
fn sha256(text: &str) -> Option<StoredHash> {
    let (encoded, parts) = of_parts(text)?;
    let digest = BASE64_STANDARD.decode(encoded).ok()?.try_into().ok()?;
    Some(match parts {
        None => StoredHash::Sha256(digest),
        Some(parts) => StoredHash::Sha256OfParts { digest, parts },
    })
}

fn of_parts(text: &str) -> Option<(&str, Option<u32>)> {
    match text.split_once('-') {
        None => Some((text, None)),
        Some((hash, parts)) => parts.parse().ok().map(|parts| (hash, Some(parts))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        all
    }

    fn told(headers: &[(&'static str, &'static str)]) -> Vec<&'static str> {
        of_s3(&map(headers)).hashes.iter().map(StoredHash::word).collect()
    }

    /// RFC 1321, A.5: of `abc`, as base64.
    const ABC: &str = "kAFQmDzST7DWlj99KOF/cg==";

    #[test]
    fn azure_and_google_tell_an_md5_in_base64_or_nothing() {
        let abc = [StoredHash::Md5(from_hex("900150983cd24fb0d6963f7d28e17f72").unwrap())];
        assert_eq!(of_azure(&map(&[("content-md5", ABC), ("etag", "\"0x8D\"")])).hashes, abc);
        assert!(of_azure(&map(&[("content-md5", "short")])).hashes.is_empty());
        let both = "crc32c=NhCmhg==,md5=kAFQmDzST7DWlj99KOF/cg==";
        assert_eq!(of_gcs(&map(&[("x-goog-hash", both)])).hashes, abc);
        let second = [("x-goog-hash", "crc32c=NhCmhg=="), ("x-goog-hash", "md5=kAFQmDzST7DWlj99KOF/cg==")];
        assert_eq!(of_gcs(&map(&second)).hashes, abc);
        let in_parts = [("x-goog-hash", "crc32c=NhCmhg=="), ("etag", "\"900150983cd24fb0d6963f7d28e17f72\"")];
        assert!(of_gcs(&map(&in_parts)).hashes.is_empty());
    }

    #[test]
    fn an_etag_is_a_hash_only_when_it_looks_like_one_and_the_server_did_not_encrypt() {
        let md5 = ("etag", "\"900150983cd24fb0d6963f7d28e17f72\"");
        assert_eq!(told(&[md5]), ["MD5"]);
        assert_eq!(told(&[("etag", "\"900150983cd24fb0d6963f7d28e17f72-3\"")]), ["MD5 of parts"]);
        for other in ["\"\"", "\"abc\"", "\"900150983cd24fb0d6963f7d28e17f72-x\"", "W/\"1\""] {
            assert!(told(&[("etag", other)]).is_empty(), "{other}");
        }
        assert!(told(&[md5, ("x-amz-server-side-encryption", "aws:kms")]).is_empty());
        assert!(told(&[md5, ("x-amz-server-side-encryption-customer-algorithm", "AES256")]).is_empty());
        assert_eq!(told(&[md5, ("x-amz-server-side-encryption", "AES256")]), ["MD5"]);
    }

    #[test]
    fn a_checksum_header_is_of_the_object_or_of_its_parts() {
        let whole = ("x-amz-checksum-sha256", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
        assert_eq!(told(&[whole]), ["SHA-256"]);
        let parts = ("x-amz-checksum-sha256", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=-2");
        assert_eq!(told(&[parts]), ["SHA-256 of parts"]);
        assert!(told(&[("x-amz-checksum-sha256", "short")]).is_empty());
        let etag = ("etag", "\"900150983cd24fb0d6963f7d28e17f72-3\"");
        assert_eq!(told(&[etag, whole]), ["MD5 of parts"]);
        let of_all = ("x-amz-checksum-type", "FULL_OBJECT");
        assert_eq!(told(&[etag, whole, of_all]), ["SHA-256", "MD5 of parts"]);
    }
}

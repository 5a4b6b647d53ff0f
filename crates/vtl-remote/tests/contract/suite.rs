//! What every driver promises.

use bytes::Bytes;
use vtl_remote::{
    Body, BytesBody, Class, Content, Error, FileBody, Finding, Folder, Limiter, Mode, ObjectName, Proof, Put,
    Receipt, Remote, Span, Unwatched, collect, create_or_same, probe, verified, verify, verify_or_read_back,
};

/// More than two parts of 5 MiB.
pub const LARGE: usize = (11 << 20) + 17;

pub fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

/// Bytes that repeat nowhere near.
pub fn bytes(count: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes.into()
}

pub async fn put_body(
    remote: &dyn Remote,
    to: &str,
    content: &Content,
    body: &dyn Body,
) -> Result<Receipt, Error> {
    let limiter = Limiter::unlimited();
    let name = name(to);
    let put = Put { name: &name, content, body, resume: None, watch: &Unwatched, limiter: &limiter };
    remote.put(put).await
}

pub async fn put(remote: &dyn Remote, to: &str, bytes: &Bytes) -> Result<Receipt, Error> {
    put_body(remote, to, &Content::of(bytes), &BytesBody(bytes.clone())).await
}

pub async fn get(remote: &dyn Remote, from: &str, span: Span) -> Result<Bytes, Error> {
    collect(remote.get(&name(from), span).await?, 64 << 20).await
}

fn class<T: std::fmt::Debug>(outcome: Result<T, Error>) -> Class {
    outcome.unwrap_err().class()
}

pub async fn what_is_put_comes_back_whole_and_in_ranges(remote: &dyn Remote) {
    let sent = bytes(100_000, 1);
    put(remote, "a/b/object", &sent).await.unwrap();
    assert!(get(remote, "a/b/object", Span::whole()).await.unwrap() == sent);
    assert_eq!(remote.head(&name("a/b/object")).await.unwrap().size, 100_000);
    for (start, length) in [(0, 1), (0, 100_000), (99_999, 1), (12_345, 54_321), (100_000, 0), (5, 0)] {
        let found = get(remote, "a/b/object", Span::of(start, length)).await.unwrap();
        assert!(found == sent.slice(start as usize..(start + length) as usize), "{start} {length}");
    }
}

pub async fn a_range_that_ends_after_the_object_is_refused(remote: &dyn Remote) {
    put(remote, "short", &bytes(100, 2)).await.unwrap();
    for (start, length) in [(0, 101), (100, 1), (101, 1), (101, 0), (u64::MAX, 2)] {
        let outcome = get(remote, "short", Span::of(start, length)).await;
        assert_eq!(class(outcome), Class::OutOfRange, "{start} {length}");
    }
}

pub async fn what_is_not_there_is_not_there(remote: &dyn Remote) {
    put(remote, "folder/object", &bytes(10, 3)).await.unwrap();
    for missing in ["none", "none/such", "folder", "folder/none", "folder/object/below"] {
        assert_eq!(class(get(remote, missing, Span::whole()).await), Class::NotThere, "get {missing}");
        assert_eq!(class(remote.head(&name(missing)).await), Class::NotThere, "head {missing}");
        assert_eq!(class(remote.hashes(&name(missing)).await), Class::NotThere, "hashes {missing}");
    }
    let error = remote.head(&name("none")).await.unwrap_err();
    assert!(error.to_string().contains(remote.name()) && error.to_string().contains("none"), "{error}");
}

pub async fn a_put_replaces_and_a_create_does_not(remote: &dyn Remote) {
    let (first, second) = (bytes(1_000, 4), bytes(1_000, 5));
    let manifest = name("m/manifest");
    remote.create(&manifest, first.clone()).await.unwrap();
    assert_eq!(class(remote.create(&manifest, second.clone()).await), Class::AlreadyThere);
    assert!(get(remote, "m/manifest", Span::whole()).await.unwrap() == first);
    create_or_same(remote, &manifest, first.clone()).await.unwrap();
    assert_eq!(class(create_or_same(remote, &manifest, second.clone()).await), Class::AlreadyThere);
    assert_eq!(class(create_or_same(remote, &manifest, bytes(10, 6)).await), Class::AlreadyThere);
    put(remote, "m/manifest", &second).await.unwrap();
    assert!(get(remote, "m/manifest", Span::whole()).await.unwrap() == second);
}

pub async fn a_body_that_is_not_what_was_said_leaves_nothing(remote: &dyn Remote) {
    let folder = tempfile::tempdir().unwrap();
    let said = Content::of(&bytes(5_000, 7));
    let file = folder.path().join("body");
    for wrong in [bytes(4_999, 7), bytes(5_001, 7), bytes(5_000, 8)] {
        let body = BytesBody(wrong.clone());
        assert_eq!(class(put_body(remote, "x/wrong", &said, &body).await), Class::Source);
        std::fs::write(&file, &wrong).unwrap();
        assert_eq!(class(put_body(remote, "x/wrong", &said, &FileBody::new(&file)).await), Class::Source);
    }
    let gone = FileBody::new(folder.path().join("gone"));
    assert_eq!(class(put_body(remote, "x/wrong", &said, &gone).await), Class::Source);
    assert_eq!(class(remote.head(&name("x/wrong")).await), Class::NotThere);
    assert!(remote.list(&Folder::all(), None, 10).await.unwrap().entries.is_empty());
}

pub async fn the_empty_object_is_an_object(remote: &dyn Remote) {
    let receipt = put(remote, "empty", &Bytes::new()).await.unwrap();
    assert_eq!(remote.head(&name("empty")).await.unwrap().size, 0);
    assert!(get(remote, "empty", Span::whole()).await.unwrap().is_empty());
    let (content, limiter) = (Content::of(b""), Limiter::unlimited());
    let mode = Mode::RemoteHash;
    verify_or_read_back(remote, &name("empty"), &content, &receipt, mode, &limiter).await.unwrap();
}

pub async fn listings_come_in_order_page_by_page_and_of_one_folder(remote: &dyn Remote) {
    let all = ["a", "b-/x", "b/c", "b/d", "b/e/f", "bb", "c/d"];
    for (size, to) in all.iter().enumerate() {
        put(remote, to, &bytes(size + 1, 9)).await.unwrap();
    }
    let pages = async |folder: &str, most: usize| {
        let (mut seen, mut after) = (Vec::new(), None);
        for _ in 0..=all.len() {
            let page = remote.list(&Folder::new(folder).unwrap(), after.as_ref(), most).await.unwrap();
            assert!(page.entries.len() <= most && page.foreign.is_empty());
            seen.extend(page.entries.into_iter().map(|entry| (entry.name.to_string(), entry.size)));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        seen
    };
    let expected: Vec<(String, u64)> = (1..).zip(all).map(|(size, name)| (name.to_owned(), size)).collect();
    for most in [1, 2, 3, 7, 1_000] {
        assert_eq!(pages("", most).await, expected, "{most} a page");
    }
    assert_eq!(pages("b", 2).await, expected[2..5]);
    assert_eq!(pages("b/e", 2).await, expected[4..5]);
    assert!(pages("none", 2).await.is_empty());
}

pub async fn names_with_odd_characters_are_kept(remote: &dyn Remote) {
    let mut odd =
        ["-x", "a b", "a\"b", "a%2fb", "a&b=c+d", "a'b", "a*b[c]", "a:b", "a?b#c", "d/-- rm", "ü/日本"];
    for to in odd {
        let sent = bytes(to.len(), 10);
        put(remote, to, &sent).await.unwrap();
        assert!(get(remote, to, Span::whole()).await.unwrap() == sent, "{to}");
        assert!(get(remote, to, Span::of(1, 1)).await.unwrap() == sent.slice(1..2), "{to}");
    }
    odd.sort_unstable();
    let page = remote.list(&Folder::all(), None, 100).await.unwrap();
    let listed: Vec<&str> = page.entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(listed, odd);
    for to in odd {
        remote.delete(&name(to)).await.unwrap();
    }
    assert!(remote.list(&Folder::all(), None, 100).await.unwrap().entries.is_empty());
}

pub async fn what_is_deleted_is_gone_and_may_be_deleted_again(remote: &dyn Remote) {
    put(remote, "d/one", &bytes(10, 11)).await.unwrap();
    put(remote, "d/two", &bytes(10, 12)).await.unwrap();
    for _ in 0..2 {
        remote.delete(&name("d/one")).await.unwrap();
        assert_eq!(class(remote.head(&name("d/one")).await), Class::NotThere);
    }
    remote.delete(&name("none/such")).await.unwrap();
    assert!(get(remote, "d/two", Span::whole()).await.is_ok());
}

pub async fn verification_finds_what_differs(remote: &dyn Remote) {
    let sent = bytes(50_000, 13);
    let content = Content::of(&sent);
    let receipt = put(remote, "v", &sent).await.unwrap();
    let limiter = Limiter::unlimited();
    let check =
        async |content: &Content, mode| verify(remote, &name("v"), content, &receipt, mode, &limiter).await;
    // Who tells no hash says so, whatever is compared: that is never a success.
    let by_hash = check(&content, Mode::RemoteHash).await;
    let tells = match &by_hash {
        Ok(proof) => matches!(proof, Proof::RemoteHash(_)),
        Err(error) => error.class() != Class::Unverifiable,
    };
    assert_eq!(by_hash.is_ok(), tells, "{by_hash:?}");
    assert_eq!(check(&content, Mode::Readback).await, Ok(Proof::Readback));
    assert_eq!(check(&content, Mode::None).await, Ok(Proof::Unchecked));
    for (other, by_hash) in [
        (bytes(50_000, 14), if tells { Class::Damaged } else { Class::Unverifiable }),
        (bytes(50_001, 13), Class::Damaged),
    ] {
        assert_eq!(class(check(&Content::of(&other), Mode::RemoteHash).await), by_hash);
        assert_eq!(class(check(&Content::of(&other), Mode::Readback).await), Class::Damaged);
        let stream = remote.get(&name("v"), Span::whole()).await.unwrap();
        assert_eq!(class(collect(verified(stream, Content::of(&other)), 1 << 20).await), Class::Damaged);
    }
    remote.delete(&name("v")).await.unwrap();
    for mode in [Mode::RemoteHash, Mode::Readback] {
        assert_eq!(class(check(&content, mode).await), Class::NotThere);
    }
}

pub async fn the_probe_finds_everything_usable_and_leaves_nothing(remote: &dyn Remote) {
    let report = probe(remote).await;
    assert!(report.is_usable(), "{report:?}");
    for step in ["create", "create again", "size", "read", "read a range", "list", "replace", "delete"] {
        assert_eq!(report.step(step), Some(&Finding::Works), "{step}");
    }
    assert!(report.step("hash").is_some());
    assert!(remote.list(&Folder::all(), None, 10).await.unwrap().entries.is_empty());
}

pub async fn an_object_of_several_parts_comes_back_and_is_verified(remote: &dyn Remote) {
    let sent = bytes(LARGE, 15);
    let content = Content::of(&sent);
    let receipt = put(remote, "large", &sent).await.unwrap();
    for mode in [Mode::RemoteHash, Mode::Readback] {
        let limiter = Limiter::unlimited();
        verify_or_read_back(remote, &name("large"), &content, &receipt, mode, &limiter).await.unwrap();
    }
    let range = get(remote, "large", Span::of((5 << 20) - 3, 7)).await.unwrap();
    assert!(range == sent.slice((5 << 20) - 3..(5 << 20) + 4));
}

//! Users, tokens and approvals in a real inventory file.

use vtl_meta::{Meta, Module};
use vtl_types::Secret;

use crate::bearer::tests::counting;
use crate::*;

static MODULES: [Module; 1] = [MODULE];

fn inventory() -> (tempfile::TempDir, Meta) {
    let folder = tempfile::tempdir().unwrap();
    let meta = Meta::open(&folder.path().join("inventory.db"), &MODULES).unwrap();
    (folder, meta)
}

fn roles(words: &str) -> Roles {
    words.parse().unwrap()
}

fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

fn someone(text: &str, words: &str) -> User {
    let secret = Secret::new(b"made-up password".to_vec());
    let password = Some(Hashed::new(text, &secret, [3; 16]).unwrap());
    User { name: name(text), roles: roles(words), locked: false, password, created_s: 1_774_224_000 }
}

fn added(meta: &mut Meta, caller: &str, text: &str, words: &str) -> Result<(), AuthError> {
    meta.transaction(|tx| add_user(tx, roles(caller), &someone(text, words)))
}

#[test]
fn a_user_is_read_as_written_and_his_password_is_not_in_the_file() {
    let (folder, mut meta) = inventory();
    added(&mut meta, "administrator", "alice", "operator").unwrap();
    let found = meta.read(|tx| user(tx, &name("alice"))).unwrap().unwrap();
    assert_eq!(found, someone("alice", "operator"));
    drop(meta);
    let meta = Meta::open(&folder.path().join("inventory.db"), &MODULES).unwrap();
    let copy = folder.path().join("copy.db");
    meta.copy_to(&copy).unwrap();
    let bytes = std::fs::read(copy).unwrap();
    assert!(bytes.windows(5).any(|w| w == b"alice"));
    assert!(!bytes.windows(16).any(|w| w == b"made-up password"));
}

/// Caller, whom he would add, whether he may.
const ADDS: [(&str, &str, bool); 12] = [
    ("viewer", "viewer", false),
    ("operator", "viewer", false),
    ("viewer operator", "", false),
    ("administrator", "viewer", true),
    ("administrator", "", true),
    ("administrator", "administrator", true),
    ("administrator", "security-officer", false),
    ("administrator", "viewer security-officer", false),
    ("security-officer", "security-officer", true),
    ("security-officer", "viewer", false),
    ("security-officer", "administrator", false),
    ("administrator security-officer", "operator security-officer", true),
];

#[test]
fn nobody_adds_a_user_with_roles_that_he_does_not_govern() {
    for (caller, words, may) in ADDS {
        let (_folder, mut meta) = inventory();
        let outcome = added(&mut meta, caller, "bob", words);
        assert_eq!(outcome.is_ok(), may, "{caller} adds {words}: {outcome:?}");
        if !may {
            assert!(matches!(outcome, Err(AuthError::NotToGive(_))));
        }
    }
}

#[test]
fn an_administrator_reaches_security_officer_by_no_way() {
    let (_folder, mut meta) = inventory();
    added(&mut meta, "administrator", "ann", "administrator").unwrap();
    added(&mut meta, "security-officer", "sam", "security-officer").unwrap();
    let (ann, sam, caller) = (name("ann"), name("sam"), roles("administrator"));
    let by = (Some(&ann), caller);
    let other = || Hashed::new("sam", &Secret::new(b"another password".to_vec()), [4; 16]).unwrap();
    let ways: [(&str, Result<(), AuthError>); 6] = [
        (
            "her own roles",
            meta.transaction(|tx| set_roles(tx, by, &ann, roles("administrator security-officer"))),
        ),
        ("another's roles", meta.transaction(|tx| set_roles(tx, by, &sam, roles("viewer")))),
        ("his password", meta.transaction(|tx| set_password(tx, by, &sam, other()))),
        ("a lock on him", meta.transaction(|tx| set_locked(tx, by, &sam, true))),
        ("his removal", meta.transaction(|tx| remove_user(tx, by, &sam))),
        ("a helper", meta.transaction(|tx| add_user(tx, caller, &someone("hal", "security-officer")))),
    ];
    for (way, outcome) in ways {
        let is_so = matches!(outcome, Err(AuthError::NotGoverned(_) | AuthError::NotToGive(_)));
        assert!(is_so, "{way}: {outcome:?}");
    }
    let own = meta.transaction(|tx| set_roles(tx, by, &ann, roles("viewer")));
    assert!(matches!(own, Err(AuthError::OwnRoles)), "{own:?}");
    let token = meta.transaction(|tx| new_token(tx, caller, &ann, "security-officer", 1));
    assert!(matches!(token, Err(AuthError::MoreThanMaker(_))), "{token:?}");
    let after = meta.read(users).unwrap();
    assert_eq!(after, [someone("ann", "administrator"), someone("sam", "security-officer")]);
}

#[test]
fn everybody_changes_his_own_password_and_the_token_of_the_state_folder_changes_all() {
    let (_folder, mut meta) = inventory();
    added(&mut meta, "administrator", "vic", "viewer").unwrap();
    let vic = name("vic");
    let new = Secret::new(b"a longer password".to_vec());
    let hashed = Hashed::new("vic", &new, [9; 16]).unwrap();
    meta.transaction(|tx| set_password(tx, (Some(&vic), roles("viewer")), &vic, hashed)).unwrap();
    let found = meta.read(|tx| user(tx, &vic)).unwrap().unwrap();
    assert!(found.password.unwrap().is(&new));
    meta.transaction(|tx| set_roles(tx, (None, Roles::ALL), &vic, Roles::ALL)).unwrap();
    meta.transaction(|tx| set_locked(tx, (None, Roles::ALL), &vic, true)).unwrap();
    assert!(meta.read(|tx| user(tx, &vic)).unwrap().unwrap().locked);
    meta.transaction(|tx| remove_user(tx, (None, Roles::ALL), &vic)).unwrap();
    assert!(!meta.read(any_user).unwrap());
}

fn new_token(
    tx: &mut vtl_meta::Tx<'_>,
    caller: Roles,
    user: &UserName,
    words: &str,
    seed: u8,
) -> Result<(Token, Bearer), AuthError> {
    let bearer = Bearer::new(Kind::Token, &counting(seed));
    let label = format!("token {seed}");
    let new = NewToken { name: &label, user: Some(user), roles: roles(words), expires_s: 2000 };
    create_token(tx, caller, &new, &bearer, 1000).map(|token| (token, bearer))
}

#[test]
fn a_token_opens_until_its_end_and_goes_with_its_user() {
    let (_folder, mut meta) = inventory();
    added(&mut meta, "administrator", "oli", "operator").unwrap();
    let oli = name("oli");
    let (made, bearer) =
        meta.transaction(|tx| new_token(tx, roles("operator"), &oli, "operator", 1)).unwrap();
    let found = meta.read(|tx| find_token(tx, &bearer.id)).unwrap().unwrap();
    assert_eq!(found, made);
    assert!(found.is_opened_by(&bearer, 1999));
    assert!(!found.is_opened_by(&bearer, 2000), "its time is over");
    let forged = Bearer::parse(&bearer.expose().replace("1f20", "1f21")).unwrap();
    assert!(!found.is_opened_by(&forged, 1000));
    let again = meta.transaction(|tx| new_token(tx, roles("operator"), &oli, "operator", 1));
    assert!(matches!(again, Err(AuthError::TokenExists(_))));
    meta.transaction(|tx| remove_user(tx, (None, Roles::ALL), &oli)).unwrap();
    assert_eq!(meta.read(|tx| tokens(tx, None)).unwrap(), []);
}

#[test]
fn another_password_ends_the_tokens_of_its_user_and_of_nobody_else() {
    let (_folder, mut meta) = inventory();
    for text in ["oli", "vic"] {
        added(&mut meta, "administrator", text, "viewer").unwrap();
    }
    let (oli, vic) = (name("oli"), name("vic"));
    for (user, seed) in [(&oli, 1), (&oli, 2), (&vic, 3)] {
        meta.transaction(|tx| new_token(tx, roles("viewer"), user, "viewer", seed)).unwrap();
    }
    let hashed = Hashed::new("oli", &Secret::new(b"another password".to_vec()), [9; 16]).unwrap();
    meta.transaction(|tx| set_password(tx, (Some(&oli), roles("viewer")), &oli, hashed)).unwrap();
    let left = meta.read(|tx| tokens(tx, None)).unwrap();
    assert_eq!(left.iter().map(|token| token.name.as_str()).collect::<Vec<_>>(), ["token 3"]);
}

/// Caller, his roles, whose token, whether he revokes it.
const REVOKES: [(Option<&str>, &str, Option<&str>, bool); 15] = [
    (Some("vic"), "viewer", Some("vic"), true),
    (Some("vic"), "viewer", Some("ann"), false),
    (Some("ann"), "administrator", Some("vic"), true),
    (Some("ann"), "administrator", Some("sam"), false),
    (Some("ann"), "administrator", Some("two"), false),
    (Some("ann"), "administrator", None, false),
    (Some("sam"), "security-officer", Some("sue"), true),
    (Some("sam"), "security-officer", Some("ann"), false),
    (Some("two"), "administrator security-officer", Some("sam"), true),
    (Some("two"), "administrator security-officer", None, false),
    (None, "viewer operator administrator security-officer", None, true),
    (Some("oidc:https://id.example.org#vic"), "viewer", Some("vic"), false),
    (Some("oidc:https://id.example.org#vic"), "administrator", Some("vic"), true),
    (Some("oidc:https://id.example.org#vic"), "administrator", Some("sam"), false),
    (Some("oidc:https://id.example.org#vic"), "administrator security-officer", None, false),
];

fn principal(text: &str) -> Principal {
    text.parse().map_or_else(|_| Principal::User(name(text)), Principal::Oidc)
}

#[test]
fn a_token_is_revoked_by_its_user_and_by_who_governs_him_and_the_servers_by_root_alone() {
    for (caller, words, owner, may) in REVOKES {
        let (_folder, mut meta) = inventory();
        for (text, words) in [
            ("vic", "viewer"),
            ("ann", "administrator"),
            ("sam", "security-officer"),
            ("sue", "security-officer"),
            ("two", "administrator security-officer"),
        ] {
            meta.transaction(|tx| add_user(tx, Roles::ALL, &someone(text, words))).unwrap();
        }
        let bearer = Bearer::new(Kind::Token, &counting(1));
        let owner = owner.map(name);
        let new = NewToken { name: "t", user: owner.as_ref(), roles: roles("viewer"), expires_s: 2000 };
        let made = meta.transaction(|tx| create_token(tx, Roles::ALL, &new, &bearer, 1000)).unwrap();
        let who = caller.map_or(Principal::Root, principal);
        let outcome = meta.transaction(|tx| revoke_token(tx, (&who, roles(words)), &made.id));
        assert_eq!(outcome.is_ok(), may, "{caller:?} {words}: {outcome:?}");
        assert_eq!(meta.read(|tx| find_token(tx, &made.id)).unwrap().is_none(), may);
        if caller == Some("vic") && !may {
            assert!(matches!(outcome, Err(AuthError::UnknownToken(_))), "he learns nothing: {outcome:?}");
        }
    }
    let (_folder, mut meta) = inventory();
    let none = meta.transaction(|tx| revoke_token(tx, (&Principal::Root, Roles::ALL), "none"));
    assert!(matches!(none, Err(AuthError::UnknownToken(_))), "{none:?}");
}

#[test]
fn no_token_is_made_for_a_user_who_was_removed_or_locked_in_the_meantime() {
    let (_folder, mut meta) = inventory();
    added(&mut meta, "administrator", "oli", "operator").unwrap();
    let oli = name("oli");
    let make = |meta: &mut Meta| meta.transaction(|tx| new_token(tx, roles("operator"), &oli, "operator", 1));
    meta.transaction(|tx| set_locked(tx, (None, Roles::ALL), &oli, true)).unwrap();
    assert!(matches!(make(&mut meta), Err(AuthError::UnknownUser(_))), "locked");
    meta.transaction(|tx| remove_user(tx, (None, Roles::ALL), &oli)).unwrap();
    assert!(matches!(make(&mut meta), Err(AuthError::UnknownUser(_))), "removed");
    added(&mut meta, "administrator", "oli", "operator").unwrap();
    assert_eq!(
        meta.read(|tx| tokens(tx, None)).unwrap(),
        [],
        "who has the name now has no token of the other's"
    );
    make(&mut meta).unwrap();
}

#[test]
fn a_password_that_was_looked_at_counts_as_long_as_the_row_is_the_one_that_was_looked_at() {
    let (_folder, mut meta) = inventory();
    added(&mut meta, "administrator", "oli", "operator").unwrap();
    let oli = name("oli");
    let look = |meta: &mut Meta| meta.read(|tx| user(tx, &oli)).unwrap().unwrap().password.unwrap();
    let still = |meta: &mut Meta, seen: &Hashed| meta.read(|tx| user_with(tx, &oli, seen));
    let all = (None, Roles::ALL);
    let seen = look(&mut meta);
    assert_eq!(still(&mut meta, &seen).unwrap().roles, roles("operator"));
    meta.transaction(|tx| set_locked(tx, all, &oli, true)).unwrap();
    assert!(matches!(still(&mut meta, &seen), Err(AuthError::OtherPassword(_))), "locked");
    meta.transaction(|tx| set_locked(tx, all, &oli, false)).unwrap();
    // The same word once more: it has another salt.
    let again = Hashed::new("oli", &Secret::new(b"made-up password".to_vec()), [5; 16]).unwrap();
    meta.transaction(|tx| set_password(tx, all, &oli, again)).unwrap();
    assert!(matches!(still(&mut meta, &seen), Err(AuthError::OtherPassword(_))), "changed");
    let seen = look(&mut meta);
    assert!(still(&mut meta, &seen).is_ok());
    meta.transaction(|tx| remove_user(tx, all, &oli)).unwrap();
    assert!(matches!(still(&mut meta, &seen), Err(AuthError::OtherPassword(_))), "removed");
}

#[test]
fn a_token_without_name_role_or_a_near_end_is_not_made() {
    let (_folder, mut meta) = inventory();
    let bearer = Bearer::new(Kind::Token, &counting(1));
    for (label, words, expires_s, wrong) in [
        ("", "viewer", 2000, "name"),
        ("two\nlines", "viewer", 2000, "name"),
        ("no role", "", 2000, "roles"),
        ("past", "viewer", 1000, "expires"),
        ("too far", "viewer", 1000 + 3650 * 86_400 + 1, "expires"),
    ] {
        let new = NewToken { name: label, user: None, roles: roles(words), expires_s };
        let outcome = meta.transaction(|tx| create_token(tx, Roles::ALL, &new, &bearer, 1000));
        let is_so = matches!(&outcome, Err(AuthError::BadToken { what, .. }) if *what == wrong);
        assert!(is_so, "{label}: {outcome:?}");
    }
}

fn asked(by: &str) -> Asked {
    Asked {
        method: "DELETE".to_owned(),
        path: "/cartridges/VTL001L8".to_owned(),
        body: b"{}".to_vec(),
        if_match: Some("\"tag\"".to_owned()),
        key: None,
        permission: "destroy".to_owned(),
        needs: "configure destroy".to_owned(),
        by: by.to_owned(),
        roles: roles("administrator security-officer"),
    }
}

#[test]
fn a_request_is_approved_once_by_another_and_within_a_day() {
    let (_folder, mut meta) = inventory();
    let mut keep =
        |seed| meta.transaction(|tx| keep_approval(tx, asked("sam"), 1000, &counting(seed))).unwrap().id;
    let (one, two, three) = (keep(1), keep(2), keep(3));
    let mut decide = |id: &str, yes, by: &str, now_s| meta.transaction(|tx| decide(tx, id, yes, by, now_s));
    assert!(matches!(decide(&one, true, "sam", 1001), Err(AuthError::OwnRequest)));
    assert_eq!(decide(&one, true, "sue", 1001).unwrap().state, ApprovalState::Approved);
    assert!(matches!(decide(&one, true, "sue", 1002), Err(AuthError::Decided("approved"))));
    assert_eq!(decide(&two, false, "sam", 1001).unwrap().state, ApprovalState::Refused, "it was his own");
    assert!(matches!(decide(&two, true, "sue", 1002), Err(AuthError::Decided("refused"))));
    assert!(matches!(decide(&three, true, "sue", 1000 + 86_400), Err(AuthError::Decided("expired"))));
    assert!(matches!(decide("none", true, "sue", 1000), Err(AuthError::UnknownApproval(_))));
    let kept = meta.read(|tx| approvals(tx, 1000)).unwrap();
    assert_eq!(kept[0].decided_by.as_deref(), Some("sue"));
    assert_eq!(kept[0].asked, asked("sam"));
}

#[test]
fn requests_that_wait_are_bounded_and_old_ones_are_forgotten() {
    let (_folder, mut meta) = inventory();
    let at = |meta: &mut Meta, n: u64, now_s| {
        let id = move |bytes: &mut [u8]| bytes.copy_from_slice(&n.to_le_bytes());
        meta.transaction(|tx| keep_approval(tx, asked("sam"), now_s, &id))
    };
    (0..256).for_each(|n| drop(at(&mut meta, n, 1000).unwrap()));
    assert!(matches!(at(&mut meta, 256, 1000), Err(AuthError::TooMany(_, 256))));
    at(&mut meta, 257, 1000 + 31 * 86_400).unwrap();
    assert_eq!(meta.read(|tx| approvals(tx, 1000)).unwrap().len(), 1);
}

#[test]
fn a_request_that_waits_under_a_key_is_given_back_to_who_sends_the_key_again() {
    let (_folder, mut meta) = inventory();
    let keyed = |by: &str| Asked { key: Some("made-up-key".to_owned()), ..asked(by) };
    let mut keep =
        |asked, seed, now_s| meta.transaction(|tx| keep_approval(tx, asked, now_s, &counting(seed)));
    let first = keep(keyed("sam"), 1, 1000).unwrap();
    assert_eq!(keep(keyed("sam"), 2, 1001).unwrap(), first);
    let other = Asked { path: "/cartridges/VTL002L8".to_owned(), ..keyed("sam") };
    assert!(matches!(keep(other, 3, 1001), Err(AuthError::KeyUsed)));
    assert_ne!(keep(keyed("sue"), 4, 1001).unwrap().id, first.id, "another's key is another key");
    assert_ne!(keep(asked("sam"), 5, 1001).unwrap().id, first.id, "without a key each is its own");
    assert_ne!(keep(keyed("sam"), 6, 1000 + 86_400).unwrap().id, first.id, "the first has expired");
}

#[test]
fn a_request_is_done_with_roles_that_may_do_all_that_it_needs() {
    assert!(asked("sam").may_be_done_with(roles("administrator security-officer")));
    assert!(!asked("sam").may_be_done_with(roles("administrator")));
    assert!(!asked("sam").may_be_done_with(roles("security-officer")));
    assert!(
        !Asked { needs: String::new(), ..asked("sam") }.may_be_done_with(Roles::ALL),
        "nobody knows what"
    );
}

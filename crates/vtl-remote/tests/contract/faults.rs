//! A faulty remote around a folder: whatever goes wrong is an error of the right class, or found by verification, and
//! never a wrong success.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use vtl_remote::{
    Class, Content, Doing, Error, Fault, FaultyRemote, Folder, Limiter, Mode, Plan, Remote, Span, collect,
    create_or_same, verified, verify,
};

use super::places;
use super::suite::{bytes, name, put};

/// Tries of one object are bounded; with faults in half of all calls, so many are always enough.
const MAX_TRIES: u64 = 200;
/// So often what arrived is fetched.
const FETCHES: u64 = 20;

/// Puts and verifies once.
async fn send(remote: &dyn Remote, sent: &Bytes, mode: Mode) -> Result<(), Error> {
    let receipt = put(remote, "x", sent).await?;
    verify(remote, &name("x"), &Content::of(sent), &receipt, mode, &Limiter::unlimited()).await.map(drop)
}

async fn fetch(remote: &dyn Remote, content: Content) -> Result<Bytes, Error> {
    let stream = remote.get(&name("x"), Span::whole()).await?;
    collect(verified(stream, content), 1 << 22).await
}

#[tokio::test]
async fn each_fault_of_an_upload_has_its_class_or_is_found_by_verification() {
    let sent = bytes(2_500_000, 1);
    for (fault, class) in [
        (Fault::Drop, Class::Unavailable),
        (Fault::DropAnswer, Class::Unavailable),
        (Fault::Throttle, Class::Throttled),
        (Fault::ServerError, Class::Unavailable),
        (Fault::Corrupt, Class::Damaged),
        (Fault::Half, Class::Damaged),
        (Fault::Lose, Class::NotThere),
    ] {
        for mode in [Mode::RemoteHash, Mode::Readback] {
            let place = places::folder();
            let remote = FaultyRemote::new(place.remote.clone(), Plan::script([(Doing::Put, fault)]));
            let error = send(&remote, &sent, mode).await.unwrap_err();
            assert_eq!(error.class(), class, "{fault:?} {mode}");
            // The next try is without a fault, and makes it good.
            send(&remote, &sent, mode).await.unwrap();
        }
    }
}

#[tokio::test]
async fn each_fault_of_a_fetch_has_its_class() {
    let sent = bytes(2_500_000, 2);
    for (fault, class) in [
        (Fault::Drop, Class::Unavailable),
        (Fault::DropAnswer, Class::Unavailable),
        (Fault::Throttle, Class::Throttled),
        (Fault::ServerError, Class::Unavailable),
        (Fault::Corrupt, Class::Damaged),
        (Fault::Half, Class::Interrupted),
    ] {
        let place = places::folder();
        put(place.remote.as_ref(), "x", &sent).await.unwrap();
        let remote = FaultyRemote::new(place.remote.clone(), Plan::script([(Doing::Get, fault)]));
        let error = fetch(&remote, Content::of(&sent)).await.unwrap_err();
        assert_eq!(error.class(), class, "{fault:?}");
        assert!(fetch(&remote, Content::of(&sent)).await.unwrap() == sent);
    }
}

#[tokio::test]
async fn a_slow_call_is_right() {
    let place = places::folder();
    let slow = Fault::Slow(Duration::from_millis(1));
    let remote = FaultyRemote::new(place.remote.clone(), Plan::script([(Doing::Create, slow)]));
    remote.create(&name("x"), Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(remote.head(&name("x")).await.unwrap().size, 1);
}

#[tokio::test]
async fn with_faults_everywhere_retries_end_with_the_right_bytes_and_never_with_others() {
    let sent = bytes(30_000, 3);
    let content = Content::of(&sent);
    for seed in 0..10 {
        let place = places::folder();
        let remote = FaultyRemote::new(place.remote.clone(), Plan::Seeded { seed, per_mille: 500 });
        let mut sent_at = None;
        for attempt in 0..MAX_TRIES {
            match send(&remote, &sent, Mode::RemoteHash).await {
                Ok(()) => {
                    sent_at = Some(attempt);
                    break;
                }
                // What was lost is found missing; every other fault is one that may pass.
                Err(error) => {
                    assert!(error.is_retryable() || error.class() == Class::NotThere, "seed {seed}: {error}");
                }
            }
        }
        assert!(sent_at.is_some(), "seed {seed}");
        // What verification let pass is there, without the faults.
        assert!(fetch(place.remote.as_ref(), content).await.unwrap() == sent, "seed {seed}");
        for _ in 0..FETCHES {
            match fetch(&remote, content).await {
                Ok(found) => assert!(found == sent, "seed {seed}"),
                Err(error) => assert!(error.is_retryable(), "seed {seed}: {error}"),
            }
        }
    }
}

#[tokio::test]
async fn a_manifest_whose_answer_was_lost_is_taken_for_created() {
    let place = places::folder();
    let remote = FaultyRemote::new(place.remote.clone(), Plan::script([(Doing::Create, Fault::DropAnswer)]));
    let manifest = Bytes::from_static(b"manifest");
    assert!(create_or_same(&remote, &name("m"), manifest.clone()).await.unwrap_err().is_retryable());
    create_or_same(&remote, &name("m"), manifest).await.unwrap();
    let other = create_or_same(&remote, &name("m"), Bytes::from_static(b"manifesT")).await;
    assert_eq!(other.unwrap_err().class(), Class::AlreadyThere);
}

#[tokio::test]
async fn every_other_call_fails_with_the_class_of_its_fault() {
    let place = places::folder();
    put(place.remote.as_ref(), "x", &bytes(10, 4)).await.unwrap();
    for (fault, class) in [(Fault::Throttle, Class::Throttled), (Fault::DropAnswer, Class::Unavailable)] {
        let kinds = [Doing::Head, Doing::Hash, Doing::List, Doing::Delete, Doing::Abandon];
        let remote: Arc<dyn Remote> = Arc::new(FaultyRemote::new(
            place.remote.clone(),
            Plan::script(kinds.map(|doing| (doing, fault))),
        ));
        let checkpoint = vtl_remote::Checkpoint::new("");
        let outcomes = [
            remote.head(&name("x")).await.map(drop),
            remote.hashes(&name("x")).await.map(drop),
            remote.list(&Folder::all(), None, 10).await.map(drop),
            remote.delete(&name("y")).await,
            remote.abandon(&checkpoint).await,
        ];
        for outcome in outcomes {
            assert_eq!(outcome.unwrap_err().class(), class);
        }
    }
}

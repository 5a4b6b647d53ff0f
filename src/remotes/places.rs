//! Names of remotes and the places that they stand for.
//!
//! What is kept here of exports goes by the name of its remote, and is believed: an unchanged cartridge is not exported again, and counts as clean. So
//! when a name is given to another place than it had, whoever does it says what becomes of what is kept: it is there, too, or it is forgotten.
//!
//! The place is noted when a remote is forgotten, in the same transaction; that of one that is defined is in its definition.

use vtl_meta::Tx;
use vtl_migrate::Noted;

use super::definition::{Definition, refuse};
use super::{RemoteRefused, given, rows};
use crate::given_name::GivenName;

/// The member of a request that says it.
pub(super) const MEMBER: &str = "known_exports";
/// What helps when nobody has.
pub(super) const SAY_WHICH: &str = "choose another name, or say what becomes of them with --known-exports: \
    keep when the same objects are at the new place, forget when they are not";

/// What becomes of what is kept under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// The same objects are at the new place.
    Keep,
    /// They are not.
    Forget,
}

const WORDS: [(&str, Known); 2] = [("keep", Known::Keep), ("forget", Known::Forget)];

impl Known {
    /// What an operator says; nothing when he does not.
    pub(super) fn asked(word: Option<&str>) -> Result<Option<Self>, RemoteRefused> {
        let Some(asked) = word else { return Ok(None) };
        match WORDS.iter().find(|(word, _)| *word == asked) {
            Some((_, known)) => Ok(Some(*known)),
            None => Err(refuse(MEMBER, asked, "there is no such choice", "write keep or forget")),
        }
    }
}

/// Where a remote is; one with faults is where the one is that it is over.
pub(super) fn of(tx: &Tx<'_>, definition: &Definition) -> Result<String, RemoteRefused> {
    let over = match definition {
        Definition::Faulty(rehearsal) => rows::get(tx, &given(&rehearsal.over)?)?,
        _ => None,
    };
    Ok(over.map_or_else(|| definition.place(), |over| over.definition.place()))
}

/// Part of the transaction that gives the name to this remote: what is kept under it holds for the new place, or goes. How much has gone.
///
/// # Errors
/// [`RemoteRefused::MadeElsewhere`].
pub(super) fn settle(
    tx: &mut Tx<'_>,
    name: &GivenName,
    definition: &Definition,
    known: Option<Known>,
) -> Result<Noted, RemoteRefused> {
    let (place, at) = (of(tx, definition)?, rows::former_place(tx, name)?);
    let noted = vtl_migrate::noted(tx, name.as_str())?;
    if known.is_none() && !noted.is_nothing() && at.as_ref() != Some(&place) {
        return Err(RemoteRefused::MadeElsewhere { name: name.clone(), noted, at, place });
    }
    rows::set_former_place(tx, name, None)?;
    match known {
        Some(Known::Forget) => Ok(vtl_migrate::forget_remote(tx, name.as_str())?),
        Some(Known::Keep) | None => Ok(Noted::default()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vtl_api::{ApiError, CreateRemote, Done, ErrorCode};

    use crate::daemon::Daemon;
    use crate::daemon::tests::open;
    use crate::eject::tests::call_imported;

    /// A server, and the folders `a` and `b` for remotes.
    struct Bench {
        daemon: Arc<Daemon>,
        folder: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            for name in ["a", "b"] {
                std::fs::create_dir(folder.path().join(name)).unwrap();
            }
            Self { daemon: open(folder.path(), &[]), folder }
        }

        fn path(&self, place: &str) -> String {
            self.folder.path().join(place).display().to_string()
        }

        fn create(&self, name: &str, place: &str, known: Option<&str>) -> Result<Done, ApiError> {
            self.daemon.remote_create(&CreateRemote {
                name: name.to_owned(),
                kind: "folder".to_owned(),
                path: Some(self.path(place)),
                known_exports: known.map(str::to_owned),
                ..CreateRemote::default()
            })
        }

        fn create_over(&self, name: &str, over: &str) -> Result<Done, ApiError> {
            self.daemon.remote_create(&CreateRemote {
                name: name.to_owned(),
                kind: "faulty".to_owned(),
                over: Some(over.to_owned()),
                faults: vec!["drop:1%".to_owned()],
                ..CreateRemote::default()
            })
        }

        fn remove(&self, name: &str) {
            self.daemon.remote_remove(name).unwrap();
        }

        /// Whether cartridge 1 counts as exported to this remote, and as clean.
        fn believed_of(&self, remote: &str) -> (bool, bool) {
            let label = "VTL001L8".parse().unwrap();
            let believed = self.daemon.meta.read(|tx| {
                let id = vtl_library::cartridge(tx, label)?.id;
                let exported = vtl_migrate::is_exported(tx, id, remote, 0)?;
                Ok((exported, vtl_migrate::clean_import(tx, id, remote, || Some(0))?.is_some()))
            });
            believed.unwrap()
        }
    }

    impl Drop for Bench {
        fn drop(&mut self) {
            self.daemon.stop();
        }
    }

    fn is_refused(answer: Result<Done, ApiError>, why: &[&str]) {
        let refused = answer.unwrap_err();
        assert_eq!((refused.code, refused.field.as_deref()), (ErrorCode::Conflict, Some("known_exports")));
        for part in why {
            assert!(refused.message.contains(part), "{part}: {refused:?}");
        }
        assert!(refused.remedy.unwrap().contains("--known-exports"));
    }

    #[test]
    fn what_is_known_under_a_name_is_believed_of_another_place_only_when_somebody_says_so() {
        let bench = Bench::new();
        bench.create("r", "a", None).unwrap();
        call_imported(&bench.daemon.meta, "r");
        bench.remove("r");
        is_refused(bench.create("r", "b", None), &["1 exports", &bench.path("a"), &bench.path("b")]);
        assert!(bench.daemon.remote_list().unwrap().is_empty(), "nothing is half done");

        bench.create("r", "a/", None).unwrap();
        assert_eq!(bench.believed_of("r"), (true, true), "it is the same place");
        bench.remove("r");

        bench.create("r", "b", Some("keep")).unwrap();
        assert_eq!(bench.believed_of("r"), (true, true), "the objects have moved along");
        bench.remove("r");
        is_refused(bench.create("r", "a", None), &[&bench.path("b")]);

        let done = bench.create("r", "a", Some("forget")).unwrap();
        assert!(done.message.contains("1 exports of before are forgotten"), "{done:?}");
        assert_eq!(bench.believed_of("r"), (false, false));
        bench.remove("r");
        bench.create("r", "b", None).unwrap();
    }

    #[test]
    fn what_was_made_at_a_place_that_is_not_noted_is_believed_of_none_unless_somebody_says_so() {
        let bench = Bench::new();
        // As a version that notes no places has left it.
        call_imported(&bench.daemon.meta, "r");
        is_refused(bench.create("r", "a", None), &["it is not noted where"]);
        bench.create("r", "a", Some("keep")).unwrap();
        bench.remove("r");
        bench.create("r", "a", None).unwrap();
        assert_eq!(bench.believed_of("r"), (true, true));
    }

    #[test]
    fn a_remote_with_faults_is_elsewhere_when_the_one_is_that_it_is_over() {
        let bench = Bench::new();
        bench.create("base", "a", None).unwrap();
        bench.create_over("r", "base").unwrap();
        call_imported(&bench.daemon.meta, "r");
        bench.remove("r");
        bench.remove("base");
        bench.create("base", "b", None).unwrap();
        is_refused(bench.create_over("r", "base"), &[&bench.path("a"), &bench.path("b")]);
        bench.remove("base");
        bench.create("base", "a", None).unwrap();
        bench.create_over("r", "base").unwrap();
    }
}

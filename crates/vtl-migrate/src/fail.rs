//! Failures, in one way each.

use vtl_bundle::{BundleError, ManifestError, WriteError};
use vtl_cartridge::CartridgeError;
use vtl_jobs::{Class, Failure};
use vtl_library::LibraryError;
use vtl_meta::MetaError;
use vtl_store::StoreError;

fn fail(class: Class, code: &str, message: impl Into<String>, remedy: &str) -> Failure {
    let remedy = (!remedy.is_empty()).then(|| remedy.to_owned());
    Failure { class, code: code.to_owned(), message: message.into(), remedy }
}

/// Trying again does not help.
pub(crate) fn permanent(code: &str, message: impl Into<String>, remedy: &str) -> Failure {
    fail(Class::Permanent, code, message, remedy)
}

/// It may have passed by then.
pub(crate) fn temporary(code: &str, message: impl Into<String>, remedy: &str) -> Failure {
    fail(Class::Temporary, code, message, remedy)
}

/// Something else has what is needed.
pub(crate) fn busy(message: impl Into<String>) -> Failure {
    fail(Class::Busy, "conflict", message, "it goes on by itself")
}

/// What helps against a fault of the program.
pub(crate) const REPORT: &str = "restart vtld, and report what its log says";

pub(crate) fn inventory(error: &LibraryError) -> Failure {
    match error {
        LibraryError::LabelTaken(label) => permanent(
            "exists",
            format!("a cartridge {label} is here already"),
            "take it in under another label: --as LABEL; or remove the one that is here",
        ),
        LibraryError::Quarantined { label, .. } => {
            permanent("conflict", error.to_string(), &format!("vtl cartridge release {label}"))
        }
        LibraryError::UnknownCartridge(_) => {
            permanent("not-found", error.to_string(), "see vtl cartridge ls")
        }
        _ => {
            let remedy = error.remedy().unwrap_or_else(|| REPORT.to_owned());
            let class = if is_damage(error) { Class::Permanent } else { Class::Temporary };
            fail(class, "internal", error.to_string(), &remedy)
        }
    }
}

/// What is in the inventory is wrong, which no further try changes; a disk that fails may come back.
fn is_damage(error: &LibraryError) -> bool {
    let LibraryError::Meta(found) = error else { return false };
    matches!(found, MetaError::DamagedRow(_)) || found.is_of_content()
}

pub(crate) fn cartridge(error: &CartridgeError) -> Failure {
    let text = error.to_string();
    match error {
        CartridgeError::PoolFull | CartridgeError::Store(StoreError::Full { .. }) => {
            temporary("full", text, "make room in the store: vtl store gc, or store.size; it is tried again")
        }
        CartridgeError::Store(StoreError::Busy { .. }) => busy(text),
        CartridgeError::Unreadable { .. } => permanent(
            "internal",
            text,
            "what is damaged tells vtl store check; vtl store repair may put it back",
        ),
        _ => permanent("internal", text, "see vtl system status and vtl store check"),
    }
}

pub(crate) fn manifest(error: &ManifestError) -> Failure {
    permanent(
        "conflict",
        error.to_string(),
        "the folder is damaged or none of an export; vtl-decode tells more",
    )
}

pub(crate) fn bundle(error: &BundleError) -> Failure {
    match error {
        BundleError::NeedsKey { .. } => permanent(
            "not-found",
            error.to_string(),
            "import one of these keys: vtl key import FILE --name K",
        ),
        _ => permanent("conflict", error.to_string(), "the bundle is damaged; vtl export verify tells more"),
    }
}

pub(crate) fn write(error: &WriteError) -> Failure {
    match error {
        WriteError::Settings(why) => {
            permanent("invalid", why.clone(), "choose other settings, such as --chunk-size")
        }
        WriteError::Random(_) | WriteError::Thread => temporary("internal", error.to_string(), ""),
        WriteError::Sink { .. } | WriteError::Map(_) | WriteError::Manifest(_) | WriteError::Refused(_) => {
            permanent("internal", error.to_string(), "")
        }
    }
}

/// What was written by another version of the program, or by hand.
pub(crate) fn unreadable(what: &str, why: impl std::fmt::Display) -> Failure {
    permanent("invalid", format!("the {what} of this job cannot be read: {why}"), "ask for it anew")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_inventory_ends_a_job_and_an_inventory_that_cannot_be_reached_lets_it_wait() {
        let row = vtl_meta::RowName { table: "cartridges", key: "id=1".to_owned() };
        let failure = inventory(&LibraryError::Meta(MetaError::DamagedRow(row)));
        assert_eq!((failure.class, failure.code.as_str()), (Class::Permanent, "internal"));
        assert!(failure.message.contains("cartridges [id=1]"), "{failure:?}");
        assert!(failure.remedy.unwrap_or_default().contains("move inventory.db*"));
        let disk = MetaError::Io {
            operation: "read",
            path: "inventory.db".into(),
            source: std::io::Error::other("made up"),
        };
        assert_eq!(inventory(&LibraryError::Meta(disk)).class, Class::Temporary);
    }
}

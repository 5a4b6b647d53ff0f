//! Files that requests name as credentials or keys. Those of the state folder are none: `api.token` there opens everything,
//! and who sends it to a remote of his own as its user name has read it out. Neither are files with the server's own secrets
//! elsewhere. And files that requests make do not come to lie in the state folder: some names there mean something to a start.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The real path of a file that is not ours. Whoever opens it opens this path: what links pointed elsewhere meanwhile does
/// not count.
///
/// # Errors
/// It lies in the state folder, by itself or by a link; there is no such file; the path is not absolute.
pub(crate) fn not_ours(state: &Path, file: &Path) -> Result<PathBuf, String> {
    if !file.is_absolute() {
        return Err("this is no absolute path".to_owned());
    }
    let real = file.canonicalize().map_err(|error| error.to_string())?;
    let own = state.canonicalize().map_err(|error| format!("{}: {error}", state.display()))?;
    match real.starts_with(&own) {
        true => Err(format!("it lies in {}, and what is there is for this server alone", own.display())),
        false => Ok(real),
    }
}

/// The same for a file whose content is sent elsewhere. `secrets`: files with secrets of this server, each by whatever path.
///
/// # Errors
/// As [`not_ours`]; it is one of these, by itself or by a link of any kind.
pub(crate) fn no_secret_of_ours(state: &Path, secrets: &[PathBuf], file: &Path) -> Result<PathBuf, String> {
    let real = not_ours(state, file)?;
    match secrets.iter().any(|secret| is_one(&real, secret)) {
        true => Err("a secret of the configuration or of a pool is in it, for this server alone".to_owned()),
        false => Ok(real),
    }
}

/// Whether two paths lead to one file. Of one that is not there nothing can be read.
fn is_one(one: &Path, other: &Path) -> bool {
    let inode = |path: &Path| fs::metadata(path).map(|about| (about.dev(), about.ino())).ok();
    inode(one).is_some_and(|one| inode(other) == Some(one))
}

/// A file that is to be made, and not in the state folder. One whose folder is not there is made nowhere.
///
/// # Errors
/// It would lie there, by itself or by a link.
pub(crate) fn not_among_ours(state: &Path, file: &Path) -> Result<(), String> {
    let Some(Ok(folder)) = file.parent().map(Path::canonicalize) else { return Ok(()) };
    let own = state.canonicalize().map_err(|error| format!("{}: {error}", state.display()))?;
    match folder.starts_with(&own) {
        true => Err(format!("it would lie in {}, where this server keeps files of its own", own.display())),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_of_the_state_folder_is_refused_by_every_way_that_leads_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        let (state, other) = (top.join("state"), top.join("state-of-others"));
        std::fs::create_dir_all(state.join("keys")).unwrap();
        std::fs::create_dir(&other).unwrap();
        for file in [state.join("api.token"), state.join("keys/k.pem"), other.join("id")] {
            std::fs::write(file, "made-up").unwrap();
        }
        symlink(state.join("api.token"), other.join("link")).unwrap();
        symlink(other.join("link"), other.join("link-to-link")).unwrap();
        symlink(&state, other.join("folder")).unwrap();
        symlink(&state, top.join("state-by-link")).unwrap();
        for state in [&state, &top.join("state-by-link")] {
            for file in [
                top.join("state/api.token"),
                top.join("state/keys/k.pem"),
                top.join("state-of-others/../state/api.token"),
                top.join("state-by-link/api.token"),
                other.join("link"),
                other.join("link-to-link"),
                other.join("folder/api.token"),
            ] {
                let why = not_ours(state, &file).unwrap_err();
                assert!(why.ends_with("for this server alone"), "{}: {why}", file.display());
            }
            assert_eq!(not_ours(state, &other.join("id")), Ok(other.join("id")));
        }
        symlink(other.join("id"), state.join("out")).unwrap();
        assert_eq!(not_ours(&state, &state.join("out")), Ok(other.join("id")), "the file itself counts");
        assert!(not_ours(&state, &other.join("none")).is_err());
    }

    #[test]
    fn a_secret_of_the_server_is_known_by_what_it_is_and_not_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        let [state, secret, own] = ["state", "pool.key", "password"].map(|name| top.join(name));
        std::fs::create_dir(&state).unwrap();
        [&secret, &own].into_iter().for_each(|file| std::fs::write(file, "made-up").unwrap());
        symlink(&secret, top.join("link")).unwrap();
        std::fs::hard_link(&secret, top.join("hard")).unwrap();
        for secrets in ["pool.key", "link", "state/../pool.key"].map(|name| [top.join(name)]) {
            for file in ["pool.key", "link", "hard", "state/../pool.key"].map(|name| top.join(name)) {
                let why = no_secret_of_ours(&state, &secrets, &file).unwrap_err();
                assert!(why.ends_with("for this server alone"), "{}: {why}", file.display());
            }
            assert_eq!(no_secret_of_ours(&state, &secrets, &own), Ok(own.clone()));
        }
        assert_eq!(no_secret_of_ours(&state, &[top.join("none")], &own), Ok(own.clone()));
    }

    #[test]
    fn a_file_is_not_made_in_the_state_folder_by_any_way_that_leads_there() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        let (state, other) = (top.join("state"), top.join("state-of-others"));
        std::fs::create_dir_all(state.join("keys")).unwrap();
        std::fs::create_dir(&other).unwrap();
        symlink(&state, other.join("folder")).unwrap();
        for file in [
            state.join("inventory.restore"),
            state.join("keys/k.key"),
            other.join("folder/copy.db"),
            other.join("folder/keys/copy.db"),
            other.join("../state/copy.db"),
        ] {
            let why = not_among_ours(&other.join("folder"), &file).unwrap_err();
            assert!(why.contains(state.to_str().unwrap()), "{}: {why}", file.display());
        }
        for file in [other.join("copy.db"), other.join("none/copy.db"), PathBuf::from("/")] {
            assert_eq!(not_among_ours(&state, &file), Ok(()), "{}", file.display());
        }
    }
}

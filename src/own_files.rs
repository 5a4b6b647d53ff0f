//! Files that requests name as credentials or keys. Those of the state folder are none: `api.token` there opens everything,
//! and who sends it to a remote of his own as its user name has read it out.

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
}

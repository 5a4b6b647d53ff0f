//! Remotes to try, each with what must live as long as it does.

use std::any::Any;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use vtl_remote::{FaultyRemote, FolderRemote, Plan, Remote};

/// A remote, and the folders and processes behind it.
pub struct Place {
    pub remote: Arc<dyn Remote>,
    pub behind: Vec<Box<dyn Any + Send + Sync>>,
}

pub fn folder() -> Place {
    let folder = TempDir::new().unwrap();
    let remote = Arc::new(FolderRemote::open("folder", folder.path()).unwrap());
    Place { remote, behind: vec![Box::new(folder)] }
}

pub fn faulty() -> Place {
    let Place { remote, behind } = folder();
    let remote = Arc::new(FaultyRemote::new(remote, Plan::Seeded { seed: 1, per_mille: 0 }));
    Place { remote, behind }
}

/// A file that only its owner reads.
pub fn private_file(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

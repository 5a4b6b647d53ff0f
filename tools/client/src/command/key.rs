//! `vtl key`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;
use vtl_api::{CreateKey, ImportKey, RemoveKey};

use super::{Call, absolute, call, get, path, post};
use crate::http::{Failure, Method};
use crate::print::View;

/// Verbs of `vtl key`.
#[derive(Subcommand)]
pub enum KeyVerb {
    /// List keys; no secrets.
    Ls,
    /// Make an Ed25519 key that signs exports.
    Create {
        /// Its name.
        name: String,
        /// What it is for: ed25519 signs. An RSA key is made with openssl and imported, so that there is another copy of it.
        #[arg(long = "type", value_name = "TYPE", default_value = "ed25519")]
        sort: String,
    },
    /// Keep an RSA key of 2048 to 8192 bits, as `openssl genrsa` writes it (its public part is enough for exports), or an Ed25519 key: its private
    /// part signs exports, its public part makes its owner a known signer. vtld reads the file.
    Import {
        /// The file; a private key has mode 0600.
        file: PathBuf,
        /// Its name from now on; the file's without its ending when left out.
        #[arg(long)]
        name: Option<String>,
    },
    /// Print the public part of a key, PEM.
    ExportPublic {
        /// Its name.
        name: String,
    },
    /// Forget a key that nothing uses. One with a private part wants its name once more, and asks for it at a terminal.
    Rm {
        /// Its name.
        name: String,
        /// The name once more: what is encrypted for it cannot be read without it.
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
    },
}

impl KeyVerb {
    pub(super) fn call(&self) -> Result<Call, Failure> {
        Ok(match self {
            Self::Ls => {
                get("/keys", View::Table(&["name", "type", "bits", "private", "fingerprint", "problem"]))
            }
            Self::Create { name, sort } => post(path("keys", name), &CreateKey { sort: Some(sort.clone()) }),
            Self::Import { file, name } => {
                let name = name.clone().map_or_else(|| name_of(file), Ok)?;
                post("/keys".to_owned(), &ImportKey { name, file: absolute(file)? })
            }
            Self::ExportPublic { name } => get(&format!("{}/public", path("keys", name)), View::Text("pem")),
            Self::Rm { name, confirm } => {
                let body = RemoveKey { confirm: confirm.clone() };
                call(Method::Delete, path("keys", name), Some(json!(body)), View::Message)
            }
        })
    }
}

/// The name of a key that is given none.
fn name_of(file: &Path) -> Result<String, Failure> {
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    let nameless =
        || Failure::Local(format!("the name of {} cannot be a key's; give one: --name K", file.display()));
    stem.map(str::to_owned).ok_or_else(nameless)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::Cli;
    use super::*;

    #[test]
    fn a_key_goes_by_the_path_of_its_file_and_no_secret_is_in_the_request() {
        let call = |line: &str| Cli::try_parse_from(line.split_whitespace()).unwrap().command.call().unwrap();
        let import = call("vtl key import /keep/key.pem --name off-site").request;
        assert_eq!((import.method, import.path.as_str()), (Method::Post, "/keys"));
        assert_eq!(import.body, Some(json!({ "name": "off-site", "file": "/keep/key.pem" })));
        let create = call("vtl key create signer").request;
        assert_eq!((create.method, create.path.as_str()), (Method::Post, "/keys/signer"));
        assert_eq!(create.body, Some(json!({ "type": "ed25519" })));
        let remove = call("vtl key rm off-site --confirm off-site").request;
        assert_eq!((remove.method, remove.path.as_str()), (Method::Delete, "/keys/off-site"));
        assert_eq!(remove.body, Some(json!({ "confirm": "off-site" })));
        assert_eq!(call("vtl key export-public off-site").request.path, "/keys/off-site/public");
        let nameless = call("vtl key import /keep/key.pem").request;
        assert_eq!(nameless.body, Some(json!({ "name": "key", "file": "/keep/key.pem" })));
        assert_eq!(call("vtl key rm off-site").request.body, Some(json!({})));
    }
}

//! A real provider of identities on loopback, from a package (`provider.mjs`; `cargo xtask servers` installs it).

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// The id of the client that it knows.
pub const CLIENT: &str = "vtl-test";
/// The client's secret, if it has one.
pub const SECRET: &str = "made-up client secret: 1/2";

/// It runs until this is dropped.
pub struct Provider {
    child: Child,
    pub issuer: String,
    /// Where the server under test has to listen.
    pub api: String,
}

fn tools() -> PathBuf {
    let folder = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join("tools/oidc")
}

/// An address on loopback where nobody listens now.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

impl Provider {
    /// Starts one that signs by `algorithm` and knows `people`, each with groups. Without a secret its client is a public one.
    pub fn start(folder: &Path, algorithm: &str, secret: bool, people: &Value) -> Self {
        let tools = tools();
        let installed = tools.join("node_modules/oidc-provider/package.json");
        assert!(installed.exists(), "{} is missing: run cargo xtask servers", installed.display());
        let api = free_address();
        let mut client = json!({
            "client_id": CLIENT,
            "redirect_uris": [format!("http://{api}/api/v1/session/oidc/callback")],
            "id_token_signed_response_alg": algorithm,
            "token_endpoint_auth_method": if secret { "client_secret_basic" } else { "none" },
        });
        if secret {
            client["client_secret"] = SECRET.into();
        }
        let settings = folder.join("provider.json");
        let text = json!({ "tools": tools, "client": client, "people": people }).to_string();
        std::fs::write(&settings, text).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/provider.mjs");
        let mut child = Command::new("node")
            .arg(script)
            .arg(&settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let issuer = line.trim().strip_prefix("ready ").expect("the provider listens").to_owned();
        Self { child, issuer, api }
    }

    /// The settings of the server under test.
    pub fn settings(&self, folder: &Path, secret: bool) -> String {
        let mut text = format!(
            "api.public_url = \"http://{}\"\n[access.oidc]\nissuer = \"{}\"\nname = \"Example Corp\"\n\
             client_id = \"{CLIENT}\"\nscopes = [\"openid\", \"profile\", \"groups\"]\n",
            self.api, self.issuer
        );
        if secret {
            use std::os::unix::fs::PermissionsExt as _;
            let file = folder.join("client-secret");
            std::fs::write(&file, SECRET).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
            text += "client_secret_file = \"client-secret\"\n";
        }
        text
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

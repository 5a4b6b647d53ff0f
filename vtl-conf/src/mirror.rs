//! What serde makes of the text: the shape of the file, no meaning yet. Values stay as they are, so that every
//! complaint about one can name key, line, value and remedy in the same way.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Value;

use crate::oidc::OidcMirror;
use crate::remotes::RemotesMirror;
use crate::sealing::SecretsMirror;
use crate::watch::{AlertsMirror, MetricsMirror};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Mirror {
    pub state: Option<Value>,
    pub iscsi: IscsiMirror,
    pub api: ApiMirror,
    pub access: AccessMirror,
    pub secrets: SecretsMirror,
    pub library: LibraryMirror,
    pub cartridge: CartridgeMirror,
    pub store: StoreMirror,
    pub jobs: JobsMirror,
    pub remotes: RemotesMirror,
    pub transfer: TransferMirror,
    pub migrate: MigrateMirror,
    pub hooks: HooksMirror,
    pub retention: RetentionMirror,
    pub log: LogMirror,
    pub metrics: MetricsMirror,
    pub alerts: AlertsMirror,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct IscsiMirror {
    pub listen: Option<Value>,
    pub allow_any_initiator: Option<Value>,
    pub diagnostic_disk: Option<Value>,
    pub max_sessions: Option<Value>,
    pub max_connections: Option<Value>,
    pub login_timeout_s: Option<Value>,
    pub max_bytes_in_flight_session: Option<Value>,
    pub max_bytes_in_flight: Option<Value>,
    pub header_digest: Option<Value>,
    pub data_digest: Option<Value>,
    pub max_recv_data_segment_length: Option<Value>,
    pub max_burst_length: Option<Value>,
    pub first_burst_length: Option<Value>,
    pub max_outstanding_r2t: Option<Value>,
    pub command_window: Option<Value>,
    pub discovery_chap: ChapMirror,
    pub target: BTreeMap<String, TargetMirror>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ChapMirror {
    pub user: Option<Value>,
    pub secret_file: Option<Value>,
    pub secret_env: Option<Value>,
    pub mutual_user: Option<Value>,
    pub mutual_secret_file: Option<Value>,
    pub mutual_secret_env: Option<Value>,
}

/// As [`ChapMirror`] and the list; not flattened, because serde cannot refuse unknown keys then.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TargetMirror {
    pub user: Option<Value>,
    pub secret_file: Option<Value>,
    pub secret_env: Option<Value>,
    pub mutual_user: Option<Value>,
    pub mutual_secret_file: Option<Value>,
    pub mutual_secret_env: Option<Value>,
    pub initiators: Option<Value>,
}

impl TargetMirror {
    pub fn split(self) -> (ChapMirror, Option<Value>) {
        let Self {
            user,
            secret_file,
            secret_env,
            mutual_user,
            mutual_secret_file,
            mutual_secret_env,
            initiators,
        } = self;
        let chap =
            ChapMirror { user, secret_file, secret_env, mutual_user, mutual_secret_file, mutual_secret_env };
        (chap, initiators)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ApiMirror {
    pub listen: Option<Value>,
    pub hosts: Option<Value>,
    pub tls: TlsMirror,
    pub public_url: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TlsMirror {
    pub cert: Option<Value>,
    pub key: Option<Value>,
    pub self_signed: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AccessMirror {
    pub two_person: Option<Value>,
    pub oidc: OidcMirror,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LibraryMirror {
    pub default: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CartridgeMirror {
    pub size: Option<Value>,
    pub early_warning: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StoreMirror {
    pub path: Option<Value>,
    pub size: Option<Value>,
    pub folders: Option<Value>,
    pub degraded: Option<Value>,
    pub direct_io: Option<Value>,
    pub compression_level: Option<Value>,
    pub dedupe: Option<Value>,
    pub chunk_size: Option<Value>,
    pub encryption: Option<Value>,
    pub key_file: Option<Value>,
    pub passphrase_file: Option<Value>,
    pub passphrase_env: Option<Value>,
    pub memory: Option<Value>,
    pub gc: Option<Value>,
    pub scrub_days: Option<Value>,
    pub scrub_rate: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct JobsMirror {
    pub max_running: Option<Value>,
    pub history_keep: Option<Value>,
    pub max_transfers: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TransferMirror {
    pub retry: RetryMirror,
    pub bandwidth: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RetryMirror {
    pub attempts: Option<Value>,
    pub pause: Option<Value>,
    pub max_pause: Option<Value>,
    pub on_exit_codes: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MigrateMirror {
    pub remote: Option<Value>,
    pub key: Option<Value>,
    pub sign_with: Option<Value>,
    pub foreign_bundles: Option<Value>,
    pub chunk_size: Option<Value>,
    pub compress: Option<Value>,
    pub verify: Option<Value>,
    pub delete_after_export: Option<Value>,
    pub delete_clean_import: Option<Value>,
    pub create_spare: Option<Value>,
    pub spare_label: Option<Value>,
    pub triggers: Option<Value>,
    pub staging_dir: Option<Value>,
    pub read_wait: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HooksMirror {
    pub post_vault: Option<Value>,
    pub time_limit: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RetentionMirror {
    pub max_clock_step_s: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogMirror {
    pub level: Option<Value>,
    pub format: Option<Value>,
}

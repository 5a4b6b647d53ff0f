//! Settings of remotes that speak HTTP, as rows and as their drivers want them. A driver's own type holds them, without the remote's name.

use vtl_remote::{AzureConfig, GcsConfig, WebDavConfig};

use super::RemoteRefused;
use super::definition::{Rows, Settings, refuse, text_of};

/// Settings that may be left out have no row.
fn rows<const N: usize>(rows: [(&str, Option<String>); N]) -> Rows {
    rows.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

pub(super) fn read_azure(settings: &mut Settings<'_>) -> Result<AzureConfig, RemoteRefused> {
    Ok(AzureConfig {
        name: String::new(),
        account: settings.need("account")?,
        container: settings.need("container")?,
        prefix: settings.take("prefix")?.unwrap_or_default(),
        endpoint: settings.take("endpoint")?,
        ca_file: settings.maybe_path("ca_file")?,
        allow_http: settings.switch("allow_http", false)?,
        secret_key_file: settings.path("secret_key_file")?,
        part_size: settings.part_size()?,
    })
}

pub(super) fn azure_rows(config: &AzureConfig) -> Rows {
    rows([
        ("account", Some(config.account.clone())),
        ("container", Some(config.container.clone())),
        ("prefix", Some(config.prefix.clone())),
        ("endpoint", config.endpoint.clone()),
        ("ca_file", config.ca_file.as_deref().map(text_of)),
        ("allow_http", Some(config.allow_http.to_string())),
        ("part_size", Some(config.part_size.to_string())),
        ("secret_key_file", Some(text_of(&config.secret_key_file))),
    ])
}

pub(super) fn read_gcs(settings: &mut Settings<'_>) -> Result<GcsConfig, RemoteRefused> {
    Ok(GcsConfig {
        name: String::new(),
        bucket: settings.need("bucket")?,
        prefix: settings.take("prefix")?.unwrap_or_default(),
        endpoint: settings.take("endpoint")?,
        ca_file: settings.maybe_path("ca_file")?,
        allow_http: settings.switch("allow_http", false)?,
        credentials_file: settings.path("credentials_file")?,
        part_size: settings.part_size()?,
    })
}

pub(super) fn gcs_rows(config: &GcsConfig) -> Rows {
    rows([
        ("bucket", Some(config.bucket.clone())),
        ("prefix", Some(config.prefix.clone())),
        ("endpoint", config.endpoint.clone()),
        ("ca_file", config.ca_file.as_deref().map(text_of)),
        ("allow_http", Some(config.allow_http.to_string())),
        ("part_size", Some(config.part_size.to_string())),
        ("credentials_file", Some(text_of(&config.credentials_file))),
    ])
}

pub(super) fn read_webdav(settings: &mut Settings<'_>) -> Result<WebDavConfig, RemoteRefused> {
    let login = match (settings.take("user")?, settings.maybe_path("password_file")?) {
        (Some(user), Some(file)) => Some((user, file)),
        (None, None) => None,
        (Some(_), None) => return Err(refuse("password_file", "", "a user needs one", "name the file")),
        (None, Some(_)) => return Err(refuse("user", "", "a password is somebody's", "name the user")),
    };
    Ok(WebDavConfig {
        name: String::new(),
        endpoint: settings.need("endpoint")?,
        ca_file: settings.maybe_path("ca_file")?,
        allow_http: settings.switch("allow_http", false)?,
        login,
    })
}

pub(super) fn webdav_rows(config: &WebDavConfig) -> Rows {
    let login = config.login.as_ref();
    rows([
        ("endpoint", Some(config.endpoint.clone())),
        ("ca_file", config.ca_file.as_deref().map(text_of)),
        ("allow_http", Some(config.allow_http.to_string())),
        ("user", login.map(|(user, _)| user.clone())),
        ("password_file", login.map(|(_, file)| text_of(file))),
    ])
}

/// Where a container or a bucket is: the endpoint when one is set, and a path.
pub(super) fn place(endpoint: Option<&str>, default: &str, path: [&str; 2]) -> String {
    let endpoint = endpoint.map_or(default, |endpoint| endpoint.trim_end_matches('/'));
    let [container, prefix] = path;
    let slash = if prefix.is_empty() { "" } else { "/" };
    format!("{endpoint}/{container}{slash}{prefix}")
}

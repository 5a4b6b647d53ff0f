//! Refusals that are about one member of a body, one parameter or one header: each says which, as the request spells it, and what would be right.
//!
//! For every member of every request of the API there is a row that is refused for what the member says; or the member is in `BY_FORM`, when only its
//! form can be wrong; or in `ALWAYS_RIGHT`. The last test goes over all of them, so that a new member without any of these fails.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::door_tests::{Door, PASSWORD, add_user};
use super::{openapi, table};
use crate::jobs::Jobs;

/// Method, path, body; status, and what is named. `TMP`, `STATE` and `LINK` stand for what is different each time.
type Row = (&'static str, &'static str, &'static str, u16, &'static str);

/// Before there is a user.
#[rustfmt::skip]
const FIRST: &[Row] = &[
    ("POST", "/session", r#"{}"#, 400, "user"),
    ("POST", "/session", r#"{"password":"made-up"}"#, 400, "user"),
    ("POST", "/session", r#"{"user":"ann"}"#, 400, "password"),
    ("POST", "/session", r#"{"user":"ann","token":"made-up"}"#, 400, "token"),
    ("POST", "/session", r#"{"user":7}"#, 400, "user"),
    ("POST", "/setup", r#"{"token":"LINK","user":"ann"}"#, 400, "password"),
    ("POST", "/setup", r#"{"token":"LINK","user":"an n","password":"made-up password"}"#, 400, "user"),
    ("POST", "/setup", r#"{"token":"LINK","user":"root","password":"made-up password"}"#, 400, "user"),
    ("POST", "/setup", r#"{"token":"LINK","user":"ann","password":"short"}"#, 400, "password"),
    ("POST", "/setup", r#"{"token":"made-up","user":"ann","password":"made-up password"}"#, 401, "token"),
];

/// By a user, about himself.
#[rustfmt::skip]
const OWN: &[Row] = &[
    ("PUT", "/users/vic/password", r#"{"current":"made-up","password":"made-up other"}"#, 403, "current"),
    ("POST", "/tokens", r#"{"name":"t","role":"administrator"}"#, 403, "role"),
    ("POST", "/tokens", r#"{"name":"t","roles":["administrator"]}"#, 403, "roles"),
];

/// By an administrator, about others.
#[rustfmt::skip]
const GOVERNED: &[Row] = &[
    ("POST", "/users", r#"{"name":"ann","password":"made-up password","roles":["security-officer"]}"#, 403, "roles"),
    ("PATCH", "/users/vic", r#"{"roles":["security-officer"]}"#, 403, "roles"),
];

/// With the token of the state folder.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("GET", "/audit?limit=0", "", 400, "limit"),
    ("GET", "/audit?limit=many", "", 400, "limit"),
    ("GET", "/audit?cursor=x", "", 400, "cursor"),
    ("GET", "/audit?kind=odd", "", 400, "kind"),
    ("GET", "/audit?since=yesterday", "", 400, "since"),
    ("GET", "/audit?until=tomorrow", "", 400, "until"),
    ("GET", "/audit?colour=red", "", 400, "colour"),
    ("GET", "/audit/export?after=x", "", 400, "after"),
    ("GET", "/audit/export?limit=x", "", 400, "limit"),
    ("GET", "/audit/verify?against=x", "", 400, "against"),

    ("GET", "/cartridges?library=No", "", 400, "library"),
    ("GET", "/cartridges?place=moon", "", 400, "place"),
    ("GET", "/cartridges?blank=perhaps", "", 400, "blank"),
    ("GET", "/cartridges?sort=weight", "", 400, "sort"),
    ("GET", "/cartridges?limit=0", "", 400, "limit"),
    ("GET", "/cartridges?cursor=x", "", 400, "cursor"),
    ("GET", "/trash?limit=0", "", 400, "limit"),
    ("GET", "/trash?cursor=x", "", 400, "cursor"),
    ("GET", "/vault?limit=0", "", 400, "limit"),
    ("GET", "/vault?cursor=x", "", 400, "cursor"),
    ("POST", "/cartridges", r#"{"label":"nothing"}"#, 400, "label"),
    ("POST", "/cartridges", r#"{"label":"VTL001L8"}"#, 409, "label"),
    ("POST", "/cartridges", r#"{"label":"VTL900L8","worm":true}"#, 400, "label"),
    ("POST", "/cartridges", r#"{"label":"VTL900L8","count":0}"#, 400, "count"),
    ("POST", "/cartridges", r#"{"label":"VTL999L8","count":5}"#, 400, "count"),
    ("POST", "/cartridges", r#"{"label":"VTL900L8","count":50}"#, 507, "count"),
    ("POST", "/cartridges", r#"{"label":"VTL900L8","size_bytes":0}"#, 400, "size_bytes"),
    ("POST", "/cartridges", r#"{"label":"VTL900L8","size_bytes":1048575}"#, 400, "size_bytes"),
    ("POST", "/cartridges", r#"{"label":"VTL900L8","size_bytes":70368744177665}"#, 400, "size_bytes"),
    ("POST", "/cartridges", r#"{"label":"VTL900L8","library":"gone"}"#, 404, "library"),
    ("POST", "/cartridges", r#"{"label":"VTL900L8","library":"No"}"#, 400, "library"),
    ("POST", "/cartridges", r#"{"label":"VTL900L8","pool":"gone"}"#, 404, "pool"),
    ("DELETE", "/cartridges/VTL001L8", r#"{"now":true}"#, 400, "confirm"),
    ("DELETE", "/cartridges/VTL001L8", r#"{"now":true,"confirm":"VTL002L8"}"#, 400, "confirm"),
    ("DELETE", "/unlisted/0a0000000000000000000000000000ff", r#"{}"#, 400, "confirm"),
    ("DELETE", "/unlisted/0a0000000000000000000000000000ff", r#"{"now":true,"confirm":"VTL002L8"}"#, 400, "confirm"),
    ("PATCH", "/cartridges/VTL001L8", r#"{"retain_until":"soon"}"#, 400, "retain_until"),
    ("PATCH", "/cartridges/VTL001L8", r#"{"retain_until":"2001-01-01"}"#, 400, "retain_until"),
    ("PATCH", "/cartridges/VTL003L8", r#"{"hold":false}"#, 409, "hold"),
    ("PATCH", "/cartridges/VTL003L8", r#"{"retain_until":"2080-01-01"}"#, 409, "retain_until"),
    ("POST", "/cartridges/VTL001L8/move", r#"{"to":"moon:1"}"#, 400, "to"),
    ("POST", "/cartridges/VTL001L8/move", r#"{"to":"slot:999"}"#, 400, "to"),
    ("POST", "/cartridges/VTL001L8/move", r#"{"to":"slot:2"}"#, 409, "to"),
    ("POST", "/cartridges/VTL001L8/move", r#"{"to":"slot:20","library":"No"}"#, 400, "library"),
    ("POST", "/cartridges/VTL001L8/move", r#"{"to":"slot:20","library":"other"}"#, 400, "library"),
    ("POST", "/vault/VTL001L8/load", r#"{"library":"gone"}"#, 404, "library"),
    ("POST", "/vault/VTL001L8/load", r#"{"library":"No"}"#, 400, "library"),

    ("POST", "/cartridges/VTL001L8/export", r#"{}"#, 400, "remote"),
    ("POST", "/cartridges/VTL001L8/export", r#"{"remote":"gone"}"#, 404, "remote"),
    ("POST", "/cartridges/VTL001L8/export", r#"{"remote":"there","key":"gone"}"#, 404, "key"),
    ("POST", "/cartridges/VTL001L8/export", r#"{"remote":"there","key":"signer"}"#, 400, "key"),
    ("POST", "/cartridges/VTL001L8/export", r#"{"remote":"there","sign_with":"site"}"#, 400, "sign_with"),
    ("POST", "/cartridges/VTL001L8/export", r#"{"remote":"there","chunk_size_bytes":1}"#, 400, "chunk_size_bytes"),
    ("POST", "/cartridges/VTL001L8/export", r#"{"remote":"there","compress":"rar"}"#, 400, "compress"),
    ("POST", "/cartridges/VTL001L8/export", r#"{"remote":"there","verify":"hope"}"#, 400, "verify"),
    ("POST", "/cartridges/VTL001L8/export", r#"{"remote":"there","priority":"urgent"}"#, 400, "priority"),
    ("GET", "/exports", "", 400, "remote"),
    ("GET", "/exports?remote=gone", "", 404, "remote"),
    ("GET", "/exports?remote=there&limit=0", "", 400, "limit"),
    ("GET", "/exports?remote=there&cursor=x", "", 400, "cursor"),
    ("GET", "/exports/show?remote=there&folder=x", "", 400, "folder"),
    ("GET", "/exports/show?remote=gone&folder=VTL001L8-20261126_031500", "", 404, "remote"),
    ("POST", "/exports/fetch", r#"{"remote":"there","folder":"x","to":"/tmp"}"#, 400, "folder"),
    ("POST", "/exports/fetch", r#"{"remote":"gone","folder":"VTL001L8-20261126_031500","to":"/tmp"}"#, 404, "remote"),
    ("POST", "/exports/fetch", r#"{"remote":"there","folder":"VTL001L8-20261126_031500","to":"here"}"#, 400, "to"),
    ("POST", "/exports/fetch", r#"{"remote":"there","folder":"VTL001L8-20261126_031500","to":"/tmp","priority":"urgent"}"#, 400, "priority"),
    ("POST", "/exports/prune", r#"{"remote":"gone"}"#, 404, "remote"),
    ("POST", "/exports/prune", r#"{"remote":"there","folder":"x"}"#, 400, "folder"),
    ("POST", "/exports/prune", r#"{"remote":"there","confirm":"VTL001L8-20261126_031500"}"#, 400, "confirm"),
    ("POST", "/exports/prune", r#"{"remote":"there","folder":"VTL001L8-20261126_031500","confirm":"VTL001L8"}"#, 400, "confirm"),
    ("POST", "/exports/rewrap", r#"{"remote":"there","folder":"x","key":"site"}"#, 400, "folder"),
    ("POST", "/exports/rewrap", r#"{"remote":"gone","folder":"VTL001L8-20261126_031500","key":"site"}"#, 404, "remote"),
    ("POST", "/exports/rewrap", r#"{"remote":"there","folder":"VTL001L8-20261126_031500","key":"none"}"#, 400, "key"),
    ("POST", "/exports/rewrap", r#"{"remote":"there","folder":"VTL001L8-20261126_031500","key":"site","sign_with":"gone"}"#, 404, "sign_with"),
    ("POST", "/exports/rewrap", r#"{"remote":"there","folder":"VTL001L8-20261126_031500","key":"site","priority":"urgent"}"#, 400, "priority"),
    ("POST", "/exports/verify", r#"{"remote":"there","folder":"x"}"#, 400, "folder"),
    ("POST", "/exports/verify", r#"{"remote":"gone","folder":"VTL001L8-20261126_031500"}"#, 404, "remote"),
    ("POST", "/exports/verify", r#"{"remote":"there","folder":"VTL001L8-20261126_031500","sample_percent":0}"#, 400, "sample_percent"),
    ("POST", "/exports/verify", r#"{"remote":"there","folder":"VTL001L8-20261126_031500","priority":"urgent"}"#, 400, "priority"),
    ("POST", "/imports", r#"{}"#, 400, "job"),
    ("POST", "/imports", r#"{"job":1,"remote":"there"}"#, 400, "job"),
    ("POST", "/imports", r#"{"job":999}"#, 404, "job"),
    ("POST", "/imports", r#"{"remote":"there"}"#, 400, "folder"),
    ("POST", "/imports", r#"{"remote":"there","folder":"x"}"#, 400, "folder"),
    ("POST", "/imports", r#"{"folder":"VTL001L8-20261126_031500"}"#, 400, "remote"),
    ("POST", "/imports", r#"{"remote":"gone","folder":"VTL001L8-20261126_031500"}"#, 404, "remote"),
    ("POST", "/imports", r#"{"remote":"there","folder":"VTL001L8-20261126_031500"}"#, 409, "as_label"),
    ("POST", "/imports", r#"{"remote":"there","folder":"VTL001L8-20261126_031500","as_label":"x"}"#, 400, "as_label"),
    ("POST", "/imports", r#"{"remote":"there","folder":"NEW001L8-20261126_031500","pool":"gone"}"#, 404, "pool"),
    ("POST", "/imports", r#"{"remote":"there","folder":"NEW001L8-20261126_031500","pool":"spare","lazy":true}"#, 501, "lazy"),
    ("POST", "/imports", r#"{"remote":"there","folder":"NEW001L8-20261126_031500","priority":"urgent"}"#, 400, "priority"),
    ("POST", "/ingests", r#"{"device":"/dev/null","label":"x"}"#, 400, "label"),
    ("POST", "/ingests", r#"{"device":"/dev/null","label":"NEW001L8"}"#, 400, "device"),
    ("POST", "/ingests", r#"{"device":"/nonexistent","label":"NEW001L8"}"#, 404, "device"),
    ("POST", "/ingests", r#"{"device":"/dev/null","label":"NEW001L8","library":"gone"}"#, 404, "library"),
    ("POST", "/ingests", r#"{"device":"/dev/null","label":"NEW001L8","library":"No"}"#, 400, "library"),
    ("POST", "/ingests", r#"{"device":"/dev/null","label":"NEW001L8","size_bytes":0}"#, 400, "size_bytes"),
    ("POST", "/ingests", r#"{"device":"/dev/null","label":"NEW001L8","priority":"urgent"}"#, 400, "priority"),

    ("POST", "/config/check", r#"{"file":"/nonexistent/file"}"#, 400, "file"),
    ("GET", "/events?types=odd", "", 400, "types"),
    ("POST", "/system/backup", r#"{"file":"here"}"#, 400, "file"),
    ("POST", "/system/backup", r#"{"file":"TMP/word"}"#, 400, "file"),
    ("POST", "/system/backup", r#"{"file":"STATE/copy.db"}"#, 400, "file"),
    ("POST", "/system/restore", r#"{"file":"here"}"#, 400, "file"),
    ("POST", "/system/restore", r#"{"file":"TMP/word"}"#, 400, "file"),
    ("POST", "/system/rebuild", r#"{}"#, 501, "plan"),
    ("GET", "/jobs?state=odd", "", 400, "state"),
    ("GET", "/jobs?sort=label", "", 400, "sort"),
    ("GET", "/jobs?limit=0", "", 400, "limit"),
    ("GET", "/jobs?cursor=x", "", 400, "cursor"),

    ("GET", "/iscsi/sessions?limit=0", "", 400, "limit"),
    ("GET", "/iscsi/sessions?cursor=x", "", 400, "cursor"),
    ("POST", "/iscsi/portals", r#"{"address":"localhost"}"#, 400, "address"),
    ("POST", "/iscsi/portals", r#"{"address":"0.0.0.0:0"}"#, 409, "address"),
    ("PUT", "/iscsi/targets/lib0/chap", r#"{"user":"","secret":"made-up-secret"}"#, 400, "user"),
    ("PUT", "/iscsi/targets/lib0/chap", r#"{"user":"u","secret":"short"}"#, 400, "secret"),
    ("PUT", "/iscsi/targets/lib0/chap", r#"{"user":"u","secret":"made-up-secret","mutual_user":"m"}"#, 400, "mutual_secret"),
    ("PUT", "/iscsi/targets/lib0/chap", r#"{"user":"u","secret":"made-up-secret","mutual_secret":"made-up-other"}"#, 400, "mutual_user"),
    ("PUT", "/iscsi/targets/lib0/chap", r#"{"user":"u","secret":"made-up-secret","mutual_user":"m","mutual_secret":"short"}"#, 400, "mutual_secret"),
    ("PUT", "/iscsi/targets/lib0/chap", r#"{"user":"u","secret":"made-up-secret","mutual_user":"m","mutual_secret":"made-up-secret"}"#, 400, "mutual_secret"),
    ("POST", "/iscsi/targets/lib0/initiators", r#"{"initiator":"host"}"#, 400, "initiator"),

    ("POST", "/keys", r#"{"name":"k","file":"TMP/none"}"#, 400, "file"),
    ("POST", "/keys", r#"{"name":"k","file":"TMP/word"}"#, 400, "file"),
    ("POST", "/keys", r#"{"name":"..","file":"TMP/key.pem"}"#, 400, "name"),
    ("POST", "/keys", r#"{"name":"signer","file":"TMP/key.pem"}"#, 409, "name"),
    ("POST", "/keys/other", r#"{"type":"dsa"}"#, 400, "type"),
    ("POST", "/keys/other", r#"{"type":"rsa"}"#, 501, "type"),
    ("DELETE", "/keys/signer", r#"{}"#, 400, "confirm"),

    ("POST", "/libraries", r#"{"name":"No","profile":"ibm-03584l32","drives":1,"slots":1,"mailslots":0}"#, 400, "name"),
    ("POST", "/libraries", r#"{"name":"lib0","profile":"ibm-03584l32","drives":1,"slots":1,"mailslots":0}"#, 409, "name"),
    ("POST", "/libraries", r#"{"name":"new","profile":"odd","drives":1,"slots":1,"mailslots":0}"#, 400, "profile"),
    ("POST", "/libraries", r#"{"name":"new","profile":"ibm-ult3580-td8","drives":1,"slots":1,"mailslots":0}"#, 400, "profile"),
    ("POST", "/libraries", r#"{"name":"new","profile":"ibm-03584l32","drives":0,"slots":1,"mailslots":0}"#, 400, "drives"),
    ("POST", "/libraries", r#"{"name":"new","profile":"ibm-03584l32","drives":1,"slots":0,"mailslots":0}"#, 400, "slots"),
    ("POST", "/libraries", r#"{"name":"new","profile":"ibm-03584l32","drives":1,"slots":1,"mailslots":300}"#, 400, "mailslots"),
    ("POST", "/libraries", r#"{"name":"new","profile":"ibm-03584l32","drives":1,"slots":1,"mailslots":0,"pool":"gone"}"#, 404, "pool"),
    ("PATCH", "/libraries/lib0", r#"{"drives":0}"#, 400, "drives"),
    ("PATCH", "/libraries/lib0", r#"{"slots":1}"#, 409, "slots"),
    ("PATCH", "/libraries/lib0", r#"{"mailslots":300}"#, 400, "mailslots"),
    ("PATCH", "/libraries/lib0", r#"{"targets":"many"}"#, 400, "targets"),
    ("PATCH", "/libraries/lib0", r#"{"pool":"gone"}"#, 404, "pool"),
    ("PATCH", "/libraries/lib0", r#"{"settings":{"odd":"1"}}"#, 400, "settings.odd"),
    ("PATCH", "/libraries/lib0", r#"{"settings":{"migrate.compress":"rar"}}"#, 400, "settings.migrate.compress"),
    ("PATCH", "/libraries/lib0", r#"{"settings":{"migrate.remote":"gone"}}"#, 404, "settings.migrate.remote"),

    ("POST", "/pools", r#"{"name":"No","paths":["TMP/new"]}"#, 400, "name"),
    ("POST", "/pools", r#"{"name":"default","paths":["TMP/new"]}"#, 409, "name"),
    ("POST", "/pools", r#"{"name":"new","paths":[]}"#, 400, "paths"),
    ("POST", "/pools", r#"{"name":"new","paths":["here"]}"#, 400, "paths"),
    ("POST", "/pools", r#"{"name":"new","paths":["TMP/pool"]}"#, 409, "paths"),
    ("POST", "/pools", r#"{"name":"new","paths":["TMP/there"]}"#, 409, "paths"),
    ("POST", "/pools", r#"{"name":"new","paths":["TMP/new"],"adopt":true}"#, 409, "paths"),
    ("POST", "/pools", r#"{"name":"new","paths":["TMP/new"],"encrypted":true}"#, 400, "key_file"),
    ("POST", "/pools", r#"{"name":"new","paths":["TMP/new"],"key_file":"TMP/none"}"#, 400, "key_file"),
    ("POST", "/pools", r#"{"name":"new","paths":["TMP/new"],"passphrase_file":"TMP/none"}"#, 400, "passphrase_file"),
    ("POST", "/pools", r#"{"name":"new","paths":["TMP/new"],"key_file":"TMP/key","passphrase_file":"TMP/key"}"#, 400, "passphrase_file"),
    ("POST", "/pools", r#"{"name":"new","paths":["TMP/new"],"chunk_bytes":7}"#, 400, "chunk_bytes"),
    ("POST", "/pools", r#"{"name":"new","paths":["TMP/new"],"compression_level":99}"#, 400, "compression_level"),
    ("POST", "/pools", r#"{"name":"new","paths":["TMP/new"],"size_bytes":1}"#, 400, "size_bytes"),
    ("DELETE", "/pools/spare", r#"{"forget":true}"#, 409, "forget"),
    ("POST", "/pools/spare/folders", r#"{"path":"here"}"#, 400, "path"),
    ("POST", "/pools/spare/folders", r#"{"path":"TMP/pool"}"#, 409, "path"),
    ("POST", "/pools/spare/drain", r#"{"path":"/nowhere"}"#, 400, "path"),
    ("GET", "/store/history?since=yesterday", "", 400, "since"),
    ("GET", "/store/key?pool=gone", "", 404, "pool"),
    ("GET", "/store/scrub?pool=gone", "", 404, "pool"),
    ("GET", "/store/stats?pool=gone", "", 404, "pool"),
    ("POST", "/store/account", r#"{"pool":"gone"}"#, 404, "pool"),
    ("POST", "/store/check", r#"{"pool":"gone"}"#, 404, "pool"),
    ("POST", "/store/gc", r#"{"pool":"gone"}"#, 404, "pool"),
    ("POST", "/store/gc", r#"{"dead_percent":0}"#, 400, "dead_percent"),
    ("POST", "/store/key/export", r#"{"pool":"gone","file":"TMP/ring"}"#, 404, "pool"),
    ("POST", "/store/key/export", r#"{"file":"TMP/ring"}"#, 409, "pool"),
    ("POST", "/store/key/export", r#"{"pool":"spare","file":"TMP/word"}"#, 400, "file"),
    ("POST", "/store/key/export", r#"{"pool":"spare","file":"here"}"#, 400, "file"),
    ("POST", "/store/key/export", r#"{"pool":"spare","file":"TMP/none/ring"}"#, 400, "file"),
    ("POST", "/store/key/rotate", r#"{}"#, 400, "key_file"),
    ("POST", "/store/key/rotate", r#"{"key_file":"TMP/key"}"#, 409, "pool"),
    ("POST", "/store/key/rotate", r#"{"key_file":"TMP/key","passphrase_file":"TMP/key"}"#, 400, "passphrase_file"),
    ("POST", "/store/key/rotate", r#"{"key_file":"TMP/word"}"#, 400, "key_file"),
    ("POST", "/store/key/rotate", r#"{"passphrase_file":"TMP/none"}"#, 400, "passphrase_file"),
    ("POST", "/store/key/rotate", r#"{"pool":"gone","key_file":"TMP/key"}"#, 404, "pool"),
    ("POST", "/store/rebuild-index", r#"{"pool":"gone"}"#, 404, "pool"),
    ("POST", "/store/repair", r#"{"pool":"gone"}"#, 404, "pool"),
    ("POST", "/store/repair", r#"{"plan":true}"#, 400, "plan"),
    ("POST", "/store/scrub", r#"{"rate":"fast"}"#, 400, "rate"),
    ("POST", "/store/scrub", r#"{"pool":"gone"}"#, 404, "pool"),

    ("GET", "/remotes/there/objects?folder=..", "", 400, "folder"),
    ("GET", "/remotes/there/objects?after=a/../b", "", 400, "after"),

    ("GET", "/sessions?user=an%20n", "", 400, "user"),
    ("DELETE", "/sessions", r#"{}"#, 400, "user"),
    ("DELETE", "/sessions", r#"{"user":"an n"}"#, 400, "user"),
    ("DELETE", "/sessions", r#"{"user":"gone"}"#, 404, "user"),
    ("POST", "/users", r#"{"name":"an n","password":"made-up password","roles":[]}"#, 400, "name"),
    ("POST", "/users", r#"{"name":"vic","password":"made-up password","roles":["viewer"]}"#, 409, "name"),
    ("POST", "/users", r#"{"name":"ann","password":"short","roles":["viewer"]}"#, 400, "password"),
    ("POST", "/users", r#"{"name":"ann","password":"made-up password","roles":["king"]}"#, 400, "roles"),
    ("POST", "/users", r#"{"name":"ann","password":"made-up password","roles":["viewer",7]}"#, 400, "roles"),
    ("POST", "/users", r#"{"name":"ann","password":"made-up password","roles":[],"colour":"red"}"#, 400, "colour"),
    ("PATCH", "/users/vic", r#"{"roles":["king"]}"#, 400, "roles"),
    ("PUT", "/users/vic/password", r#"{"password":"short"}"#, 400, "password"),
    ("POST", "/tokens", r#"{"name":""}"#, 400, "name"),
    ("POST", "/tokens", r#"{"name":"rotation"}"#, 409, "name"),
    ("POST", "/tokens", r#"{"name":"t","role":"king"}"#, 400, "role"),
    ("POST", "/tokens", r#"{"name":"t","roles":["king"]}"#, 400, "roles"),
    ("POST", "/tokens", r#"{"name":"t","roles":[]}"#, 400, "roles"),
    ("POST", "/tokens", r#"{"name":"t","role":"viewer","roles":["viewer"]}"#, 400, "role"),
    ("POST", "/tokens", r#"{"name":"t","expires":"soon"}"#, 400, "expires"),
    ("POST", "/tokens", r#"{"name":"t","expires":"2001-01-01"}"#, 400, "expires"),
];

/// Remotes that can be defined, but for the credentials of the last two.
#[rustfmt::skip]
const BASES: &[(&str, &str)] = &[
    ("folder", r#"{"path":"TMP/there"}"#),
    ("s3", r#"{"endpoint":"https://s3.example","bucket":"tapes","access_key_file":"TMP/word","secret_key_file":"TMP/word"}"#),
    ("rclone", r#"{"rclone_remote":"disk:"}"#),
    ("webdav", r#"{"endpoint":"https://dav.example/tapes"}"#),
    ("faulty", r#"{"over":"there","faults":["drop:1%"]}"#),
    ("azure", r#"{"account":"tapes","container":"exports","secret_key_file":"TMP/word"}"#),
    ("gcs", r#"{"bucket":"tapes","credentials_file":"TMP/word"}"#),
];

/// A type, what is changed in its base (null: left out); status, and what is named.
const REMOTES: &[(&str, &str, u16, &str)] = &[
    ("folder", r#"{"name":".."}"#, 400, "name"),
    ("folder", r#"{"name":"there"}"#, 409, "name"),
    ("folder", r#"{"type":"tape"}"#, 400, "type"),
    ("folder", r#"{"known_exports":"move"}"#, 400, "known_exports"),
    ("folder", r#"{"path":null}"#, 400, "path"),
    ("folder", r#"{"path":"here"}"#, 400, "path"),
    ("folder", r#"{"path":"TMP/none"}"#, 400, "path"),
    ("folder", r#"{"path":"STATE"}"#, 400, "path"),
    ("folder", r#"{"bucket":"tapes"}"#, 400, "bucket"),
    ("folder", r#"{"allow_http":true}"#, 400, "allow_http"),
    ("folder", r#"{"checksums":false}"#, 400, "checksums"),
    ("folder", r#"{"seed":7}"#, 400, "seed"),
    ("s3", r#"{"endpoint":null}"#, 400, "endpoint"),
    ("s3", r#"{"endpoint":"s3.example"}"#, 400, "endpoint"),
    ("s3", r#"{"endpoint":"http://s3.example"}"#, 400, "endpoint"),
    ("s3", r#"{"bucket":"Tapes"}"#, 400, "bucket"),
    ("s3", r#"{"region":"a b"}"#, 400, "region"),
    ("s3", r#"{"prefix":"a/../b"}"#, 400, "prefix"),
    ("s3", r#"{"style":"dns"}"#, 400, "style"),
    ("s3", r#"{"part_size_bytes":1}"#, 400, "part_size_bytes"),
    ("s3", r#"{"part_size_bytes":134217729}"#, 400, "part_size_bytes"),
    ("s3", r#"{"ca_file":"ca.pem"}"#, 400, "ca_file"),
    ("s3", r#"{"ca_file":"TMP/word"}"#, 400, "ca_file"),
    ("s3", r#"{"access_key_file":"TMP/none"}"#, 400, "access_key_file"),
    ("s3", r#"{"access_key_file":"TMP/empty"}"#, 400, "access_key_file"),
    ("s3", r#"{"secret_key_file":"word"}"#, 400, "secret_key_file"),
    ("s3", r#"{"secret_key_file":"TMP/empty"}"#, 400, "secret_key_file"),
    ("rclone", r#"{"rclone_remote":"/etc"}"#, 400, "rclone_remote"),
    ("rclone", r#"{"rclone_flags":["--rc"]}"#, 400, "rclone_flags"),
    ("webdav", r#"{"user":"u"}"#, 400, "password_file"),
    ("webdav", r#"{"password_file":"TMP/word"}"#, 400, "user"),
    ("webdav", r#"{"user":"a:b","password_file":"TMP/word"}"#, 400, "user"),
    ("webdav", r#"{"user":"u","password_file":"TMP/empty"}"#, 400, "password_file"),
    ("faulty", r#"{"over":"gone"}"#, 404, "over"),
    ("faulty", r#"{"over":".."}"#, 400, "over"),
    ("faulty", r#"{"over":"shaky"}"#, 400, "over"),
    ("faulty", r#"{"faults":null}"#, 400, "faults"),
    ("faulty", r#"{"faults":["melt:1%"]}"#, 400, "faults"),
    ("azure", r#"{"account":"No Account"}"#, 400, "account"),
    ("azure", r#"{"container":"a/b"}"#, 400, "container"),
    ("azure", "{}", 400, "secret_key_file"),
    ("gcs", r#"{"bucket":"x"}"#, 400, "bucket"),
    ("gcs", "{}", 400, "credentials_file"),
];

/// Members of which only the form can be wrong: a request, a member, and why.
const BY_FORM: &[(&str, &str, &str)] = &[
    ("GET /audit/export", "after", "after the last line there are none"),
    ("GET /audit/export", "limit", "it is brought between its bounds"),
    ("GET /cartridges", "blank", "a switch"),
    ("GET /cartridges", "place", "one of few words"),
    ("GET /cartridges", "sort", "one of few words"),
    ("GET /jobs", "sort", "one of few words"),
    ("GET /jobs", "state", "one of few words"),
    ("POST /cartridges/{label}/export", "priority", "one of few words"),
    ("POST /exports/fetch", "priority", "one of few words"),
    ("POST /exports/rewrap", "priority", "one of few words"),
    ("POST /exports/verify", "priority", "one of few words"),
    ("POST /imports", "priority", "one of few words"),
    ("POST /ingests", "priority", "one of few words"),
];

/// Members that are right whenever they have their type: a request, a member, and why.
const ALWAYS_RIGHT: &[(&str, &str, &str)] = &[
    ("GET /audit", "who", "a text that is looked for"),
    ("GET /audit", "what", "a text that is looked for"),
    ("GET /audit", "text", "a text that is looked for"),
    ("GET /cartridges", "label", "how labels begin; perhaps none does"),
    ("GET /jobs", "kind", "a text that is looked for"),
    ("GET /jobs", "label", "a text that is looked for"),
    ("POST /cartridges", "worm", "the label says what it is, and is what would have to change"),
    ("DELETE /cartridges/{label}", "now", "for good or into the trash; for good needs confirm"),
    ("DELETE /unlisted/{id}", "now", "for good or into the trash; both need confirm"),
    ("PATCH /cartridges/{label}", "write_protect", "a tape may be set either way at any time"),
    ("POST /cartridges/{label}/export", "plan", "told or done"),
    ("POST /cartridges/{label}/move", "force", "against a host or not; it refuses nothing"),
    ("POST /exports/fetch", "plan", "told or done"),
    ("POST /exports/prune", "plan", "told or done"),
    ("POST /exports/rewrap", "plan", "told or done"),
    ("POST /exports/verify", "plan", "told or done"),
    ("POST /imports", "plan", "told or done"),
    ("POST /ingests", "plan", "told or done"),
    ("PATCH /libraries/{name}", "force", "against sessions or not; it refuses nothing"),
    ("POST /pools", "adopt", "the folders say what they are, and are what would have to change"),
    ("POST /pools", "dedupe", "a pool can be made either way"),
    ("POST /pools", "encrypted", "a key is missing then"),
    ("POST /store/gc", "background", "waited for or not"),
    ("POST /store/gc", "plan", "told or done"),
    ("POST /store/repair", "from_exports", "from within or from exports as well"),
    ("POST /store/scrub", "plan", "told or done"),
    ("POST /system/upgrade", "plan", "told in either case"),
    ("PATCH /users/{name}", "locked", "who may not lock somebody may not unlock him either"),
];

/// A server, and a folder with files for requests.
struct Place {
    door: Door,
    folder: tempfile::TempDir,
    root: String,
    /// What the one-time link has.
    link: String,
}

impl Place {
    /// Without a user.
    fn new() -> Self {
        let (door, folder) = (Door::open(&[]), tempfile::tempdir().unwrap());
        Jobs::open(&door.daemon);
        let root = format!("Bearer {}", door.daemon.state.token().unwrap());
        let link = door.daemon.access.new_setup().unwrap().unwrap().to_string();
        fs::create_dir(folder.path().join("there")).unwrap();
        for (name, bytes) in [("word", &b"made-up"[..]), ("empty", b""), ("key", &[7; 32])] {
            private(&folder.path().join(name), bytes);
        }
        Self { door, folder, root, link }
    }

    /// With things to name and to be at odds with.
    fn furnished() -> Self {
        let place = Self::new();
        let made = Command::new("openssl")
            .args(["genrsa", "-out", "key.pem", "2048"])
            .current_dir(place.folder.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        private_mode(&place.folder.path().join("key.pem"));
        add_user(&place.door.daemon, "vic", "viewer");
        add_user(&place.door.daemon, "adm", "administrator");
        for (at, body) in [
            (("POST", "/remotes"), r#"{"name":"there","type":"folder","path":"TMP/there"}"#),
            (("POST", "/remotes"), r#"{"name":"shaky","type":"faulty","over":"there","faults":["drop:1%"]}"#),
            (("POST", "/keys"), r#"{"name":"site","file":"TMP/key.pem"}"#),
            (("POST", "/keys/signer"), "{}"),
            (
                ("POST", "/pools"),
                r#"{"name":"spare","paths":["TMP/pool"],"encrypted":true,"key_file":"TMP/key"}"#,
            ),
            (("POST", "/tokens"), r#"{"name":"rotation","role":"viewer"}"#),
            (("PATCH", "/cartridges/VTL003L8"), r#"{"hold":true,"retain_until":"2090-01-01"}"#),
        ] {
            place.is_done(at, body);
        }
        place
    }

    fn is_done(&self, at: (&str, &str), body: &str) {
        let (status, answer) = self.ask(&self.root, at, &self.json(body));
        assert_eq!(status, 200, "{at:?} {body}: {answer}");
    }

    fn json(&self, text: &str) -> Value {
        let state = self.door.daemon.state.path().display().to_string();
        let folder = self.folder.path().display().to_string();
        let text = text.replace("TMP", &folder).replace("STATE", &state).replace("LINK", &self.link);
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
    }

    fn ask(&self, who: &str, at: (&str, &str), body: &Value) -> (u16, Value) {
        let (status, answer) = self.door.ask_by(who, at, body, &[]);
        (status.as_u16(), answer)
    }

    fn refuses(&self, who: &str, rows: &[Row]) -> Vec<Refused> {
        let refused = |&(method, path, body, status, field): &Row| {
            let answer = self.ask(who, (method, path), &self.json(body));
            is_refused(&answer, (status, field), &format!("{method} {path} {body}"));
            Refused { method, path, field, by_form: is_by_form(&answer.1) }
        };
        rows.iter().map(refused).collect()
    }

    /// The base of a type with these changes.
    fn remote(&self, kind: &str, changes: &str) -> Value {
        let (_, base) = BASES.iter().find(|(own, _)| *own == kind).unwrap();
        let mut remote = self.json(base);
        remote["name"] = json!("new");
        remote["type"] = json!(kind);
        for (name, value) in self.json(changes).as_object().unwrap() {
            match value {
                Value::Null => drop(remote.as_object_mut().unwrap().remove(name)),
                value => remote[name] = value.clone(),
            }
        }
        remote
    }
}

/// What was refused, and whether for how it is written alone.
struct Refused {
    method: &'static str,
    path: &'static str,
    field: &'static str,
    by_form: bool,
}

fn is_by_form(answer: &Value) -> bool {
    let message = answer["message"].as_str().unwrap();
    ["the request cannot be read", "a parameter cannot be read"].iter().any(|lead| message.starts_with(lead))
}

fn private(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    private_mode(path);
}

fn private_mode(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

fn is_refused((status, answer): &(u16, Value), expected: (u16, &str), asked: &str) {
    assert_eq!((*status, answer["field"].as_str()), (expected.0, Some(expected.1)), "{asked}: {answer}");
    assert!(answer["remedy"].is_string(), "{asked}: {answer}");
}

/// All rows, each of which names the member or the parameter that is wrong, and what would be right.
fn all_refused() -> Vec<Refused> {
    let first = Place::new();
    let mut all = first.refuses(&first.root, FIRST);
    let place = Place::furnished();
    for (who, rows) in [("vic", OWN), ("adm", GOVERNED), (place.root.as_str(), ROWS)] {
        all.extend(place.refuses(who, rows));
    }
    let (method, path) = ("POST", "/remotes");
    for &(kind, changes, status, field) in REMOTES {
        let answer = place.ask(&place.root, (method, path), &place.remote(kind, changes));
        is_refused(&answer, (status, field), &format!("{kind} {changes}"));
        all.push(Refused { method, path, field, by_form: is_by_form(&answer.1) });
    }
    all
}

#[test]
fn a_job_has_the_priority_that_is_asked_for_and_keeps_it_when_it_is_tried_again_and_normal_without() {
    let place = Place::furnished();
    let priority_of = |path: &str, body: &Value| {
        let (status, job) = place.ask(&place.root, ("POST", path), body);
        assert_eq!(status, 200, "{path} {body}: {job}");
        (job["priority"].as_str().unwrap().to_owned(), job["id"].clone())
    };
    let here = "VTL001L8-20261126_031500";
    for (path, mut body) in [
        ("/cartridges/VTL001L8/export", json!({ "remote": "there" })),
        ("/imports", json!({ "remote": "there", "folder": "NEW001L8-20261126_031500" })),
        ("/exports/fetch", json!({ "remote": "there", "folder": here, "to": "/tmp" })),
        ("/exports/rewrap", json!({ "remote": "there", "folder": here, "key": "site" })),
        ("/exports/verify", json!({ "remote": "there", "folder": here })),
    ] {
        assert_eq!(priority_of(path, &body).0, "normal", "{path}");
        for wanted in ["low", "normal", "high"] {
            body["priority"] = json!(wanted);
            let (told, id) = priority_of(path, &body);
            assert_eq!(told, wanted, "{path}");
            place.is_done(("POST", &format!("/jobs/{id}/cancel")), "{}");
            assert_eq!(priority_of(&format!("/jobs/{id}/retry"), &json!({})).0, wanted, "{path}");
        }
    }
}

#[test]
fn whoever_may_not_end_the_sessions_of_somebody_is_told_of_no_other_value_that_would_help() {
    let place = Place::new();
    add_user(&place.door.daemon, "adm", "administrator");
    add_user(&place.door.daemon, "sam", "security-officer");
    let (status, answer) = place.ask("adm", ("DELETE", "/sessions"), &json!({ "user": "sam" }));
    assert_eq!((status, answer.get("field")), (403, None), "{answer}");
    assert!(answer["remedy"].is_string(), "{answer}");
}

#[test]
fn where_there_is_no_room_the_member_is_named_that_would_find_some() {
    let place = Place::new();
    let small = r#"{"name":"small","profile":"ibm-03584l32","drives":1,"slots":1,"mailslots":0}"#;
    let roomy = r#"{"name":"roomy","profile":"ibm-03584l32","drives":1,"slots":2,"mailslots":0}"#;
    place.is_done(("POST", "/libraries"), small);
    place.is_done(("POST", "/libraries"), roomy);
    place.is_done(("POST", "/cartridges"), r#"{"label":"SML001L8","library":"small"}"#);
    place.is_done(("POST", "/cartridges/VTL001L8/move"), r#"{"to":"vault"}"#);
    let rows: &[Row] = &[
        ("POST", "/cartridges", r#"{"label":"SML002L8","library":"small"}"#, 507, "library"),
        ("POST", "/cartridges", r#"{"label":"SML002L8","library":"small","count":2}"#, 507, "library"),
        ("POST", "/cartridges", r#"{"label":"SML002L8","library":"roomy","count":3}"#, 507, "count"),
        ("POST", "/vault/VTL001L8/load", r#"{"library":"small"}"#, 507, "library"),
    ];
    place.refuses(&place.root, rows);
}

#[test]
fn a_log_in_that_is_refused_names_a_member_and_nothing_that_could_be_a_secret() {
    let place = Place::new();
    for path in ["/session", "/setup"] {
        let body = json!({ "token": "t", "user": "u", "password": PASSWORD, "made-up-secret": 1 });
        let (status, answer) = place.ask(&place.root, ("POST", path), &body);
        assert_eq!((status, answer.get("field")), (400, None), "{answer}");
        assert!(!answer.to_string().contains("made-up"), "{answer}");
    }
}

#[test]
fn a_refusal_names_the_header_that_is_wrong() {
    let place = Place::new();
    add_user(&place.door.daemon, "ann", "administrator");
    let (make, look) = (("POST", "/cartridges"), ("GET", "/cartridges/VTL001L8"));
    let root = place.root.as_str();
    for (at, who, header, value, status, field) in [
        (make, root, "if-match", "\"made-up\"", 400, "If-Match"),
        (make, root, "idempotency-key", "two words", 400, "Idempotency-Key"),
        (make, root, "origin", "http://pages.example", 403, "Origin"),
        (make, root, "host", "pages.example", 403, "Host"),
        (make, root, "content-type", "text/plain", 415, "Content-Type"),
        (look, root, "if-none-match", "\u{e9}", 400, "If-None-Match"),
        (make, "ann", "x-csrf-token", "made-up", 403, "X-CSRF-Token"),
        (make, "Bearer made-up", "accept", "*/*", 401, "Authorization"),
    ] {
        let (found, answer) = place.door.ask_by(who, at, &json!({}), &[(header, value)]);
        is_refused(&(found.as_u16(), answer), (status, field), header);
    }
}

/// Whether a path is one of a route.
fn is_of(route: &str, path: &str) -> bool {
    let (parts, path) = (route.split('/'), path.split('?').next().unwrap_or_default().split('/'));
    parts.clone().count() == path.clone().count()
        && parts.zip(path).all(|(part, given)| part.starts_with('{') || part == given)
}

/// Every request as `METHOD ROUTE`, with each of its parameters and members.
fn members(document: &Value) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (route, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let request = format!("{} {route}", method.to_uppercase());
            let mut add = |name: &str| all.push((request.clone(), name.to_owned()));
            for parameter in operation["parameters"].as_array().unwrap() {
                if parameter["in"] == "query" {
                    add(parameter["name"].as_str().unwrap());
                }
            }
            let body = &operation["requestBody"]["content"]["application/json"]["schema"];
            if let Some(reference) = body["$ref"].as_str() {
                let schema = document.pointer(reference.strip_prefix('#').unwrap()).unwrap();
                schema["properties"].as_object().unwrap().keys().for_each(|name| add(name));
            } else {
                assert!(body.is_null(), "{request}: {body}");
            }
        }
    }
    all
}

#[test]
fn every_member_of_every_request_is_refused_by_name_or_is_always_right() {
    let rows = all_refused();
    let refusals_of = |request: &str, name: &str| {
        let (method, route) = request.split_once(' ').unwrap();
        // Of members of members the first name counts.
        let is_it = |row: &&Refused| {
            row.method == method && is_of(route, row.path) && row.field.split('.').next() == Some(name)
        };
        rows.iter().filter(is_it).map(|row| row.by_form).collect::<Vec<_>>()
    };
    let all = members(&openapi::document(&table()));
    assert!(all.len() > 150, "{}", all.len());
    let is_in = |list: &[(&str, &str, &str)], request: &str, name: &str| {
        list.iter().any(|(of, own, _)| *of == request && *own == name)
    };
    for (request, name) in &all {
        let by_form = refusals_of(request, name);
        if is_in(ALWAYS_RIGHT, request, name) {
            assert!(by_form.is_empty(), "{request}: '{name}' is refused, so it is not always right");
            continue;
        }
        assert!(
            !by_form.is_empty(),
            "{request}: no row refuses '{name}', and nobody says why it is always right"
        );
        assert_eq!(
            by_form.iter().all(|by_form| *by_form),
            is_in(BY_FORM, request, name),
            "{request}: a row refuses '{name}' for what it says, or the list says why none does"
        );
    }
    for (request, name, why) in ALWAYS_RIGHT.iter().chain(BY_FORM) {
        let is_there = all.iter().any(|(of, own)| of == request && own == name);
        assert!(is_there && !why.is_empty(), "{request} has no '{name}'");
    }
}

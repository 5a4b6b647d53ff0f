//! Requests of the API about remotes.

use std::collections::BTreeMap;

use serde_json::Value;
use vtl_api::{
    ApiError, CreateRemote, Done, ErrorCode, RemoteDetail, RemoteInfo, RemoteObject, RemoteObjects,
    RemoteStep, RemoteTest,
};
use vtl_migrate::Noted;
use vtl_remote::{Class, Entry, Finding, Folder, ObjectName, Report};

use super::definition::{Definition, SEE_SETTINGS, member_of};
use super::places::{self, Known};
use super::rows::{self, Row};
use super::{RemoteRefused, Remotes, given};
use crate::api::field;
use crate::clock::rfc3339;
use crate::daemon::{Daemon, invalid, lock};
use crate::given_name::GivenName;
use crate::pools::SEE_DISK;

/// Objects in one answer.
const PAGE: usize = 1000;

impl Daemon {
    /// All remotes.
    pub(crate) fn remote_list(&self) -> Result<Vec<RemoteInfo>, ApiError> {
        let rows = self.remotes.read(rows::all).map_err(refused)?;
        Ok(rows.iter().map(info).collect())
    }

    /// One remote with its settings.
    pub(crate) fn remote_show(&self, name: &str) -> Result<RemoteDetail, ApiError> {
        let row = given(name).and_then(|name| self.remotes.row(&name)).map_err(refused)?;
        let used_by = self.remotes.users(&row.name).map_err(refused)?;
        let used_by = used_by.into_iter().chain(self.is_configured("remote", name)).collect();
        Ok(RemoteDetail { settings: shown(&row.definition), used_by, info: info(&row) })
    }

    /// Defines a remote whose settings and credentials can be used; nothing is sent.
    pub(crate) fn remote_create(&self, request: &CreateRemote) -> Result<Done, ApiError> {
        let _one_at_a_time = lock(&self.changes);
        let (row, forgotten) = self.remotes.create(request)?;
        let also = match forgotten.is_nothing() {
            true => String::new(),
            false => format!("; {forgotten} of before are forgotten"),
        };
        Ok(Done {
            message: format!(
                "remote {} is {}; vtl remote test {} tries it out{also}",
                row.name, row.definition, row.name
            ),
            names: vec![row.name.to_string()],
        })
    }

    /// Tries a remote out.
    pub(crate) fn remote_test(&self, name: &str) -> Result<RemoteTest, ApiError> {
        let remote = self.remotes.open(name).map_err(refused)?;
        let report = self.remotes.wait(vtl_remote::probe(remote.as_ref())).map_err(refused)?;
        Ok(told(name, &report))
    }

    /// What lies there: a page of it.
    pub(crate) fn remote_objects(
        &self,
        name: &str,
        folder: Option<&str>,
        after: Option<&str>,
    ) -> Result<RemoteObjects, ApiError> {
        let bad = |name: &str, value: &str, why: &dyn std::fmt::Display| {
            let message = format!("{name} '{}': {why}", value.escape_debug());
            invalid(message, "write it as the list of the remote's objects has it").about(name)
        };
        let text = folder.unwrap_or_default();
        let folder = Folder::new(text).map_err(|why| bad("folder", text, &why))?;
        let after =
            after.map(|after| ObjectName::new(after).map_err(|why| bad("after", after, &why))).transpose()?;
        let remote = self.remotes.open(name).map_err(refused)?;
        let listed = self.remotes.wait(remote.list(&folder, after.as_ref(), PAGE)).map_err(refused)?;
        let page = listed.map_err(|error| refused(error.into()))?;
        let below = |name: &ObjectName| {
            let inner = folder.as_str().and_then(|folder| name.as_str().strip_prefix(folder));
            inner.and_then(|inner| inner.strip_prefix('/')).unwrap_or(name.as_str()).to_owned()
        };
        let object = |entry: &Entry| RemoteObject { name: below(&entry.name), size_bytes: entry.size };
        Ok(RemoteObjects {
            objects: page.entries.iter().map(object).collect(),
            foreign: page.foreign,
            next: page.next.map(|name| name.as_str().to_owned()),
        })
    }

    /// Forgets a remote that nothing uses. What lies there stays.
    pub(crate) fn remote_remove(&self, name: &str) -> Result<Done, ApiError> {
        let _one_at_a_time = lock(&self.changes);
        self.remotes.remove(name, self.is_configured("remote", name)).map_err(refused)?;
        self.remotes.meters().forget(name);
        Ok(Done {
            message: format!("remote {name} is forgotten; what lies there stays"),
            names: vec![name.to_owned()],
        })
    }
}

impl Remotes {
    /// The remote, and what was kept under its name and is not any more.
    fn create(&self, request: &CreateRemote) -> Result<(Row, Noted), ApiError> {
        let name = given(&request.name).map_err(not_created)?;
        let known = Known::asked(request.known_exports.as_deref()).map_err(not_created)?;
        let definition = Definition::asked(request).map_err(not_created)?;
        let connected = self.connect(&name, &definition).map_err(not_created);
        match definition {
            // Its own settings are right: what is wrong is wrong with the other one.
            Definition::Faulty(_) => field("over", connected)?,
            _ => connected?,
        };
        let created_s = crate::clock::unix_seconds();
        let forgotten = self.change(|tx| {
            rows::insert(tx, &name, &definition, created_s)?;
            places::settle(tx, &name, &definition, known)
        });
        Ok((Row { name, created_s, definition }, forgotten.map_err(not_created)?))
    }

    /// What they are called.
    pub(crate) fn names(&self) -> Result<Vec<String>, RemoteRefused> {
        let rows = self.read(rows::all)?;
        Ok(rows.iter().map(|row| row.name.to_string()).collect())
    }

    /// Who uses a remote: libraries, and jobs that have not ended.
    fn users(&self, name: &GivenName) -> Result<Vec<String>, RemoteRefused> {
        self.read(|tx| users_in(tx, name))
    }

    fn remove(&self, name: &str, also: Option<String>) -> Result<(), RemoteRefused> {
        let name = given(name)?;
        self.change(|tx| {
            let by: Vec<String> = users_in(tx, &name)?.into_iter().chain(also).collect();
            if !by.is_empty() {
                return Err(RemoteRefused::InUse { name: name.clone(), by });
            }
            let row = rows::get(tx, &name)?.ok_or_else(|| RemoteRefused::Unknown(name.clone()))?;
            let place = places::of(tx, &row.definition)?;
            rows::set_former_place(tx, &name, Some(&place))?;
            Ok(rows::delete(tx, &name)?)
        })?;
        self.plans.forget(name.as_str());
        Ok(())
    }
}

fn users_in(tx: &vtl_meta::Tx<'_>, name: &GivenName) -> Result<Vec<String>, RemoteRefused> {
    let over = |row: Row| match row.definition {
        Definition::Faulty(rehearsal) if rehearsal.over == name.as_str() => {
            Some(format!("remote {}", row.name))
        }
        _ => None,
    };
    let mut by = crate::used::by(tx, "remote", name.as_str())?;
    by.extend(rows::all(tx)?.into_iter().filter_map(over));
    Ok(by)
}

fn info(row: &Row) -> RemoteInfo {
    RemoteInfo {
        name: row.name.to_string(),
        kind: row.definition.kind().to_owned(),
        place: row.definition.to_string(),
        created: rfc3339(row.created_s),
    }
}

/// Settings by key; a key that comes several times has a list.
fn shown(definition: &Definition) -> BTreeMap<String, Value> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value) in definition.rows() {
        all.entry(key).or_default().push(value);
    }
    all.into_iter()
        .map(|(key, mut values)| match values.len() {
            1 if key != "rclone_flag" && key != "fault" => {
                (key, values.pop().map_or(Value::Null, Value::String))
            }
            _ => (key, values.into()),
        })
        .collect()
}

fn told(name: &str, report: &Report) -> RemoteTest {
    let step = |(step, finding): &(&'static str, Finding)| {
        let (finding, why) = match finding {
            Finding::Works => ("works", None),
            Finding::Limited(limit) => ("limited", Some((*limit).to_owned())),
            Finding::Failed(error) => ("failed", Some(error.to_string())),
        };
        RemoteStep { step: (*step).to_owned(), finding: finding.to_owned(), why }
    };
    RemoteTest {
        name: name.to_owned(),
        usable: report.is_usable(),
        steps: report.steps.iter().map(step).collect(),
    }
}

/// The same of a remote that is to be defined, with the member that is wrong.
fn not_created(error: RemoteRefused) -> ApiError {
    let member = match &error {
        RemoteRefused::Name(_) | RemoteRefused::Exists(_) => Some("name".to_owned()),
        RemoteRefused::Setting { key, .. } => Some(member_of(key).to_owned()),
        RemoteRefused::Own { .. } => Some("path".to_owned()),
        RemoteRefused::MadeElsewhere { .. } => Some(places::MEMBER.to_owned()),
        RemoteRefused::Driver(error) => error.setting().map(|key| member_of(key).to_owned()),
        _ => None,
    };
    ApiError { field: member, ..refused(error) }
}

/// The one place where refusals of remotes become the API's.
pub(crate) fn refused(error: RemoteRefused) -> ApiError {
    let message = error.to_string();
    let (code, remedy) = match error {
        RemoteRefused::Library(error) => return crate::api::refused(&error),
        RemoteRefused::Jobs(error) => return crate::jobs::not_done(None, &error),
        RemoteRefused::Unknown(_) => (ErrorCode::NotFound, "see vtl remote ls"),
        RemoteRefused::Exists(_) => {
            (ErrorCode::Exists, "choose another name, or remove that one first: vtl remote rm")
        }
        RemoteRefused::InUse { .. } => (
            ErrorCode::Conflict,
            "set another remote for these libraries, and wait for these jobs or cancel them",
        ),
        RemoteRefused::MadeElsewhere { .. } => (ErrorCode::Conflict, places::SAY_WHICH),
        RemoteRefused::Own { .. } => (ErrorCode::Invalid, "choose a folder on another disk"),
        RemoteRefused::Name(_) => (ErrorCode::Invalid, crate::given_name::HOW),
        RemoteRefused::Driver(error) if error.class() == Class::Local && error.setting().is_none() => {
            (ErrorCode::Internal, SEE_DISK)
        }
        RemoteRefused::Setting { remedy, .. } => return invalid(message, &remedy),
        RemoteRefused::Driver(_) => (ErrorCode::Invalid, SEE_SETTINGS),
        RemoteRefused::NoRuntime | RemoteRefused::Io { .. } => {
            (ErrorCode::Internal, "see the log, and check the disk of the state folder")
        }
    };
    ApiError::new(code, message, remedy)
}

#[cfg(test)]
mod tests {
    use vtl_remote::{Doing, Error};

    use super::*;

    #[test]
    fn what_this_machine_lacks_is_no_fault_of_the_request() {
        let told = |class| {
            let told = not_created(RemoteRefused::Driver(Error::new(class, Doing::Open, "made up")));
            (told.code, told.field, told.remedy.is_some())
        };
        assert_eq!(told(Class::Local), (ErrorCode::Internal, None, true));
        assert_eq!(told(Class::Misconfigured), (ErrorCode::Invalid, None, true));
    }

    #[test]
    fn a_setting_that_is_wrong_has_a_remedy_of_its_own_that_is_not_in_its_message() {
        let asked = |kind: &str, path: Option<&str>| {
            let (kind, path) = (kind.to_owned(), path.map(str::to_owned));
            let request = CreateRemote { kind, path, ..CreateRemote::default() };
            let refused = not_created(Definition::asked(&request).unwrap_err());
            (refused.message, refused.remedy.unwrap())
        };
        for ((message, remedy), facts, advice) in [
            (
                asked("tape", None),
                "type 'tape': there is no such type",
                "write folder, s3, azure, gcs, webdav, rclone or faulty",
            ),
            (
                asked("folder", Some("here")),
                "path 'here': this is no absolute path",
                "write an absolute path, since the server has its own working folder",
            ),
            (
                asked("folder", None),
                "path: a remote of type folder needs it",
                "docs/remotes.md has the settings of each type",
            ),
        ] {
            assert_eq!((message.as_str(), remedy.as_str()), (facts, advice));
        }
    }
}

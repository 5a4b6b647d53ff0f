//! Folders of bundles on a remote: their names, what is in them, a new one, and their removal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use futures_util::future::try_join;
use futures_util::stream::{self, TryStreamExt as _};
use vtl_bundle::{
    MAX_MANIFEST_BYTES, Manifest, Stamp, counting, manifest_name, new_manifest_name, object_name,
};
use vtl_jobs::Failure;
use vtl_remote::{
    Checkpoint, Class, Doing, Entry, Error, Folder, Limiter, ObjectName, Remote, Span, collect,
};
use vtl_types::Label;

use crate::fail::permanent;
use crate::job::hex;

/// Objects that a listing asks for at once.
const PAGE: usize = 1000;
/// More objects than this nobody wants to see in one answer.
const MOST_LISTED: u64 = 2_000_000;
/// So many objects are deleted or abandoned at once.
const DELETED_AT_ONCE: usize = 4;
/// So many seconds on it is given up to find a free name.
const MOST_SECONDS: u64 = 600;

/// Between the label and the bundle's id in the name of a claim.
const CLAIM: &str = ".claim.";

/// The name of a bundle's folder: label, `-`, date and time in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderName {
    /// Of the cartridge.
    pub label: Label,
    /// When it was exported.
    pub created: Stamp,
}

impl fmt::Display for FolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.label, self.created)
    }
}

impl FromStr for FolderName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('-').and_then(|(label, created)| {
            Some(Self { label: label.parse().ok()?, created: created.parse().ok()? })
        });
        parts.ok_or_else(|| format!("'{text}' is no folder of an export (such as VTL001L8-20261126_031500)"))
    }
}

impl FolderName {
    /// From a request.
    pub(crate) fn asked(text: &str) -> Result<Self, Failure> {
        text.parse().map_err(|why: String| permanent("invalid", why, "see vtl export ls --remote REMOTE"))
    }

    /// As remotes know it.
    pub(crate) fn folder(&self) -> Result<Folder, Failure> {
        Folder::new(&self.to_string()).map_err(|why| permanent("invalid", why.to_string(), ""))
    }

    /// At this time.
    fn at(label: Label, unix_s: u64) -> Result<Self, Failure> {
        let no_time =
            || permanent("internal", "the clock tells no time that can be written", "set the clock");
        let seconds = i64::try_from(unix_s).map_err(|_| no_time())?;
        let time = jiff::Timestamp::from_second(seconds).map_err(|_| no_time())?;
        let text = time.strftime("%Y%m%d_%H%M%S").to_string();
        Ok(Self { label, created: text.parse().map_err(|_| no_time())? })
    }
}

/// A folder on a remote that has the name of a bundle's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: FolderName,
    /// Objects in it, the manifest too; claims are none.
    pub objects: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Whether it has a manifest. One without is an export that runs or was cut off.
    pub complete: bool,
}

/// Names that a manifest may have.
fn manifests(label: Label) -> [String; 2] {
    [new_manifest_name(label), manifest_name(label)]
}

/// What says that a folder is in use while nothing whole is in it. The bundle's id in its name makes it one that nobody else writes.
fn claim_name(label: Label, bundle: &str) -> String {
    format!("{label}{CLAIM}{bundle}")
}

fn is_claim(label: Label, object: &str) -> bool {
    object.strip_prefix(label.as_str()).is_some_and(|rest| rest.starts_with(CLAIM))
}

/// The same as objects of a folder.
fn manifest_objects(label: Label, folder: &Folder, doing: Doing) -> Result<[ObjectName; 2], Error> {
    let [new, named] = manifests(label);
    Ok([object(folder, &new, doing)?, object(folder, &named, doing)?])
}

fn object(folder: &Folder, name: &str, doing: Doing) -> Result<ObjectName, Error> {
    folder.object(name).map_err(|why| Error::new(Class::Refused, doing, why.to_string()))
}

/// The manifests that are there: the one that has the name, and the one that is to take its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifests {
    pub(crate) named: Option<Bytes>,
    pub(crate) new: Option<Bytes>,
}

impl Manifests {
    /// One after the other, the new one first.
    pub(crate) async fn fetch(
        remote: &dyn Remote,
        name: &FolderName,
        folder: &Folder,
        limiter: &Limiter,
    ) -> Result<Self, Error> {
        let [new, named] = manifest_objects(name.label, folder, Doing::Get)?;
        let new = fetch(remote, &new, limiter).await?;
        let named = fetch(remote, &named, limiter).await?;
        Ok(Self { named, new })
    }

    /// Both at once.
    async fn fetch_at_once(
        remote: &dyn Remote,
        name: &FolderName,
        folder: &Folder,
        limiter: &Limiter,
    ) -> Result<Self, Error> {
        let [new, named] = manifest_objects(name.label, folder, Doing::Get)?;
        let (new, named) = try_join(fetch(remote, &new, limiter), fetch(remote, &named, limiter)).await?;
        Ok(Self { named, new })
    }

    /// The one that counts.
    pub(crate) fn counting(self) -> Option<Bytes> {
        counting(self.named, self.new)
    }
}

async fn fetch(remote: &dyn Remote, name: &ObjectName, limiter: &Limiter) -> Result<Option<Bytes>, Error> {
    match remote.get(name, Span::whole()).await {
        Ok(stream) => collect(limiter.paced(stream), MAX_MANIFEST_BYTES).await.map(Some),
        Err(error) if error.class() == Class::NotThere => Ok(None),
        Err(error) => Err(error),
    }
}

/// The manifest of a folder that counts, as bytes; none when there is none.
///
/// # Errors
/// The remote; a manifest that is longer than any.
pub async fn manifest_of(
    remote: &dyn Remote,
    name: &FolderName,
    limiter: &Limiter,
) -> Result<Option<Bytes>, Error> {
    let folder = Folder::new(&name.to_string())
        .map_err(|why| Error::new(Class::Refused, Doing::Get, why.to_string()))?;
    let found = Manifests::fetch_at_once(remote, name, &folder, limiter).await?.counting();
    if found.is_some() {
        return Ok(found);
    }
    // A new one may just be taking the other's place: it is found when it is looked for first, or has its name by then.
    Ok(Manifests::fetch(remote, name, &folder, limiter).await?.counting())
}

/// Whether a manifest is there at this moment, asked for by its names and not by a listing. Of two looks at both names, the second one at the new one
/// first, one finds the one that is just being replaced.
pub(crate) async fn has_manifest(
    remote: &dyn Remote,
    name: &FolderName,
    folder: &Folder,
) -> Result<bool, Error> {
    let [new, named] = manifest_objects(name.label, folder, Doing::Head)?;
    let at_once = try_join(size_of(remote, &new), size_of(remote, &named)).await?;
    if at_once != (None, None) || size_of(remote, &new).await?.is_some() {
        return Ok(true);
    }
    Ok(size_of(remote, &named).await?.is_some())
}

/// The length of an object, asked for by its name and not by a listing, which may lag; none when it is not there.
pub(crate) async fn size_of(remote: &dyn Remote, name: &ObjectName) -> Result<Option<u64>, Error> {
    match remote.head(name).await {
        Ok(head) => Ok(Some(head.size)),
        Err(error) if error.class() == Class::NotThere => Ok(None),
        Err(error) => Err(error),
    }
}

/// All folders of bundles on a remote, whoever wrote them, by name.
///
/// # Errors
/// The remote cannot be listed, or has more objects than can be shown.
pub async fn found_in(remote: &dyn Remote) -> Result<Vec<Found>, Error> {
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    let nothing = |name| Found { name, objects: 0, bytes: 0, complete: false };
    // What listings hide: an export may have begun with nothing else.
    for left in remote.half_sent(&Folder::all()).await? {
        if let Some(Ok(name)) = left.folder.as_str().map(str::parse::<FolderName>) {
            found.insert(name.to_string(), nothing(name));
        }
    }
    let (mut after, mut seen) = (None, 0_u64);
    loop {
        let page = remote.list(&Folder::all(), after.as_ref(), PAGE).await?;
        for entry in &page.entries {
            let Some((folder, object)) = entry.name.as_str().split_once('/') else { continue };
            let Ok(name) = folder.parse::<FolderName>() else { continue };
            let complete = manifests(name.label).iter().any(|manifest| object == manifest);
            let is_claim = is_claim(name.label, object);
            let one = found.entry(folder.to_owned()).or_insert_with(|| nothing(name));
            if is_claim {
                continue;
            }
            one.objects += 1;
            one.bytes = one.bytes.saturating_add(entry.size);
            one.complete |= complete;
        }
        seen += page.entries.len() as u64;
        if seen > MOST_LISTED {
            let text = format!(
                "there are more than {MOST_LISTED} objects; give each remote a folder or prefix of its own"
            );
            return Err(Error::new(Class::Refused, Doing::List, text).on(remote.name()));
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(found.into_values().collect()),
        }
    }
}

/// Names and lengths of what is in a folder.
pub(crate) async fn sizes_in(remote: &dyn Remote, folder: &Folder) -> Result<BTreeMap<String, u64>, Error> {
    let (mut sizes, mut after) = (BTreeMap::new(), None);
    loop {
        let page = remote.list(folder, after.as_ref(), PAGE).await?;
        for entry in &page.entries {
            if let Some((_, object)) = entry.name.as_str().rsplit_once('/') {
                sizes.insert(object.to_owned(), entry.size);
            }
        }
        match page.next {
            Some(next) if (sizes.len() as u64) < MOST_LISTED => after = Some(next),
            _ => return Ok(sizes),
        }
    }
}

/// A name that nothing on the remote has, and nobody here has used: of this second, or of one of the next.
pub(crate) async fn free_name(
    remote: &dyn Remote,
    label: Label,
    unix_s: u64,
    used: impl Fn(&str) -> bool,
) -> Result<Result<FolderName, Failure>, Error> {
    for second in unix_s..unix_s.saturating_add(MOST_SECONDS) {
        let name = match FolderName::at(label, second) {
            Ok(name) => name,
            Err(failure) => return Ok(Err(failure)),
        };
        let folder = match name.folder() {
            Ok(folder) => folder,
            Err(failure) => return Ok(Err(failure)),
        };
        if used(&name.to_string()) {
            continue;
        }
        let page = remote.list(&folder, None, 1).await?;
        let is_empty = page.entries.is_empty() && page.foreign.is_empty();
        // Another server may have sent nothing whole yet.
        if is_empty && remote.half_sent(&folder).await?.is_empty() {
            return Ok(Ok(name));
        }
    }
    Ok(Err(permanent(
        "conflict",
        format!("no folder for {label} is free"),
        "see vtl export ls --remote REMOTE",
    )))
}

/// Claims a folder for the export of a bundle; whether it has it. Everybody writes a claim of their own first and looks for all others then: of two that
/// come at the same time at most one finds itself alone, without a remote that could create atomically. Who is not alone takes its claim back.
///
/// `sent_before`: this export has objects there already, which it sent when there were no claims. It leaves them for the claim or the manifest of
/// somebody else alone.
pub(crate) async fn claim(
    remote: &dyn Remote,
    name: &FolderName,
    folder: &Folder,
    bundle: &str,
    sent_before: bool,
) -> Result<bool, Error> {
    let own = claim_name(name.label, bundle);
    let claim = object(folder, &own, Doing::Create)?;
    match remote.create(&claim, Bytes::from(bundle.to_owned())).await {
        // Of an attempt before: nobody else's has this name.
        Err(error) if error.class() == Class::AlreadyThere => {}
        outcome => outcome?,
    }
    if is_alone(remote, name, folder, &own, sent_before).await? {
        return Ok(true);
    }
    remote.delete(&claim).await?;
    Ok(false)
}

async fn is_alone(
    remote: &dyn Remote,
    name: &FolderName,
    folder: &Folder,
    own: &str,
    sent_before: bool,
) -> Result<bool, Error> {
    let there = sizes_in(remote, folder).await?;
    let manifests = manifests(name.label);
    let may_be_ours =
        |object: &String| sent_before && !is_claim(name.label, object) && !manifests.contains(object);
    if there.keys().any(|object| object != own && !may_be_ours(object)) {
        return Ok(false);
    }
    let is_there =
        there.contains_key(own) || size_of(remote, &object(folder, own, Doing::Head)?).await?.is_some();
    // A claim that is gone again was removed with the folder: somebody is at it.
    match (is_there, sent_before) {
        (true, _) => {}
        (false, false) => return Ok(false),
        (false, true) => {
            let text = format!("the claim on folder {name} is gone at once");
            return Err(Error::new(Class::Unavailable, Doing::Head, text).on(remote.name()));
        }
    }
    // Of a server whose exports claim nothing.
    Ok(sent_before || remote.half_sent(folder).await?.is_empty())
}

/// Takes the claim of a bundle's export back.
pub(crate) async fn unclaim(
    remote: &dyn Remote,
    name: &FolderName,
    folder: &Folder,
    bundle: &str,
) -> Result<(), Error> {
    remote.delete(&object(folder, &claim_name(name.label, bundle), Doing::Delete)?).await
}

/// Removes what was half sent to a folder that nobody writes to now, also what no checkpoint was kept of.
pub(crate) async fn sweep(remote: &dyn Remote, folder: &Folder) -> Result<(), Error> {
    let mut before = Vec::new();
    loop {
        // Not all is told at once.
        let left = remote.half_sent(folder).await?;
        if left.is_empty() {
            return Ok(());
        }
        if left == before {
            let text = format!("{} unfinished files do not go; remove them by hand", left.len());
            return Err(Error::new(Class::Refused, Doing::Abandon, text).on(remote.name()));
        }
        for one in &left {
            remote.abandon(&one.checkpoint).await?;
        }
        before = left;
    }
}

/// Deletes objects, several at once and in no order; those that are not there are no error.
async fn delete_all<'a>(
    remote: &dyn Remote,
    names: impl Iterator<Item = &'a ObjectName>,
) -> Result<(), Error> {
    let names = stream::iter(names.map(Ok::<&'a ObjectName, Error>));
    names.try_for_each_concurrent(DELETED_AT_ONCE, |name| remote.delete(name)).await
}

/// What may be in a folder that is to go, whether its listing shows it or not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remains {
    /// What removes half-sent objects.
    pub(crate) half_sent: Vec<String>,
    /// No object that was ever begun has a higher number.
    pub(crate) objects: u32,
    /// Bundles whose claims may be there.
    pub(crate) bundles: Vec<String>,
    /// It has a manifest, and goes with it.
    pub(crate) complete: bool,
    /// Bundles whose manifest was about to be created, and may come late.
    pub(crate) sealed: Vec<String>,
}

impl Remains {
    /// Whether something may be there beside claims.
    pub(crate) const fn is_something(&self) -> bool {
        self.objects > 0 || !self.half_sent.is_empty() || !self.sealed.is_empty()
    }
}

/// Abandons half-sent objects, several at once.
async fn abandon_all(remote: &dyn Remote, half_sent: &[String]) -> Result<(), Error> {
    let all = stream::iter(half_sent.iter().map(Ok::<&String, Error>));
    all.try_for_each_concurrent(DELETED_AT_ONCE, |one| async move {
        remote.abandon(&Checkpoint::new(one.as_str())).await
    })
    .await
}

/// Takes claims away: those that a listing has shown, and those of these bundles that it has not. While one is there nobody chooses the folder, so it is
/// the last step of a removal.
pub(crate) async fn unclaim_all(
    remote: &dyn Remote,
    name: &FolderName,
    folder: &Folder,
    shown: &[Entry],
    bundles: &[String],
) -> Result<(), Error> {
    let mut names: BTreeSet<ObjectName> = shown.iter().map(|entry| entry.name.clone()).collect();
    for bundle in bundles {
        names.insert(object(folder, &claim_name(name.label, bundle), Doing::Delete)?);
    }
    delete_all(remote, names.iter()).await
}

/// Deletes what has the names of manifests.
pub(crate) async fn delete_manifests(
    remote: &dyn Remote,
    name: &FolderName,
    folder: &Folder,
) -> Result<(), Error> {
    let manifests = manifest_objects(name.label, folder, Doing::Delete)?;
    delete_all(remote, manifests.iter()).await
}

/// The first step of a removal: the manifest goes, so that what is left says that it is incomplete, and what was half sent.
pub(crate) async fn unseal(
    remote: &dyn Remote,
    name: &FolderName,
    folder: &Folder,
    half_sent: &[String],
) -> Result<(), Error> {
    try_join(delete_manifests(remote, name, folder), abandon_all(remote, half_sent)).await.map(drop)
}

/// What has come to a folder that is being removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Come {
    /// No manifest.
    Nothing,
    /// The manifest of a bundle that is being removed.
    Late,
    /// Somebody else's manifest: the objects are somebody's now.
    Foreign,
}

/// The step before any object goes: what no checkpoint was kept of is abandoned, and a manifest is looked for that has come meanwhile.
pub(crate) async fn look_again(
    remote: &dyn Remote,
    name: &FolderName,
    folder: &Folder,
    limiter: &Limiter,
    remains: &Remains,
) -> Result<Come, Error> {
    let come = async {
        if remains.complete || !has_manifest(remote, name, folder).await? {
            return Ok::<Come, Error>(Come::Nothing);
        }
        match is_of_these(remote, name, folder, limiter, &remains.sealed).await? {
            true => Ok(Come::Late),
            false => Ok(Come::Foreign),
        }
    };
    let ((), come) = try_join(sweep(remote, folder), come).await?;
    Ok(come)
}

/// Whether no manifest is there but those of these bundles. One that cannot be read is nobody's.
pub(crate) async fn is_of_these(
    remote: &dyn Remote,
    name: &FolderName,
    folder: &Folder,
    limiter: &Limiter,
    bundles: &[String],
) -> Result<bool, Error> {
    if bundles.is_empty() {
        return Ok(false);
    }
    let Manifests { named, new } = Manifests::fetch_at_once(remote, name, folder, limiter).await?;
    let is_one = |bytes: &Bytes| {
        Manifest::decode(bytes, None).is_ok_and(|(manifest, _)| bundles.contains(&hex(&manifest.bundle)))
    };
    Ok([named, new].iter().flatten().all(is_one))
}

/// What has gone with a folder: how many listed objects, and their bytes. Claims that were seen are there still.
#[derive(Clone, Debug)]
pub(crate) struct Removed {
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    pub(crate) claims: Vec<Entry>,
}

/// Removes the objects of a folder that has no manifest, also those up to the last number that no listing shows. Cut off at any moment it leaves a folder
/// that says that it is incomplete, and another one removes the rest.
pub(crate) async fn remove_objects(
    remote: &dyn Remote,
    name: &FolderName,
    folder: &Folder,
    last: u32,
) -> Result<Removed, Error> {
    let names = (1..=last).map(|number| object_name(name.label, number));
    let mut hidden: BTreeSet<String> = names.collect();
    let (mut objects, mut bytes) = (0_u64, 0_u64);
    loop {
        let page = remote.list(folder, None, PAGE).await?;
        let is_claim = |entry: &Entry| {
            entry.name.as_str().rsplit_once('/').is_some_and(|(_, object)| is_claim(name.label, object))
        };
        let (claims, entries): (Vec<Entry>, Vec<Entry>) = page.entries.into_iter().partition(is_claim);
        delete_all(remote, entries.iter().map(|entry| &entry.name)).await?;
        for (_, object) in entries.iter().filter_map(|entry| entry.name.as_str().rsplit_once('/')) {
            hidden.remove(object);
        }
        objects += entries.len() as u64;
        bytes += entries.iter().map(|entry| entry.size).sum::<u64>();
        if entries.is_empty() || objects > MOST_LISTED {
            let hidden = hidden.iter().map(|name| object(folder, name, Doing::Delete));
            let hidden = hidden.collect::<Result<Vec<ObjectName>, Error>>()?;
            delete_all(remote, hidden.iter()).await?;
            return Ok(Removed { objects, bytes, claims });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_named_by_label_and_time_in_utc() {
        let label: Label = "CCC001L8".parse().unwrap();
        // 2020-03-23 16:31:22 UTC.
        assert_eq!(FolderName::at(label, 1_584_981_082).unwrap().to_string(), "CCC001L8-20200323_163122");
        assert_eq!("CCC001L8-20200323_163122".parse::<FolderName>().unwrap().label, label);
        for text in [
            "",
            "CCC001L8",
            "CCC001L8-2020",
            "ccc001L8-20200323_163122",
            "CCC001L8-20200323-163122",
            "../CCC001L8-20200323_163122",
        ] {
            assert!(text.parse::<FolderName>().is_err(), "{text}");
        }
    }
}

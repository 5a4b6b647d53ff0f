//! The demonstration: a backup, its way to another place, its loss, and its return on another server.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::Result;
use super::bucket::Bucket;
use super::folder::Lab;
use super::host::{Element, Host};
use super::narrator::Narrator;
use super::sample::{self, Same};
use super::secret;
use super::server::{Programs, Server, output};

/// The tape, and what it is called when it comes back from the bucket, too.
const LABEL: &str = "LAB001L8";
const SECOND_LABEL: &str = "LAB002L8";
const KEY: &str = "lab";
const OFF_SITE: &str = "off-site";
const BUCKET: &str = "bucket";
const LIBRARY: &str = "lib0";
/// Storage elements that mtx counts before the mailslots: the slots of a new library.
const SLOTS: u16 = 24;
pub const USER: &str = "lab";

/// What is there at the end.
pub struct Told {
    pub servers: [Server; 2],
    pub same: Same,
    /// How many copies came back.
    pub copies: usize,
}

/// A place that holds the export, the label that its copy gets, and where that is restored.
struct Copy {
    remote: &'static str,
    label: &'static str,
    restored: PathBuf,
}

/// Tells all of it. What it says last before a failure is the step that failed.
pub fn tell(lab: &mut Lab, say: &mut Narrator, programs: &Programs) -> Result<Told> {
    say.step("two servers, each with a library of its own");
    let a = Server::start(lab, say, programs, "a")?;
    let b = Server::start(lab, say, programs, "b")?;

    say.step("an S3 server beside the folder, if this machine has one");
    let bucket = Bucket::start(lab, say)?;

    say.step("a key pair; the first server gets the public half: it can encrypt, and not read");
    make_key(lab, say, programs)?;
    a.choose(say);
    a.vtl(say, &["key", "import", &text(lab.path("public.pem"))?, "--name", KEY])?;

    say.step("places for exports");
    create_remotes(lab, say, &a, bucket.as_ref())?;

    say.step("a tape, in a library that exports what is put into its mailslots");
    a.vtl(say, &["cartridge", "create", LABEL, "--library", LIBRARY, "--size", "1g"])?;
    let migrate = [format!("migrate.remote={OFF_SITE}"), format!("migrate.key={KEY}")];
    a.vtl(say, &["library", "set", LIBRARY, &migrate[0], &migrate[1]])?;

    say.step("a backup, by the built-in iSCSI initiator");
    let wanted = sample::make(&lab.path("data"))?;
    let mut host = Host::login(a.portal).map_err(|error| error.to_string())?;
    back_up(lab, say, &a, &mut host)?;

    say.step("the host ejects the tape into a mailslot: MOVE MEDIUM");
    say.line(&format!("$ mtx -f CHANGER unload {} 0", SLOTS + 1));
    host.move_medium(Element::Drive(0), Element::Mailslot(1))
        .and_then(|()| host.logout())
        .map_err(|error| error.to_string())?;
    expect_place(&a, say, "vault")?;

    say.step("the export that this has begun comes to its end");
    wait_for_export(say, &a)?;
    let mut copies = vec![Copy { remote: OFF_SITE, label: LABEL, restored: lab.path("restored") }];
    if bucket.is_some() {
        a.vtl(say, &["cartridge", "export", LABEL, "--remote", BUCKET, "--key", KEY, "--wait"])?;
        copies.push(Copy { remote: BUCKET, label: SECOND_LABEL, restored: lab.path("restored-2") });
    }

    say.step("the tape is lost: removed here, with its data, at once");
    a.vtl(say, &["cartridge", "rm", LABEL, "--now", "--confirm", LABEL])?;
    expect_absent(&a, say)?;

    say.step("the second server gets the key and the places, and brings the tape back");
    b.choose(say);
    b.vtl(say, &["key", "import", &text(lab.path("key.pem"))?, "--name", KEY])?;
    create_remotes(lab, say, &b, bucket.as_ref())?;
    for copy in &copies {
        import(say, &b, copy)?;
    }

    say.step("a host of the second server restores it, and every byte is compared");
    for copy in &copies {
        restore(lab, say, &b, copy, wanted)?;
    }

    say.step("somebody to log in at the web pages");
    let password = lab.path("password");
    secret::make(&password)?;
    let password = text(password)?;
    for server in [&a, &b] {
        server.choose(say);
        let roles = ["--role", "administrator", "--role", "security-officer"];
        let words = [&["user", "add", USER], &roles[..], &["--password-file", &password]].concat();
        server.vtl(say, &words)?;
    }
    Ok(Told { servers: [a, b], same: wanted, copies: copies.len() })
}

fn make_key(lab: &Lab, say: &mut Narrator, programs: &Programs) -> Result<()> {
    let (key, public) = (text(lab.path("key.pem"))?, text(lab.path("public.pem"))?);
    for words in [&["genrsa", "-out", &key, "3072"][..], &["rsa", "-in", &key, "-pubout", "-out", &public]] {
        let mut command = Command::new(&programs.openssl);
        command.args(words);
        say.command("openssl", command.get_args());
        output(&mut command)?;
    }
    Ok(())
}

fn create_remotes(lab: &Lab, say: &mut Narrator, server: &Server, bucket: Option<&Bucket>) -> Result<()> {
    let folder = lab.path(OFF_SITE);
    std::fs::create_dir_all(&folder).map_err(|error| super::folder::about(&folder, &error))?;
    server.vtl(say, &["remote", "create", OFF_SITE, "--type", "folder", "--path", &text(folder)?])?;
    let Some(bucket) = bucket else { return Ok(()) };
    let (access, secret) = (text(bucket.access_key.clone())?, text(bucket.secret_key.clone())?);
    let what = ["remote", "create", BUCKET, "--type", "s3", "--allow-http"];
    let place = ["--endpoint", &bucket.endpoint, "--bucket", bucket.name];
    let keys = ["--access-key-file", &access, "--secret-key-file", &secret];
    server.vtl(say, &[&what[..], &place, &keys].concat()).map(drop)
}

fn back_up(lab: &Lab, say: &mut Narrator, server: &Server, host: &mut Host) -> Result<()> {
    let slot = slot_of(server, say, LABEL)?;
    say.line(&format!("$ mtx -f CHANGER load {slot} 0"));
    host.move_medium(Element::Slot(slot), Element::Drive(0)).map_err(|error| error.to_string())?;
    say.line(&format!("$ tar -b 512 -C {} -cf TAPE .", lab.path("data").display()));
    let records = host.back_up(&lab.path("data")).map_err(|error| error.to_string())?;
    say.line(&format!("{records} records of 256 KiB and a filemark are on {LABEL}"));
    Ok(())
}

/// The job that the mailslot has made.
fn wait_for_export(say: &mut Narrator, server: &Server) -> Result<()> {
    let jobs = server.vtl(say, &["job", "ls"])?;
    let mine = |job: &&Value| job["kind"] == "export" && job["label"] == LABEL;
    let job = rows(&jobs).iter().find(mine).ok_or("no job exports what is in the vault")?;
    let done = server.vtl(say, &["job", "wait", &job["id"].to_string()])?;
    say.line(&format!(
        "{} bytes were stored as {}",
        done["result"]["image_bytes"], done["result"]["stored_bytes"]
    ));
    Ok(())
}

fn import(say: &mut Narrator, server: &Server, copy: &Copy) -> Result<()> {
    let exports = server.vtl(say, &["export", "ls", "--remote", copy.remote])?;
    let mine = |row: &&Value| row["label"] == LABEL && row["complete"] == true;
    let folder = rows(&exports).iter().find(mine).and_then(|row| row["folder"].as_str());
    let folder = folder.ok_or_else(|| format!("{} has no export of {LABEL}", copy.remote))?;
    let from = ["cartridge", "import", "--remote", copy.remote, "--folder", folder];
    server.vtl(say, &[&from[..], &["--as", copy.label, "--wait"]].concat())?;
    server.vtl(say, &["vault", "load", copy.label, "--library", LIBRARY]).map(drop)
}

fn restore(lab: &Lab, say: &mut Narrator, server: &Server, copy: &Copy, wanted: Same) -> Result<()> {
    let slot = slot_of(server, say, copy.label)?;
    let failed = |error: std::io::Error| error.to_string();
    let (home, drive) = (Element::Slot(slot), Element::Drive(0));
    say.line(&format!("$ mtx -f CHANGER load {slot} 0"));
    let mut host = Host::login(server.portal).map_err(failed)?;
    host.move_medium(home, drive).map_err(failed)?;
    let (data, restored) = (lab.path("data"), &copy.restored);
    say.line(&format!("$ mkdir {0} && tar -b 512 -C {0} -xf TAPE", restored.display()));
    host.restore(restored).map_err(failed)?;
    say.line(&format!("$ mtx -f CHANGER unload {slot} 0"));
    host.move_medium(drive, home).and_then(|()| host.logout()).map_err(failed)?;
    say.line(&format!("$ diff -r {} {}", data.display(), restored.display()));
    let same = sample::compare(&data, restored)?;
    if same != wanted {
        return Err(format!("{same:?} came back of {wanted:?}"));
    }
    say.line(&format!("{} files, {} bytes: the same", same.files, same.bytes));
    Ok(())
}

fn slot_of(server: &Server, say: &mut Narrator, label: &str) -> Result<u16> {
    let shown = server.vtl(say, &["cartridge", "show", label])?;
    let number = shown["place"]["number"].as_u64().and_then(|number| u16::try_from(number).ok());
    number.filter(|_| shown["place"]["kind"] == "slot").ok_or_else(|| format!("{label} is in no slot"))
}

fn expect_place(server: &Server, say: &mut Narrator, kind: &str) -> Result<()> {
    let shown = server.vtl(say, &["cartridge", "show", LABEL])?;
    let place = &shown["place"]["kind"];
    if place == kind {
        say.line(&format!("{LABEL} is in the {kind}"));
        return Ok(());
    }
    Err(format!("{LABEL} should be in the {kind} and is in {place}"))
}

fn expect_absent(server: &Server, say: &mut Narrator) -> Result<()> {
    let all = server.vtl(say, &["cartridge", "ls"])?;
    if rows(&all).iter().any(|row| row["label"] == LABEL) {
        return Err(format!("{LABEL} is still there"));
    }
    say.line(&format!("{LABEL} is no more on the first server"));
    Ok(())
}

fn rows(answer: &Value) -> &[Value] {
    answer.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(path: PathBuf) -> Result<String> {
    path.into_os_string()
        .into_string()
        .map_err(|path| format!("the lab's folder {} must have a name in UTF-8", path.to_string_lossy()))
}

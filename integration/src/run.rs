//! Runs one case: network, server, guests; then answers what the scripts ask until all of them have ended.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::case::{Case, Place, Root, ServerKind};
use crate::company::Company;
use crate::debian;
use crate::guest::{Answer, Ask, Guest, Plan};
use crate::net::Network;
use crate::page::Page;
use crate::process::Running;
use crate::server::{NoServer, Server, Tgt, Vtld};
use crate::store_kind::StoreKind;
use crate::sweep::RunDir;
use crate::vtld_guest::{VtldInGuest, make_disk};
use crate::{Result, Trouble, bin_dir, checkout, here, log, long};

/// How often requests are looked for.
const POLL: Duration = Duration::from_millis(20);
/// The exit status by which a script says that it was skipped, with a line `SKIP: reason`.
const SKIPPED: i32 = 77;

/// How a case ended, when nothing went wrong with it.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything held.
    Passed,
    /// Not run, and why.
    Skipped(String),
}

/// Runs `case` to its end. Whatever the outcome, nothing of it is left running.
pub fn run(case: &Case) -> Result<Verdict> {
    let dir = RunDir::new(&case.name)?;
    let guests = case.scripts().count();
    // The last tap is for a server that is a guest itself.
    let net = Rc::new(Network::new(guests + 1)?);
    let args = [case.args.as_slice(), StoreKind::from_env()?.args()].concat();
    let mut server = make_server(case, &args, &net, dir.path(), guests);
    let mut company = Company::new(&net, dir.path(), &args)?;
    server.start()?;
    let limit = if long() { case.long_limit } else { case.limit };
    let verdict = match case.place {
        Place::Guest => in_guests(case, &net, dir.path(), server.as_mut(), &mut company, limit),
        Place::Host => on_host(case, &net, dir.path(), server.as_mut(), limit),
    }?;
    company.end()?;
    server.check_alive()?;
    server.stop()?;
    Ok(verdict)
}

fn make_server(
    case: &Case,
    args: &[String],
    net: &Rc<Network>,
    dir: &Path,
    guest_number: usize,
) -> Box<dyn Server> {
    let dir = dir.join("server");
    match case.server {
        ServerKind::Vtld => Box::new(Vtld::new(net, &dir, args)),
        ServerKind::VtldInGuest => Box::new(VtldInGuest::new(net, &dir, args, guest_number)),
        ServerKind::Tgt => Box::new(Tgt::new(net, &dir)),
        ServerKind::None => Box::new(NoServer),
    }
}

fn variables(server: &dyn Server) -> Vec<(String, String)> {
    [
        ("PORTAL", server.portal()),
        ("TARGET", server.target().to_owned()),
        ("TAPES", server.drives().to_string()),
        ("LONG", u8::from(long()).to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .to_vec()
}

fn on_host(
    case: &Case,
    net: &Network,
    dir: &Path,
    server: &mut dyn Server,
    limit: Duration,
) -> Result<Verdict> {
    let mut command = net.command("bash");
    command.arg(&case.script).current_dir(dir).env("DATA", here().join("data"));
    command.env("BIN", bin_dir()).env("LIB", here().join("guest/check.sh")).envs(variables(server));
    let mut running = Running::start("host", &mut command)?;
    let status = running.wait(limit)?;
    running.kill();
    verdict(status.code().unwrap_or(-1), &running.lines(), "script")
}

/// A guest with the verdict it ended with.
struct Seat {
    name: String,
    number: usize,
    guest: Guest,
    verdict: Option<Verdict>,
}

fn in_guests(
    case: &Case,
    net: &Network,
    dir: &Path,
    server: &mut dyn Server,
    company: &mut Company,
    limit: Duration,
) -> Result<Verdict> {
    let end = Instant::now() + limit;
    let mut seats = Vec::new();
    for (number, script) in case.scripts().enumerate() {
        seats.push(boot(number, script, case, net, dir, server, company.folder())?);
    }
    let mut signals = BTreeSet::new();
    while seats.iter().any(|seat| seat.verdict.is_none()) {
        if Instant::now() >= end {
            return Err(Trouble(format!("not done after {} s", limit.as_secs())));
        }
        for seat in seats.iter_mut().filter(|seat| seat.verdict.is_none()) {
            for ask in seat.guest.asks() {
                let answer =
                    company.reply(&ask.words).or_else(|| reply(&ask, server, &mut signals, net, seat.number));
                if let Some(answer) = answer {
                    seat.guest.answer(&ask, &answer)?;
                }
            }
            if let Some(status) = seat.guest.ended().map_err(|t| Trouble(format!("{}: {t}", seat.name)))? {
                seat.verdict = Some(verdict(status, &seat.guest.console(), &seat.name)?);
            }
        }
        sleep(POLL);
    }
    Ok(seats
        .into_iter()
        .filter_map(|seat| seat.verdict)
        .find(|v| *v != Verdict::Passed)
        .unwrap_or(Verdict::Passed))
}

fn boot(
    number: usize,
    script: &Path,
    case: &Case,
    net: &Network,
    dir: &Path,
    server: &dyn Server,
    folder: &Path,
) -> Result<Seat> {
    let name = format!("guest{number}");
    let share = dir.join(&name);
    let mut env = variables(server);
    env.push(("INITIATOR".to_owned(), format!("iqn.2026-11.internal.vtl-test:{name}")));
    env.push(("WORK_ON_HOST".to_owned(), folder.display().to_string()));
    env.push(("SHARE_ON_HOST".to_owned(), share.display().to_string()));
    env.push(("BIN".to_owned(), bin_dir().display().to_string()));
    env.push(("CHECKOUT".to_owned(), checkout().display().to_string()));
    let disk = dir.join(format!("{name}.ext4"));
    let has_disk = case.server == ServerKind::None;
    if has_disk {
        make_disk(&disk)?;
    }
    let root = match case.root {
        Root::Host => None,
        Root::Debian => Some(fresh_debian(&dir.join(format!("{name}.root")), &case.pages)?),
    };
    let plan = Plan {
        name: &name,
        number,
        root: root.as_deref(),
        share: &share,
        job: script,
        env: &env,
        pages: &case.pages,
        disk: has_disk.then_some(disk.as_path()),
    };
    let guest = Guest::boot(net, &plan)?;
    Ok(Seat { name, number, guest, verdict: None })
}

/// A Debian with what these pages want to be installed, and our package in the folder of root, where they find it.
fn fresh_debian(root: &Path, pages: &[String]) -> Result<PathBuf> {
    let pages = pages.iter().map(|page| Page::of_docs(page)).collect::<Result<Vec<_>>>()?;
    let wanted = pages.iter().flat_map(|page| page.packages.iter().map(String::as_str));
    let packages: Vec<&str> = debian::MACHINE.iter().copied().chain(wanted).collect();
    debian::fresh(root, &packages)?;
    let package = debian::package()?;
    std::fs::copy(package, root.join("root").join(package.file_name().unwrap_or_default()))
        .map_err(Trouble::with(package.display().to_string()))?;
    Ok(root.to_owned())
}

fn verdict(status: i32, lines: &[String], who: &str) -> Result<Verdict> {
    match status {
        0 => Ok(Verdict::Passed),
        SKIPPED => {
            let reason = lines.iter().rev().find_map(|line| line.strip_prefix("SKIP: "));
            reason
                .map(|reason| Verdict::Skipped(reason.to_owned()))
                .ok_or_else(|| Trouble(format!("{who} was skipped without a reason")))
        }
        _ => {
            let why = lines.iter().rev().find(|line| line.starts_with("FAILED: ")).map_or("", String::as_str);
            Err(Trouble(format!("{who} ended with status {status} {why}")))
        }
    }
}

/// Does what a script asks; `None` when the answer is not known yet.
fn reply(
    ask: &Ask,
    server: &mut dyn Server,
    signals: &mut BTreeSet<String>,
    net: &Network,
    guest: usize,
) -> Option<Answer> {
    let words: Vec<&str> = ask.words.iter().map(String::as_str).collect();
    log::line("ask", &words.join(" "));
    match words.as_slice() {
        ["server", "kill"] => {
            server.kill();
            Some(done(Ok(())))
        }
        ["server", "stop"] => Some(done(server.stop())),
        ["server", "start"] => Some(done(server.start())),
        ["server", "restart"] => Some(done(server.stop().and_then(|()| server.start()))),
        ["net", state @ ("down" | "up")] => Some(done(net.set_tap(guest, state))),
        ["impexp", ..] => Some(server.job_list(ask.words.get(1..).unwrap_or_default())),
        ["vtl", ..] => Some(server.client(ask.words.get(1..).unwrap_or_default())),
        ["signal", name] => {
            signals.insert((*name).to_owned());
            Some(done(Ok(())))
        }
        ["await", name] => signals.contains(*name).then(|| done(Ok(()))),
        _ => Some(Answer { status: 2, text: format!("nobody here understands: {}", words.join(" ")) }),
    }
}

fn done(result: Result<()>) -> Answer {
    match result {
        Ok(()) => Answer { status: 0, text: String::new() },
        Err(trouble) => Answer { status: 1, text: trouble.0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_skip_needs_its_reason() {
        let skipped = verdict(77, &lines("a\nSKIP: no such tool\n"), "g").expect("skip");
        assert_eq!(skipped, Verdict::Skipped("no such tool".to_owned()));
        assert!(verdict(77, &lines("a"), "g").is_err());
    }

    #[test]
    fn any_other_status_is_a_failure_with_the_scripts_words() {
        let trouble =
            verdict(1, &lines("FAILED: position: wanted '1 0', got '0 0'\nmore"), "g").expect_err("fails");
        assert!(trouble.0.contains("wanted '1 0'"), "{trouble}");
    }
}

//! The daemon: sockets, threads and adapters around the crates that know tapes, libraries, iSCSI and the store.
//!
//! Start: configuration, state folder (which gives up its ballast when there is no space), store (which recovers), inventory, halves finished, libraries, listeners, `ready`.
//! Stop: no new connections, sessions closed, jobs at a safe point, drives unloaded, so that everything is durable; a collection ends on the way.

mod access;
mod alerts;
mod api;
pub mod args;
mod ballast;
mod clock;
mod collect;
mod connection;
mod daemon;
mod drive;
mod eject;
mod events;
mod exports;
mod formats;
mod given_name;
mod given_up;
mod history;
mod hook;
mod in_flight;
mod ingest;
mod inventory;
mod jobs;
mod keeper;
mod kept;
mod keys;
mod lazy;
mod library;
mod library_settings;
mod listeners;
mod lobby;
mod log;
mod media;
mod meta;
mod metrics;
mod own_files;
mod policies;
mod pools;
mod portal;
mod random;
mod remotes;
mod retention_clock;
mod room;
mod scrub;
mod sealing;
mod service_manager;
mod sessions;
mod spares;
mod state;
mod survey;
mod take_in;
mod tape_device;
mod tape_map;
mod target;
mod tls;
mod trash;
mod unit;
mod used;
mod web;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info};
use vtl_conf::{ConfErrors, Config, Surroundings};

use crate::args::Args;
use crate::daemon::Daemon;
use crate::keeper::Keeper;
use crate::listeners::Wanted;
use crate::state::StateFolder;

/// How long sessions get to end before the drives are unloaded under them.
pub(crate) const SESSIONS_END: Duration = Duration::from_secs(5);

/// How often the daemon looks whether there is room for the ballast again.
const BALLAST_LOOK: Duration = Duration::from_secs(60);

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// What stops the start, in words for the operator.
pub fn run(args: &Args) -> Result<(), String> {
    let config = load(args).map_err(|errors| errors.to_string())?;
    log::start(&config.log);
    allow_descriptors();
    let state = StateFolder::open(&config.state).map_err(|e| e.to_string())?;
    tls::use_one_provider();
    let daemon = Daemon::open(args.clone(), config, state)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("vtld-net")
        .build()
        .map_err(|e| format!("cannot start: {e}"))?;
    daemon.remotes.use_runtime(runtime.handle().clone());
    let pools = daemon.pools.open_ones();
    pools.iter().try_for_each(survey::Survey::start)?;
    pools.iter().try_for_each(|pool| Keeper::start(&daemon, pool))?;
    jobs::Jobs::open(&daemon);
    pools.iter().try_for_each(|pool| scrub::Scrub::start(&daemon, pool))?;
    drop(pools);
    daemon.jobs.start()?;
    policies::Policies::start(&daemon)?;
    alerts::Alerts::start(&daemon)?;
    let served = runtime.block_on(serve(&daemon));
    daemon.stop();
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

pub use sealing::rest::unseal;

/// What versions of formats lie in the state, for people; fails when a start would refuse them.
///
/// # Errors
/// They cannot be read, or a start would refuse them.
pub fn upgrade_plan(args: &Args) -> Result<String, String> {
    let rows = formats::found(&load(args).map_err(|errors| errors.to_string())?)?;
    let table = formats::table(&rows);
    if formats::is_refused(&rows) { Err(table) } else { Ok(table) }
}

/// That a start would take the configuration, with its certificate and its listeners in front of the targets that there are, and what a glance shows of
/// the state, also while another version serves it.
///
/// # Errors
/// What is wrong with the configuration; what is newer than this program; what cannot be read.
pub fn check(args: &Args) -> Result<String, String> {
    let config = load(args).map_err(|e| e.to_string())?;
    let refused = formats::refused_at_a_glance(&config)?;
    if !refused.is_empty() {
        return Err(formats::table(&refused));
    }
    tls::look(config.api.tls.as_ref())?;
    portal::check_doors(&config)?;
    Ok("the configuration is right; nothing that a glance shows of the state is newer".to_owned())
}

/// The configuration as file and command line say it.
pub(crate) fn load(args: &Args) -> Result<Config, ConfErrors> {
    load_from(args.config.as_deref(), args)
}

/// The same with this file.
pub(crate) fn load_from(file: Option<&Path>, args: &Args) -> Result<Config, ConfErrors> {
    let root = rustix::process::geteuid().is_root();
    vtl_conf::load(file, &args.assignments()?, &Surroundings::of_process(root))
}

/// A connection is a descriptor. The system's soft limit is for programs that use `select`; ours is the hard one.
fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        info!(%error, "the limit of open files stays as it is");
    }
}

async fn serve(daemon: &Arc<Daemon>) -> Result<(), String> {
    // Before anybody hears that we are ready: a signal that comes then must find its handler.
    let signals = Signals::handled()?;
    let config = daemon.config();
    let listeners = portal::bind(&config.iscsi.listen).await?;
    let api = TcpListener::bind(config.api.listen).await.map_err(|e| {
        format!("api.listen: cannot listen on {}: {e}; is another vtld running?", config.api.listen)
    })?;
    for listener in listeners {
        daemon
            .listeners()
            .open(listener, Wanted::Configured, daemon.sessions())
            .map_err(|e| format!("iscsi.listen: {e}"))?;
    }
    daemon.open_remembered().await?;
    daemon.note_started();
    let mut tasks = Vec::new();
    let api_address = api.local_addr().map_err(|e| e.to_string())?;
    tasks.push(tokio::spawn(api::serve(api, daemon.clone())));
    tasks.push(tokio::spawn(keep_ballast(daemon.clone())));
    tasks.push(tokio::spawn(keep_history(daemon.clone())));
    tasks.push(tokio::spawn(jobs::tell_progress(daemon.clone())));
    print_ready(&daemon.welcome(api_address));
    if let Err(error) = service_manager::tell_ready() {
        error!(%error, "the service manager does not hear that the server is ready");
    }
    signals.wait(daemon).await;
    daemon.listeners().close_all();
    for task in tasks {
        task.abort();
    }
    daemon.sessions().close_all();
    daemon.sessions().ended(SESSIONS_END).await;
    Ok(())
}

/// Space for a start on a full file system is kept again as soon as there is room for it.
async fn keep_ballast(daemon: Arc<Daemon>) {
    loop {
        tokio::time::sleep(BALLAST_LOOK).await;
        let daemon = daemon.clone();
        if let Err(failed) =
            tokio::task::spawn_blocking(move || daemon.ballast().fill_if_there_is_room()).await
        {
            error!(%failed, "the look at the free space failed");
        }
    }
}

/// How full the store is, for plots.
async fn keep_history(daemon: Arc<Daemon>) {
    let mut due = tokio::time::interval(Duration::from_secs(history::EVERY_S));
    loop {
        due.tick().await;
        let daemon = daemon.clone();
        if let Err(failed) = tokio::task::spawn_blocking(move || daemon.note_sample()).await {
            error!(%failed, "the look at the store failed");
        }
    }
}

fn print_ready(welcome: &str) {
    let mut out = std::io::stdout().lock();
    // A closed standard output is no reason not to serve.
    if let Err(error) = writeln!(out, "{welcome}").and_then(|()| out.flush()) {
        info!(%error, "the welcome could not be printed");
    }
}

/// What the operator says to the process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
}

impl Signals {
    /// From now on they are ours; one that comes before [`Signals::wait`] is kept.
    fn handled() -> Result<Self, String> {
        let handler = |kind| signal(kind).map_err(|e| format!("cannot handle signals: {e}"));
        Ok(Self {
            terminate: handler(SignalKind::terminate())?,
            interrupt: handler(SignalKind::interrupt())?,
            reload: handler(SignalKind::hangup())?,
        })
    }

    /// Reloads when that is asked for; returns when the end is.
    async fn wait(mut self, daemon: &Arc<Daemon>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                _ = self.reload.recv() => {
                    let daemon = daemon.clone();
                    match tokio::task::spawn_blocking(move || daemon.reload()).await {
                        Ok(Ok(message)) => info!("{message}"),
                        Ok(Err(refused)) => error!(message = refused.advised(), "the configuration stays as it was"),
                        Err(failed) => error!(%failed, "reload failed"),
                    }
                }
            }
        }
        info!("stopping");
    }
}

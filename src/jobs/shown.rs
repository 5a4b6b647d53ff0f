//! Jobs as the API tells them, and its requests about them.

use vtl_api::{ApiError, ErrorCode, JobDetail, JobEvent, JobInfo, JobPlan, JobTask, JobsCleared};
use vtl_auth::Permission;
use vtl_jobs::{Job, JobError, JobId, Manager, Select, Shown, State};
use vtl_migrate::{EXPORT, ExportRequest, PRUNE, REWRAP};
use vtl_types::Label;

use super::{not_done, refusal};
use crate::access::rules::Granted;
use crate::clock::rfc3339;
use crate::daemon::{Daemon, invalid, lock};

impl Daemon {
    /// Some jobs of all.
    pub(crate) fn job_select(&self, asked: &Select) -> Result<Vec<JobInfo>, ApiError> {
        let found = self.jobs.manager()?.select(asked).map_err(|error| not_done(None, &error))?;
        Ok(found.into_iter().map(|shown| self.counted(info(shown))).collect())
    }

    /// With the objects that an export has confirmed so far.
    fn counted(&self, job: JobInfo) -> JobInfo {
        let (Some(remote), Some(folder), None) = (&job.remote, &job.folder, job.objects) else { return job };
        if job.kind != vtl_migrate::EXPORT {
            return job;
        }
        let objects = self.meta.read(|tx| Ok(vtl_migrate::confirmed(tx, remote, folder)?)).ok();
        JobInfo { objects, ..job }
    }

    /// One job with its parts and its log.
    pub(crate) fn job_show(&self, id: &str) -> Result<JobDetail, ApiError> {
        self.on_job(id, Manager::show)
    }

    /// Cancels a job.
    pub(crate) fn job_cancel(&self, id: &str) -> Result<JobDetail, ApiError> {
        self.on_job(id, Manager::cancel)
    }

    /// Pauses a job.
    pub(crate) fn job_pause(&self, id: &str) -> Result<JobDetail, ApiError> {
        self.on_job(id, Manager::pause)
    }

    /// Lets a job go on.
    pub(crate) fn job_resume(&self, id: &str) -> Result<JobDetail, ApiError> {
        self.on_job(id, Manager::resume)
    }

    /// Tries a job again.
    pub(crate) fn job_retry(&self, id: &str, granted: &Granted) -> Result<JobDetail, ApiError> {
        // What changes settings and remotes comes before, or after, and finds the job.
        let _one_at_a_time = lock(&self.changes);
        match granted.covers(self.need_to_do_again(id)?) {
            Ok(()) => self.on_job(id, Manager::retry),
            // Nothing is done again: it goes on a little sooner than by itself.
            Err(_) if self.waits(id)? => self.on_job(id, Manager::end_pause),
            Err(refused) => Err(refused),
        }
    }

    /// What a retry needs beside `operate`: nothing, for a job that goes on by itself.
    pub(crate) fn need_of_retry(&self, id: &str) -> Result<Option<Permission>, ApiError> {
        if self.waits(id)? { Ok(None) } else { self.need_to_do_again(id) }
    }

    /// Whether a job waits for its time.
    fn waits(&self, id: &str) -> Result<bool, ApiError> {
        Ok(self.job_of(id)?.is_some_and(|job| job.state == State::Queued))
    }

    /// None: there is none of this number, which is told by the request itself.
    fn job_of(&self, id: &str) -> Result<Option<Job>, ApiError> {
        let Ok(id) = id.parse::<JobId>() else { return Ok(None) };
        match self.jobs.manager()?.show(id) {
            Ok(shown) => Ok(Some(shown.job)),
            Err(JobError::Unknown(_)) => Ok(None),
            Err(error) => Err(not_done(Some(id), &error)),
        }
    }

    /// What a job needs beside `operate` to be done again: what it took to ask for it, by its own request and the settings of
    /// now. It was granted once, and remotes and keys may have other content under the same name since.
    fn need_to_do_again(&self, id: &str) -> Result<Option<Permission>, ApiError> {
        let Some(job) = self.job_of(id)? else { return Ok(None) };
        Ok(match job.kind.as_str() {
            PRUNE => Some(Permission::Destroy),
            REWRAP => Some(Permission::ExportKeys),
            EXPORT => self.would_delete_by(&job)?.then_some(Permission::Destroy),
            _ => None,
        })
    }

    /// Whether an export deletes its cartridge where the settings of now do not, or for another copy. What cannot be read, or
    /// is of a library that is not there, is taken for one that does.
    fn would_delete_by(&self, job: &Job) -> Result<bool, ApiError> {
        let Ok(request) = serde_json::from_str::<ExportRequest>(&job.request) else { return Ok(true) };
        if request.delete_after_export == Some(false) {
            return Ok(false);
        }
        let label =
            job.label.as_ref().or(request.label.as_ref()).and_then(|label| label.parse::<Label>().ok());
        let Some(label) = label else { return Ok(true) };
        let library = match &request.library {
            Some(name) => name.parse().ok(),
            None => self.meta.read(|tx| vtl_library::cartridge(tx, label)).ok().and_then(|one| one.library),
        };
        match self.settings_for(library.as_ref()) {
            Ok(settings) => {
                let now = settings.request(label, None);
                let is_the_same = now.delete_after_export == Some(true)
                    && (now.remote, now.key) == (request.remote, request.key);
                Ok(!is_the_same)
            }
            Err(error) if error.code == ErrorCode::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Forgets jobs that have ended.
    pub(crate) fn job_clear(&self) -> Result<JobsCleared, ApiError> {
        let removed = self.jobs.manager()?.clear().map_err(|error| not_done(None, &error))?;
        Ok(JobsCleared { removed })
    }

    /// What a job would do.
    pub(crate) fn job_plan(&self, kind: &str, request: &str) -> Result<JobPlan, ApiError> {
        let planned = self.jobs.manager()?.plan(kind, request).map_err(|error| not_done(None, &error))?;
        let plan = planned.map_err(|failure| {
            let vtl_jobs::Failure { code, message, remedy, .. } = failure;
            refusal(&vtl_jobs::Trouble { code, message, remedy })
        })?;
        let task = |task: vtl_jobs::PlannedTask| JobTask {
            name: task.name,
            state: "planned".to_owned(),
            done_bytes: 0,
            total_bytes: task.bytes,
        };
        Ok(JobPlan {
            kind: kind.to_owned(),
            tasks: plan.tasks.into_iter().map(task).collect(),
            notes: plan.notes,
        })
    }

    fn on_job(
        &self,
        id: &str,
        ask: impl Fn(&Manager, JobId) -> Result<Shown, JobError>,
    ) -> Result<JobDetail, ApiError> {
        let id: JobId = id.parse().map_err(|why| invalid(why, "see vtl job ls for the numbers"))?;
        let manager = self.jobs.manager()?;
        let shown = ask(manager, id).map_err(|error| not_done(Some(id), &error))?;
        let (tasks, log) = manager.detail(shown.job.id).map_err(|error| not_done(Some(id), &error))?;
        let task = |task: vtl_jobs::TaskRow| JobTask {
            name: task.name,
            state: task.state.word().to_owned(),
            done_bytes: task.done_bytes,
            total_bytes: task.total_bytes,
        };
        let event = |entry: vtl_jobs::LogEntry| JobEvent {
            at: rfc3339(entry.at_s),
            event: entry.event,
            text: entry.text,
        };
        let (request, result) = (shown.job.request.clone(), shown.job.result.clone());
        Ok(JobDetail {
            info: self.counted(info(shown)),
            request: json(&request),
            result: result.as_deref().map(json),
            tasks: tasks.into_iter().map(task).collect(),
            events: log.into_iter().map(event).collect(),
        })
    }
}

/// What engines write is JSON; what is not is told as text.
fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|_| serde_json::Value::String(text.to_owned()))
}

pub(crate) fn info(shown: Shown) -> JobInfo {
    let Shown { job, rate, left_s } = shown;
    let place = vtl_migrate::Whereabouts::of(&job.request, &job.checkpoint, job.result.as_deref());
    let (error, remedy) = job.trouble.map_or((None, None), |one| (Some(one.message), one.remedy));
    JobInfo {
        id: job.id.0,
        kind: job.kind,
        label: job.label,
        state: job.state.word().to_owned(),
        done_bytes: job.done_bytes,
        total_bytes: job.total_bytes,
        attempts: job.attempts,
        error,
        remedy,
        priority: job.priority.word().to_owned(),
        created: rfc3339(job.created_s),
        started: job.started_s.map(rfc3339),
        finished: job.finished_s.map(rfc3339),
        next_attempt: (job.not_before_s > 0).then(|| rfc3339(job.not_before_s)),
        bytes_per_s: rate,
        left_s,
        remote: place.remote,
        folder: place.folder,
        objects: place.objects,
        skipped: place.skipped,
    }
}

//! Requests about jobs.

use axum::http::Method;
use vtl_api::{ApiError, JobInfo, JobOrder, JobState, ListJobs};
use vtl_jobs::Select;

use super::page::{Cursor, Page, Wanted};
use super::route::{Nothing, Route, change_as_granted, delete, get, list, post};
use crate::daemon::Daemon;

pub(super) fn routes() -> Vec<Route> {
    vec![
        list("/jobs", "All jobs", |d, (), q: ListJobs| d.job_page(&q)),
        delete("/jobs", "Forget jobs that have ended", |d, (), _: Nothing| d.job_clear()),
        get("/jobs/{id}", "One job with its parts and its log", |d, i: String, _: Nothing| d.job_show(&i)),
        post("/jobs/{id}/cancel", "Cancel a job", |d, i: String, _: Nothing| d.job_cancel(&i)),
        post("/jobs/{id}/pause", "Pause a job", |d, i: String, _: Nothing| d.job_pause(&i)),
        post("/jobs/{id}/resume", "Let a job go on", |d, i: String, _: Nothing| d.job_resume(&i)),
        change_as_granted(
            Method::POST,
            "/jobs/{id}/retry",
            "Try a job again",
            |d, i: String, _: Nothing, granted| d.job_retry(&i, granted),
        ),
    ]
}

impl Daemon {
    /// A page of jobs; only its rows are read.
    fn job_page(&self, asked: &ListJobs) -> Result<Page<JobInfo>, ApiError> {
        let sort = asked.sort.unwrap_or_default();
        let wanted = Wanted::of(asked.limit, asked.cursor.as_deref(), sort.word())?;
        let select = Select {
            state: asked.state.map(JobState::word),
            kind: asked.kind.clone(),
            label: asked.label.clone(),
            down: sort == JobOrder::IdDown,
            after: wanted.after.and_then(|after| after.key.parse().ok()),
            most: Some(wanted.most + 1),
        };
        let mut rows = self.job_select(&select)?;
        if rows.len() <= wanted.most {
            return Ok(Page { rows, next: None });
        }
        rows.truncate(wanted.most);
        let cursor = |key| Cursor { sort: sort.word().to_owned(), value: 0, key };
        let next = rows.last().map(|last| cursor(last.id.to_string()));
        Ok(Page { rows, next })
    }
}

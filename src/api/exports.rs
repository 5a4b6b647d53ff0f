//! Requests about exports, imports, and what lies on remotes.

use axum::http::Method;
use vtl_api::{
    ApiError, ExportCartridge, ExportFolder, FetchExport, ImportCartridge, IngestCartridge, JobDetail,
    ListExports, OneExport, PruneExports, RewrapExport, VerifyExport,
};

use super::Planned;
use super::page::{Page, Wanted};
use super::route::{Route, change_as_granted, get, list, post};
use crate::daemon::Daemon;

pub(super) fn routes() -> Vec<Route> {
    vec![
        change_as_granted(
            Method::POST,
            "/cartridges/{label}/export",
            "Export a cartridge",
            |d, l: String, b: ExportCartridge, granted| d.cartridge_export(&l, &b, granted),
        )
        .answers::<Planned<JobDetail>>()
        .makes_job()
        .plans_at_a_remote(),
        post("/imports", "Import a cartridge", |d, (), b: ImportCartridge| d.cartridge_import(&b))
            .answers::<Planned<JobDetail>>()
            .makes_job()
            .plans_at_a_remote(),
        post("/ingests", "Take a tape of a device in", |d, (), b: IngestCartridge| d.cartridge_ingest(&b))
            .answers::<Planned<JobDetail>>()
            .makes_job(),
        list("/exports", "Exports on a remote", |d, (), q: ListExports| d.export_page(&q)).asks_a_remote(),
        get("/exports/show", "What the manifest of an export says", |d, (), q: OneExport| {
            d.export_show(&q.remote, &q.folder)
        })
        .asks_a_remote(),
        post("/exports/fetch", "Copy an export to a folder", |d, (), b: FetchExport| d.export_fetch(&b))
            .answers::<Planned<JobDetail>>()
            .makes_job()
            .plans_at_a_remote(),
        post("/exports/rewrap", "Encrypt an export for other keys", |d, (), b: RewrapExport| {
            d.export_rewrap(&b)
        })
        .answers::<Planned<JobDetail>>()
        .makes_job()
        .plans_at_a_remote(),
        post("/exports/verify", "Verify an export", |d, (), b: VerifyExport| d.export_verify(&b))
            .answers::<Planned<JobDetail>>()
            .makes_job()
            .plans_at_a_remote(),
        post("/exports/prune", "Remove exports", |d, (), b: PruneExports| d.export_prune(&b))
            .answers::<Planned<JobDetail>>()
            .makes_job()
            .plans_at_a_remote(),
    ]
}

impl Daemon {
    fn export_page(&self, asked: &ListExports) -> Result<Page<ExportFolder>, ApiError> {
        let wanted = Wanted::of(asked.limit, asked.cursor.as_deref(), "folder")?;
        Ok(wanted.cut(self.export_list(&asked.remote)?, "folder", |row| row.folder.clone()))
    }
}

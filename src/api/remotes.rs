//! Requests about remotes.

use vtl_api::{CreateRemote, ListObjects};

use super::route::{Nothing, Route, delete, get, post};

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/remotes", "All remotes", |d, (), _: Nothing| d.remote_list()),
        post("/remotes", "Define a remote", |d, (), b: CreateRemote| d.remote_create(&b)),
        get("/remotes/{name}", "One remote with its settings", |d, n: String, _: Nothing| d.remote_show(&n)),
        delete("/remotes/{name}", "Forget a remote", |d, n: String, _: Nothing| d.remote_remove(&n)),
        get("/remotes/{name}/objects", "What lies on a remote", |d, n: String, q: ListObjects| {
            d.remote_objects(&n, q.folder.as_deref(), q.after.as_deref())
        })
        .is_far(),
        post("/remotes/{name}/test", "Try a remote out", |d, n: String, _: Nothing| d.remote_test(&n))
            .is_far(),
    ]
}

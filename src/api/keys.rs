//! Requests about keys of exports, and about programs of the site.

use vtl_api::{CreateKey, ImportKey, RemoveKey};

use super::route::{Nothing, Route, delete, get, post};

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/keys", "All keys, without what is secret", |d, (), _: Nothing| d.key_list()),
        post("/keys", "Keep a key that is in a file", |d, (), b: ImportKey| d.key_import(&b)),
        post("/keys/{name}", "Make a key that signs", |d, n: String, b: CreateKey| d.key_create(&n, &b)),
        delete("/keys/{name}", "Forget a key", |d, n: String, b: RemoveKey| d.key_remove(&n, &b)),
        get("/keys/{name}/public", "The public part of a key", |d, n: String, _: Nothing| d.key_public(&n)),
        get("/hooks", "All hooks", |d, (), _: Nothing| d.hook_list()),
        post("/hooks/{name}/test", "Run a hook with made-up facts", |d, n: String, _: Nothing| {
            d.hook_test(&n)
        }),
    ]
}

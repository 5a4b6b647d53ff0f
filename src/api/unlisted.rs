//! Requests about cartridges that the inventory does not list: they have an id and no label.

use vtl_api::{Done, RemoveUnlisted};
use vtl_types::CartridgeId;

use super::route::{Nothing, Route, delete, post};
use super::{Answer, done, parse};
use crate::daemon::{Daemon, invalid};

pub(super) fn routes() -> Vec<Route> {
    vec![
        delete(
            "/unlisted/{id}",
            "Give up a cartridge that is not listed and cannot be read",
            |d, id: String, b: RemoveUnlisted| d.unlisted_remove(&id, &b),
        ),
        post(
            "/unlisted/{id}/restore",
            "Take a cartridge that was given up back from the trash",
            |d, id: String, _: Nothing| d.unlisted_restore(&id),
        ),
    ]
}

impl Daemon {
    /// Nobody can look at what goes, so the id is wanted twice, for the trash too.
    fn unlisted_remove(&self, text: &str, request: &RemoveUnlisted) -> Answer<Done> {
        let id: CartridgeId = parse(text)?;
        if request.confirm.as_deref() != Some(text) {
            let at_once = if request.now { " --now" } else { "" };
            let error = invalid(
                format!("what is on {id} is not known, and is given up with it"),
                &format!("type its id once more: --id {id}{at_once} --confirm {id}"),
            );
            return Err(error.about("confirm"));
        }
        self.give_up_unlisted(id, request.now).map(|message| done(message, vec![id.to_string()]))
    }

    fn unlisted_restore(&self, text: &str) -> Answer<Done> {
        let id: CartridgeId = parse(text)?;
        self.take_given_up_back(id).map(|message| done(message, vec![id.to_string()]))
    }
}

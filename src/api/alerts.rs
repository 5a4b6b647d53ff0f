//! Requests about alerts.

use vtl_api::AlertInfo;

use super::route::{Nothing, Route, get, post};

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/alerts", "Alerts of the last months", |d, (), _: Nothing| d.alert_list()),
        post("/alerts/test", "Tell every receiver that nothing is wrong", |d, (), _: Nothing| d.alert_test()),
        post("/alerts/{id}/ack", "Say that somebody knows of an alert", |d, id: String, _: Nothing| {
            d.alert_acknowledge(&id)
        })
        .answers::<AlertInfo>(),
    ]
}

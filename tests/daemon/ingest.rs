//! Ingests as an operator meets them, as far as that goes without a tape device; with one, the case `ingest` does it.

use serde_json::json;

use crate::support::Server;

#[test]
fn what_cannot_be_ingested_is_refused_at_once_with_its_remedy_and_makes_no_job() {
    let server = Server::start(&[]);
    let file = server.state().join("api.token");
    let refused = |device: &str, label: &str, library: Option<&str>, status: u16, words: &str| {
        let mut body = json!({ "device": device, "label": label });
        if let Some(library) = library {
            body["library"] = json!(library);
        }
        let (found, told) = server.ask("POST", "/ingests", &body);
        assert_eq!(found, status, "{body}: {told}");
        assert!(told["message"].as_str().unwrap().contains(words), "{told}");
        assert!(told["remedy"].is_string(), "{told}");
    };
    refused("/dev/nst0", "tape", None, 400, "tape");
    refused("/dev/nst0", "P00001L8", Some("nowhere"), 404, "no library 'nowhere'");
    refused("/dev/no-such-tape", "P00001L8", None, 404, "there is no /dev/no-such-tape");
    refused("nst0", "P00001L8", None, 400, "is no absolute path");
    refused("/dev/null", "P00001L8", Some("lib0"), 400, "is no SCSI tape device");
    refused(file.to_str().unwrap(), "P00001L8", None, 400, "is no SCSI tape device");
    assert_eq!(server.get("/jobs"), json!([]));
}

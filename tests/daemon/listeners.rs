//! The stream of events, and many who listen and ask at once.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::support::{PATIENCE, Server};

/// A stream of events.
pub(crate) struct Stream {
    lines: BufReader<TcpStream>,
    status: u16,
}

/// One event: its name, what it is about, and what it says.
#[derive(Debug)]
pub(crate) struct Event {
    id: String,
    pub(crate) kind: String,
    pub(crate) data: Value,
}

impl Stream {
    pub(crate) fn open(server: &Server, query: &str, headers: &str) -> Self {
        let mut socket = TcpStream::connect(server.api).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "GET /api/v1/events{query} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n{headers}\r\n",
            server.api,
            server.token()
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut stream = Self { lines: BufReader::new(socket), status: 0 };
        stream.status = stream.line().split(' ').nth(1).unwrap().parse().unwrap();
        while !stream.line().is_empty() {}
        stream
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub(crate) fn next(&mut self) -> Event {
        let mut event = Event { id: String::new(), kind: String::new(), data: Value::Null };
        for _ in 0..1000 {
            let line = self.line();
            match line.split_once(": ") {
                Some(("id", id)) => id.clone_into(&mut event.id),
                Some(("event", kind)) => kind.clone_into(&mut event.kind),
                Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                _ if line.is_empty() && !event.id.is_empty() => return event,
                _ => {}
            }
        }
        panic!("no event comes");
    }

    /// The next job of this state.
    fn job(&mut self, id: &Value, state: &str) -> Event {
        for _ in 0..100 {
            let event = self.next();
            if event.kind == "job" && event.data["id"] == *id && event.data["state"] == state {
                return event;
            }
        }
        panic!("job {id} is never {state}");
    }
}

fn collect(server: &Server) -> Value {
    server.api("POST", "/store/gc", &json!({ "background": true }))["id"].clone()
}

#[test]
fn moves_of_hosts_and_operators_and_each_state_of_a_job_are_told() {
    let server = Server::start(&["--set", "store.gc=manual"]);
    let mut stream = Stream::open(&server, "", "");
    let mut jobs = Stream::open(&server, "?types=job,alert", "");
    assert_eq!((stream.status, jobs.status), (200, 200));
    server.api("POST", "/cartridges/VTL001L8/move", &json!({ "to": "slot:20" }));
    let moved = stream.next();
    assert_eq!(moved.kind, "move");
    assert_eq!(
        moved.data,
        json!({
            "label": "VTL001L8",
            "library": "lib0",
            "from": { "kind": "slot", "number": 1 },
            "to": { "kind": "slot", "number": 20 }
        })
    );
    server.session(1).load(2, 0);
    let loaded = stream.next();
    assert_eq!(
        (&loaded.data["label"], &loaded.data["to"]),
        (&json!("VTL002L8"), &json!({ "kind": "drive", "number": 0 }))
    );
    let id = collect(&server);
    for state in ["queued", "running", "completed"] {
        stream.job(&id, state);
        let event = jobs.job(&id, state);
        assert_eq!((&event.data["kind"], &event.data["total_bytes"].is_u64()), (&json!("gc"), &true));
    }
}

#[test]
fn who_comes_again_gets_what_was_missed_and_after_a_restart_a_reset() {
    let mut server = Server::start(&["--set", "store.gc=manual"]);
    let mut stream = Stream::open(&server, "", "");
    let first = collect(&server);
    let seen = stream.job(&first, "completed").id;
    drop(stream);
    let second = collect(&server);
    let again = format!("Last-Event-ID: {seen}\r\n");
    let mut stream = Stream::open(&server, "", &again);
    let next = stream.next();
    assert_eq!((&next.data["id"], &next.data["state"]), (&second, &json!("queued")));
    stream.job(&second, "completed");
    server.kill();
    server.start_again();
    let mut stream = Stream::open(&server, "", &again);
    let event = stream.next();
    assert_eq!((event.kind.as_str(), &event.data), ("reset", &json!({})));
    let third = collect(&server);
    stream.job(&third, "queued");
    assert_eq!(Stream::open(&server, "", "Last-Event-ID: nonsense\r\n").next().kind, "reset");
}

#[test]
fn an_unknown_type_of_events_is_refused_with_its_field() {
    let server = Server::start(&[]);
    let (status, answer) = server.ask("GET", "/events?types=job,weather", &Value::Null);
    assert_eq!((status, &answer["code"], &answer["field"]), (400, &json!("invalid"), &json!("types")));
}

/// Who asks at once, and how many listen.
const CLIENTS: usize = 1000;
const STREAMS: usize = 200;
/// What they may take together.
const MOST_KIB: u64 = 64 << 10;

#[test]
fn a_thousand_clients_and_two_hundred_streams_take_little_memory() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let server = Server::start(&[]);
    // What is made once is made.
    for _ in 0..50 {
        server.get("/cartridges");
    }
    let before = server.reset_peak_kib();
    let mut streams: Vec<Stream> = (0..STREAMS).map(|_| Stream::open(&server, "", "")).collect();
    assert!(streams.iter().all(|stream| stream.status == 200));
    let request = format!(
        "GET /api/v1/cartridges HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        server.api,
        server.token()
    );
    let mut clients: Vec<TcpStream> = (0..CLIENTS).map(|_| TcpStream::connect(server.api).unwrap()).collect();
    // All are connected before the first one asks to the end.
    let (head, end) = request.split_at(request.len() - 2);
    clients.iter_mut().for_each(|client| client.write_all(head.as_bytes()).unwrap());
    clients.iter_mut().for_each(|client| client.write_all(end.as_bytes()).unwrap());
    for client in &mut clients {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("VTL010L8"), "{answer}");
    }
    server.api("POST", "/cartridges/VTL001L8/move", &json!({ "to": "slot:20" }));
    for stream in &mut streams {
        assert_eq!(stream.next().data["label"], "VTL001L8");
    }
    let peak = server.peak_kib();
    println!(
        "{CLIENTS} clients and {STREAMS} streams: {} KiB more than {before}",
        peak.saturating_sub(before)
    );
    assert!(peak.saturating_sub(before) <= MOST_KIB, "{before} KiB before, {peak} KiB at most");
}

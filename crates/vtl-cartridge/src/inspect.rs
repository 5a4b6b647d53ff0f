//! What a snapshot and a delta say, for tools that look into heads and journals.

use vtl_durable::wire::{Malformed, Reader};

use crate::head::{DELTA_MAGIC, Head, read_counter, read_header, tag};

/// The parts of a note, and what is wrong with it: what comes before the fault is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What each is, and its fields by name.
    pub parts: Vec<Part>,
    /// Why there is no more.
    pub wrong: Option<String>,
}

/// What it is, and its fields by name.
pub type Part = (&'static str, Vec<(&'static str, String)>);

/// A snapshot.
pub fn snapshot(bytes: &[u8]) -> Told {
    match Head::replay(bytes, &[]) {
        Ok(head) => Told { parts: vec![("cartridge", fields(&head))], wrong: None },
        Err(error) => Told { parts: Vec::new(), wrong: Some(error.to_string()) },
    }
}

/// A delta, without the state that it applies to.
pub fn delta(bytes: &[u8]) -> Told {
    let mut told = Told::default();
    let mut from = Reader::new(bytes);
    let mut begin = || {
        read_header(&mut from, DELTA_MAGIC, bytes.len(), "delta").map_err(|error| error.to_string())?;
        let counters = [read_counter(&mut from, "delta number"), read_counter(&mut from, "write generation")];
        let [number, generation] = counters;
        Ok::<_, String>((number.map_err(text)?, generation.map_err(text)?))
    };
    match begin() {
        Ok((number, generation)) => {
            let fields = [("number", number), ("write_generation", generation)];
            told.parts
                .push(("cartridge_delta", fields.map(|(name, value)| (name, value.to_string())).into()));
        }
        Err(why) => told.wrong = Some(why),
    }
    while told.wrong.is_none() && from.left() > 0 {
        match record(&mut from) {
            Ok(part) => told.parts.push(part),
            Err(error) => told.wrong = Some(error.to_string()),
        }
    }
    told
}

/// Why the deltas do not apply to the snapshot, if they do not.
///
/// # Errors
/// That.
pub fn replay(snapshot: &[u8], deltas: &[Vec<u8>]) -> Result<(), String> {
    Head::replay(snapshot, deltas).map(drop).map_err(|error| error.to_string())
}

fn text(error: Malformed) -> String {
    error.to_string()
}

fn fields(head: &Head) -> Vec<(&'static str, String)> {
    let end = head.map.end();
    vec![
        ("label", head.label.to_string()),
        ("serial", head.serial.clone()),
        ("capacity_bytes", head.capacity_bytes.to_string()),
        ("early_warning_bytes", head.early_warning_bytes.to_string()),
        ("created", head.created_s.to_string()),
        ("write_protected", head.write_protected.to_string()),
        ("unfinished", head.unfinished.to_string()),
        ("load_count", head.load_count.to_string()),
        ("write_generation", head.generation.to_string()),
        ("number", head.number.to_string()),
        (
            "place",
            head.place.as_ref().map_or_else(|| "none".to_owned(), |(name, place)| format!("{name} {place}")),
        ),
        ("attributes", head.attributes.len().to_string()),
        ("objects", end.object.to_string()),
        ("filemarks", end.file.to_string()),
        ("bytes", end.byte.to_string()),
    ]
}

fn record(from: &mut Reader<'_>) -> Result<Part, Malformed> {
    let kind = from.u8("tag")?;
    let len = from.u32("record length")? as usize;
    let mut body = Reader::new(from.raw(len, "record")?);
    let told = |name: &'static str, value: u64| (name, value.to_string());
    Ok(match kind {
        tag::CONTENT => {
            let names = ["keep", "objects", "filemarks", "bytes"];
            let mut fields = Vec::new();
            for name in names {
                fields.push(told(name, body.u64(name)?));
            }
            fields.push(told("run_bytes", body.left() as u64));
            ("content", fields)
        }
        tag::LOAD_COUNT => ("load_count", vec![told("loads", body.u64("load count")?)]),
        tag::WRITE_PROTECTED => ("write_protection", vec![told("on", body.u8("write protection")?.into())]),
        tag::ATTRIBUTE => {
            let id = format!("{:04x}", body.u16("attribute id")?);
            ("attribute", vec![("id", id), told("bytes", body.left() as u64)])
        }
        tag::PLACE => {
            let (kind, number) = (body.u8("place kind")?, body.u16("place number")?);
            let library = String::from_utf8_lossy(body.raw(body.left(), "library")?).into_owned();
            ("place", vec![told("kind", kind.into()), told("number", number.into()), ("library", library)])
        }
        tag::PROTECTION => {
            let names = ["retained_until", "release", "count"];
            let mut fields = vec![told("hold", body.u8("hold")?.into())];
            for name in names {
                fields.push(told(name, body.u64(name)?));
            }
            ("protection", fields)
        }
        tag::FINISHED => ("finished", Vec::new()),
        _ => return Err(from.malformed("tag")),
    })
}

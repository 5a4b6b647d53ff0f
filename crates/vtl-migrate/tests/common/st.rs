//! A tape drive as Linux st shows it to a reader, from the text of st(4) and the driver's source: what a read gives at filemarks, at end of data and at
//! what cannot be read.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use vtl_jobs::{Class, Failure};
use vtl_migrate::{FoundOnTape as Found, TapeDevice, Tapes};
use vtl_types::{CartridgeId, LibraryName, Place};

/// What is on the tape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum On {
    Record(Vec<u8>),
    Mark,
    /// A record that cannot be read.
    Damaged,
    /// One that the drive reports so that st gives no bytes, and no error, for it.
    DamagedLikeAMark,
}

/// The driver's note of where a read has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Note {
    Nothing,
    BehindMark,
    BlankTold,
    End,
}

#[derive(Debug)]
pub struct Drive {
    tape: Vec<On>,
    at: usize,
    note: Note,
    files: Option<u64>,
}

/// The device; a clone is the same one.
#[derive(Clone)]
pub struct St {
    pub drive: Arc<Mutex<Drive>>,
    /// Added to what the drive says of its position.
    pub counts_from: u64,
    pub knows_files: bool,
    /// The call with this number fails (from 0).
    pub fails_at: Arc<AtomicUsize>,
    pub calls: Arc<AtomicUsize>,
    /// Reads wait while this is so.
    pub held: Arc<AtomicBool>,
    /// How often it was rewound.
    pub rewound: Arc<AtomicUsize>,
    pub appeared: Arc<Mutex<Vec<String>>>,
}

impl St {
    pub fn with(tape: Vec<On>) -> Self {
        let drive = Drive { tape, at: 3, note: Note::Nothing, files: None };
        Self {
            drive: Arc::new(Mutex::new(drive)),
            counts_from: 0,
            knows_files: true,
            fails_at: Arc::new(AtomicUsize::new(usize::MAX)),
            calls: Arc::default(),
            held: Arc::default(),
            rewound: Arc::default(),
            appeared: Arc::default(),
        }
    }

    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn call(&self) -> Result<(), Failure> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        if number == self.fails_at.load(Ordering::SeqCst) {
            let message = format!("call {number} fails");
            return Err(Failure { class: Class::Permanent, code: "conflict".into(), message, remedy: None });
        }
        Ok(())
    }
}

impl TapeDevice for St {
    fn rewind(&mut self) -> Result<(), Failure> {
        self.call()?;
        self.rewound.fetch_add(1, Ordering::SeqCst);
        let mut drive = self.drive.lock().unwrap();
        (drive.at, drive.note, drive.files) = (0, Note::Nothing, Some(0));
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<Found, Failure> {
        self.call()?;
        while self.held.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut drive = self.drive.lock().unwrap();
        if drive.note == Note::BlankTold || drive.note == Note::End {
            drive.note = Note::End;
            return Ok(Found::Refused);
        }
        let Some(on) = drive.tape.get(drive.at).cloned() else {
            if drive.note == Note::BehindMark {
                drive.note = Note::BlankTold;
                return Ok(Found::Nothing);
            }
            return Ok(Found::Refused);
        };
        drive.at += 1;
        Ok(match on {
            On::Record(bytes) if bytes.len() > buffer.len() => Found::TooLong,
            On::Record(bytes) => {
                buffer[..bytes.len()].copy_from_slice(&bytes);
                drive.note = Note::Nothing;
                Found::Record(bytes.len())
            }
            On::Mark => {
                drive.note = Note::BehindMark;
                drive.files = drive.files.map(|files| files + 1);
                Found::Nothing
            }
            On::Damaged => Found::Refused,
            On::DamagedLikeAMark => Found::Nothing,
        })
    }

    fn back(&mut self) -> Result<(), Failure> {
        self.call()?;
        let mut drive = self.drive.lock().unwrap();
        (drive.at, drive.note) = (drive.at - 1, Note::Nothing);
        Ok(())
    }

    fn filemarks(&mut self) -> Result<Option<u64>, Failure> {
        self.call()?;
        Ok(self.drive.lock().unwrap().files.filter(|_| self.knows_files))
    }

    fn position(&mut self) -> Result<u64, Failure> {
        self.call()?;
        Ok(self.counts_from + self.drive.lock().unwrap().at as u64)
    }

    fn to_end(&mut self) -> Result<(), Failure> {
        self.call()?;
        let mut drive = self.drive.lock().unwrap();
        drive.at = drive.tape.len();
        Ok(())
    }
}

impl Tapes for St {
    fn open(&self, _device: &str) -> Result<Box<dyn TapeDevice>, Failure> {
        self.call()?;
        Ok(Box::new(self.clone()))
    }

    fn appeared(&self, _id: CartridgeId, library: &LibraryName, place: Place) {
        self.appeared.lock().unwrap().push(format!("{place} of {library}"));
    }
}

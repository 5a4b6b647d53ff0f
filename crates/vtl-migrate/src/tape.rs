//! A tape device, and how it is read from its beginning to end of data.
//!
//! What Linux st tells a reader is not enough to know what is on a tape. A read of no bytes is a filemark, or the first blank check behind one. EIO is
//! end of data, or a record that cannot be read. Some drives report a damaged record so that st returns no bytes for it, as for a filemark. So nothing
//! of this is believed alone; at the end three numbers must agree:
//!
//! - the records that came;
//! - the filemarks that the driver has counted while they were passed, which count neither a blank check nor a damaged record;
//! - the logical position of end of data, which the drive tells when it has been sent there.
//!
//! When they do not, something on the tape was not read, and the reader fails. A filemark is given out when it is known not to be the last read of no
//! bytes before the end, so what was given out is always right.

use vtl_jobs::Failure;

use crate::fail;

/// What one read found.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A record of so many bytes; they are at the beginning of the buffer.
    Record(usize),
    /// No bytes.
    Nothing,
    /// A record that is longer than the buffer; the position is behind it.
    TooLong,
    /// EIO.
    Refused,
}

/// A tape device, positioned and read by one job. Each call may take minutes.
pub trait TapeDevice: Send {
    /// To the beginning of the tape, in variable block mode.
    ///
    /// # Errors
    /// It cannot be done.
    fn rewind(&mut self) -> Result<(), Failure>;

    /// Reads one record.
    ///
    /// # Errors
    /// Anything but what [`Found`] says: the device is gone, or takes no read of this length.
    fn read(&mut self, buffer: &mut [u8]) -> Result<Found, Failure>;

    /// Back over one record.
    ///
    /// # Errors
    /// It cannot be done.
    fn back(&mut self) -> Result<(), Failure>;

    /// Filemarks that were passed since the beginning; none: the driver does not know.
    ///
    /// # Errors
    /// It cannot be asked.
    fn filemarks(&mut self) -> Result<Option<u64>, Failure>;

    /// Records and filemarks before the position, as the drive says.
    ///
    /// # Errors
    /// It cannot be asked.
    fn position(&mut self) -> Result<u64, Failure>;

    /// To end of data.
    ///
    /// # Errors
    /// It cannot be done.
    fn to_end(&mut self) -> Result<(), Failure>;
}

/// Lengths of the buffer, each taken when a record does not fit into the one before. The last one is the longest that READ(6) can ask for.
const BUFFER_BYTES: [usize; 3] = [1 << 20, 4 << 20, 0x00ff_ffff];

/// The next thing on a tape.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Thing<'a> {
    Record(&'a [u8]),
    Filemark,
    End,
}

/// A tape that is being read.
pub(crate) struct Reader<'a> {
    device: &'a mut dyn TapeDevice,
    name: &'a str,
    buffer: Vec<u8>,
    larger: std::slice::Iter<'static, usize>,
    records: u64,
    /// Filemarks that were given out.
    filemarks: u64,
    /// Records since then.
    block: u64,
    /// A read of no bytes that may be a filemark.
    unsure: bool,
    /// A record in the buffer that comes next.
    waiting: Option<usize>,
    ended: bool,
}

impl<'a> Reader<'a> {
    /// From the beginning of the tape in the device of this name.
    pub(crate) fn begin(device: &'a mut dyn TapeDevice, name: &'a str) -> Result<Self, Failure> {
        device.rewind()?;
        let position = device.position()?;
        if position != 0 {
            let text = format!("{name} says that it is at object {position} after a rewind, not at 0");
            return Err(fail::permanent("unsupported", text, LOGICAL));
        }
        let mut larger = BUFFER_BYTES.iter();
        let first = larger.next().copied().unwrap_or_default();
        Ok(Self {
            device,
            name,
            buffer: vec![0; first],
            larger,
            records: 0,
            filemarks: 0,
            block: 0,
            unsure: false,
            waiting: None,
            ended: false,
        })
    }

    /// The next thing. After the end comes the end again.
    pub(crate) fn next_thing(&mut self) -> Result<Thing<'_>, Failure> {
        if let Some(length) = self.waiting.take() {
            return self.record(length);
        }
        while !self.ended {
            match self.device.read(&mut self.buffer)? {
                Found::Record(length) if self.unsure => {
                    self.unsure = false;
                    self.waiting = Some(length);
                    return Ok(self.filemark());
                }
                Found::Record(length) => return self.record(length),
                Found::Nothing if self.unsure => return Ok(self.filemark()),
                Found::Nothing => self.unsure = true,
                Found::TooLong => self.grow()?,
                Found::Refused => {
                    self.ended = true;
                    if self.ends_with_a_filemark()? {
                        return Ok(self.filemark());
                    }
                }
            }
        }
        Ok(Thing::End)
    }

    fn record(&mut self, length: usize) -> Result<Thing<'_>, Failure> {
        self.records += 1;
        self.block += 1;
        let bytes = self.buffer.get(..length);
        bytes.map(Thing::Record).ok_or_else(|| {
            let text = format!("{} gave {length} bytes, more than were asked for", self.name);
            fail::permanent("internal", text, "see what the kernel says of it: dmesg")
        })
    }

    fn filemark(&mut self) -> Thing<'static> {
        self.filemarks += 1;
        self.block = 0;
        Thing::Filemark
    }

    /// A record was passed that does not fit: it is read again into more.
    fn grow(&mut self) -> Result<(), Failure> {
        let Some(bytes) = self.larger.next() else {
            let most = self.buffer.len();
            let text = format!("{} has a record of more than {most} bytes", self.here());
            return Err(fail::permanent("unsupported", text, "no block of a cartridge here is longer"));
        };
        self.device.back()?;
        let (position, wanted) = (self.device.position()?, self.objects());
        if position != wanted {
            let text = format!(
                "{} is at object {position} after going back over a record, not at {wanted}: somebody else uses it, or it does not count objects",
                self.name
            );
            return Err(fail::permanent("conflict", text, LOGICAL));
        }
        self.buffer = vec![0; *bytes];
        Ok(())
    }

    /// Records and filemarks that were passed.
    fn objects(&self) -> u64 {
        self.records + self.filemarks + u64::from(self.unsure)
    }

    /// File and block, as `mt` counts them.
    fn here(&self) -> String {
        let (file, block) = if self.unsure { (self.filemarks + 1, 0) } else { (self.filemarks, self.block) };
        format!("{}: file {file}, block {block}", self.name)
    }

    /// Reading has come to its end: whether that is end of data, and whether the last read of no bytes was a filemark.
    fn ends_with_a_filemark(&mut self) -> Result<bool, Failure> {
        let Some(passed) = self.device.filemarks()? else {
            let text = format!("the driver of {} does not know how many filemarks it has passed", self.name);
            return Err(fail::permanent(
                "unsupported",
                text,
                "let nobody else use the device, then vtl job retry ID",
            ));
        };
        self.device.to_end()?;
        let end = self.device.position()?;
        let last = self.unsure && passed == self.filemarks + 1;
        if !last && passed != self.filemarks {
            let read = self.filemarks + u64::from(self.unsure);
            let text = format!(
                "{}: reads of no bytes came {read} times up to file {passed}, and not all of them were filemarks: a record cannot be read",
                self.name
            );
            return Err(fail::permanent("conflict", text, UNREADABLE));
        }
        self.unsure = last;
        let read = self.objects();
        if end == read {
            self.unsure = false;
            return Ok(last);
        }
        if end < read {
            let text = format!("{} says that {end} objects are on the tape, and {read} were read", self.name);
            return Err(fail::permanent("unsupported", text, LOGICAL));
        }
        let text =
            format!("{} (object {read} of {end}) cannot be read; the kernel's log says more", self.here());
        Err(fail::permanent("conflict", text, UNREADABLE))
    }
}

const UNREADABLE: &str =
    "clean the drive, or try another one, then vtl job retry ID; nothing of the tape was kept here";
const LOGICAL: &str = "let nobody else use the device; a drive that counts otherwise may do it after mt -f DEV stsetoptions scsi2logical; then vtl job retry ID";

//! Files that are written and read past the system's copies in memory, where their file system can do that. An object is written once and read once to be
//! verified: copies of it would take the room of what others need, and cost each byte another way through memory.

use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use vtl_durable::PageBuffer;

/// What one call writes or reads.
const AT_ONCE: usize = 1 << 20;

/// An open file, and whether it goes past the copies.
#[derive(Debug)]
struct Direct {
    file: File,
    on: bool,
}

impl Direct {
    /// As far as the file system can.
    fn new(file: File) -> Self {
        let mut direct = Self { file, on: false };
        direct.set(true);
        direct
    }

    fn set(&mut self, on: bool) {
        let set = fcntl_getfl(&self.file).and_then(|flags| {
            let wanted = if on { flags | OFlags::DIRECT } else { flags - OFlags::DIRECT };
            fcntl_setfl(&self.file, wanted)
        });
        if set.is_ok() {
            self.on = on;
        }
    }

    /// One call. A file system that wants more alignment than it gets is asked once more, through its copies.
    fn call<T>(&mut self, mut call: impl FnMut(&File) -> Result<T, Errno>) -> io::Result<T> {
        loop {
            match call(&self.file) {
                Err(Errno::INTR) => {}
                Err(Errno::INVAL) if self.on => {
                    self.set(false);
                    if self.on {
                        return Err(Errno::INVAL.into());
                    }
                }
                outcome => return Ok(outcome?),
            }
        }
    }
}

/// A new file that is written from its beginning to its end.
#[derive(Debug)]
pub(crate) struct Writing {
    direct: Direct,
    held: PageBuffer,
    /// Bytes before those that are held.
    written: u64,
}

impl Writing {
    pub(crate) fn new(file: File) -> Self {
        Self { direct: Direct::new(file), held: PageBuffer::new(AT_ONCE), written: 0 }
    }

    /// Bytes in it.
    pub(crate) fn size(&self) -> u64 {
        self.written + self.held.len() as u64
    }

    /// Whether so many more bytes have room without a call to the disk.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        bytes < self.held.capacity() - self.held.len()
    }

    /// The next bytes. They may be held for a while.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        loop {
            bytes = self.held.fill(bytes);
            if !self.held.is_full() {
                return Ok(());
            }
            self.put()?;
            self.written += self.held.len() as u64;
            self.held.clear();
        }
    }

    /// The bytes that are held still, and then all of it to the medium.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let size = self.size();
        if self.direct.on {
            self.held.finish_page();
        }
        self.put()?;
        self.direct.file.set_len(size)?;
        self.direct.file.sync_all()?;
        // So that a verification reads the medium where copies were made. A wish; nothing hangs on it.
        let _ = rustix::fs::fadvise(&self.direct.file, 0, None, rustix::fs::Advice::DontNeed);
        self.written = size;
        self.held.clear();
        Ok(())
    }

    fn put(&mut self) -> io::Result<()> {
        let mut done = 0;
        while let Some(left) = self.held.bytes().get(done..).filter(|left| !left.is_empty()) {
            let at = self.written + done as u64;
            match self.direct.call(|file| rustix::io::pwrite(file, left, at))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => done += count,
            }
        }
        Ok(())
    }
}

/// A file that is read from its beginning to its end.
#[derive(Debug)]
pub(crate) struct Reading {
    direct: Direct,
    at: u64,
    /// Rooms that nobody has a share of any more: fresh memory for each piece costs more than to copy it.
    spare: Receiver<PageBuffer>,
    back: Sender<PageBuffer>,
}

impl Reading {
    pub(crate) fn new(file: File) -> Self {
        let (back, spare) = channel();
        Self { direct: Direct::new(file), at: 0, spare, back }
    }

    /// The next bytes; none at the end.
    pub(crate) fn piece(&mut self) -> io::Result<Bytes> {
        let mut room = self.spare.try_recv().unwrap_or_else(|_| Self::room());
        self.next(&mut room)?;
        Ok(Bytes::from_owner(Lent { room: Some(room), back: self.back.clone() }))
    }

    /// Room for what one call brings.
    pub(crate) fn room() -> PageBuffer {
        PageBuffer::new(AT_ONCE)
    }

    /// The next bytes in place of what the room holds; none at the end.
    pub(crate) fn next(&mut self, room: &mut PageBuffer) -> io::Result<()> {
        let at = self.at;
        let direct = &mut self.direct;
        let came =
            room.refill(AT_ONCE, |place| direct.call(|file| rustix::io::pread(file, &mut *place, at)))?;
        self.at += came.len() as u64;
        Ok(())
    }
}

/// What was read, in somebody's hands.
struct Lent {
    room: Option<PageBuffer>,
    back: Sender<PageBuffer>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.room.as_ref().map_or(&[], PageBuffer::bytes)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(room) = self.room.take() {
            // Nobody wants it when all was read.
            let _ = self.back.send(room);
        }
    }
}

#[cfg(test)]
mod tests {
    use vtl_durable::DIRECT_ALIGN;

    use super::*;

    /// Lengths at which something begins or ends: a page, a call.
    const LENGTHS: [usize; 8] =
        [0, 1, DIRECT_ALIGN - 1, DIRECT_ALIGN, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE + 4097];

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at % 251) as u8).collect()
    }

    fn read_back(file: File) -> Vec<u8> {
        let (mut reading, mut pieces) = (Reading::new(file), Vec::new());
        loop {
            let piece = reading.piece().unwrap();
            if piece.is_empty() {
                return pieces.concat();
            }
            pieces.push(piece);
        }
    }

    #[test]
    fn memory_of_pieces_that_are_done_with_is_taken_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, bytes(3 * AT_ONCE)).unwrap();
        let mut reading = Reading::new(File::open(&path).unwrap());
        let first = reading.piece().unwrap();
        let second = reading.piece().unwrap();
        assert_ne!(first.as_ptr(), second.as_ptr());
        let place = first.as_ptr();
        drop(first);
        assert_eq!(reading.piece().unwrap().as_ptr(), place);
        assert!(second[..] == bytes(3 * AT_ONCE)[AT_ONCE..2 * AT_ONCE]);
    }

    #[test]
    fn a_file_of_any_length_is_what_was_written_in_any_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        for length in LENGTHS {
            for pieces in [7777, 512 << 10, 3 << 20] {
                let wanted = bytes(length);
                let mut writing = Writing::new(File::create(&path).unwrap());
                for piece in wanted.chunks(pieces) {
                    writing.write(piece).unwrap();
                }
                assert_eq!(writing.size(), length as u64);
                writing.finish().unwrap();
                assert_eq!(writing.size(), length as u64);
                assert!(std::fs::read(&path).unwrap() == wanted, "{length} in pieces of {pieces}");
                assert!(read_back(File::open(&path).unwrap()) == wanted, "{length}, read back");
            }
        }
    }

    #[test]
    fn a_file_that_must_not_go_past_the_copies_goes_through_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let wanted = bytes(AT_ONCE + 5);
        let mut writing = Writing::new(File::create(&path).unwrap());
        writing.direct.set(false);
        // Begun in the middle of a page: a direct write that follows is refused.
        writing.direct.call(|file| rustix::io::pwrite(file, &wanted[..5], 0)).unwrap();
        writing.written = 5;
        writing.direct.set(true);
        writing.write(&wanted[5..]).unwrap();
        writing.finish().unwrap();
        assert!(std::fs::read(&path).unwrap() == wanted);
    }

    #[test]
    fn what_the_disk_refuses_is_told_and_not_asked_for_ever() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut writing = Writing::new(full);
        writing.write(&bytes(10)).unwrap();
        assert_eq!(writing.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
        let folder = tempfile::tempdir().unwrap();
        let mut reading = Reading::new(File::open(folder.path()).unwrap());
        assert!(reading.next(&mut Reading::room()).is_err(), "a folder has no bytes");
    }
}

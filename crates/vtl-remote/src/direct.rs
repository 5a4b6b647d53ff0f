//! Files that are written and read past the system's copies in memory, where their file system can do that. An object is written once and read once to be
//! verified: copies of it would take the room of what others need, and cost each byte another way through memory.
//!
//! On file systems of other machines, and of programs, copies are what makes many small requests one large one: there they are left alone.

use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use rustix::io::Errno;
use vtl_durable::{DIRECT_ALIGN, PageBuffer, set_direct};

/// What one call writes or reads.
const AT_ONCE: usize = 1 << 20;

/// Common file systems whose medium is another machine's, or a program's. Numbers: Linux, `include/uapi/linux/magic.h`, and the drivers' own sources.
const FAR: [u32; 11] = [
    0x6969,      // NFS
    0x517b,      // SMB
    0xfe53_4d42, // SMB 2 and 3
    0xff53_4d42, // CIFS
    0x6573_5546, // FUSE
    0x00c3_6400, // Ceph
    0x0102_1997, // 9P
    0x6b41_4653, // AFS
    0x0bd0_0bd0, // Lustre
    0x1983_0326, // BeeGFS
    0x4750_4653, // GPFS
];

/// Whether a file system of this number has its medium in this machine, as far as that is known.
fn is_near(kind: i64) -> bool {
    // The number has 32 bits, and some drivers' have a sign.
    u32::try_from(kind & 0xffff_ffff).is_ok_and(|kind| !FAR.contains(&kind))
}

/// An open file, and whether it goes past the copies.
#[derive(Debug)]
struct Direct {
    file: File,
    past_copies: bool,
}

impl Direct {
    /// As far as the file system can.
    fn new(file: File) -> Self {
        // One that cannot be asked is not near for sure.
        let about = rustix::fs::fstatfs(&file);
        let past_copies = about.is_ok_and(|about| is_near(about.f_type)) && set_direct(&file, true);
        Self { file, past_copies }
    }

    /// From now on through the copies.
    fn go_through(&mut self) {
        if self.past_copies {
            self.past_copies = !set_direct(&self.file, false);
        }
    }

    /// One call. A file system that wants more alignment than it gets, or has no such way after all, is asked once more, through its copies.
    fn call<T>(&mut self, mut call: impl FnMut(&File) -> Result<T, Errno>) -> io::Result<T> {
        loop {
            match call(&self.file) {
                Err(Errno::INTR) => {}
                Err(refused @ (Errno::INVAL | Errno::OPNOTSUPP)) if self.past_copies => {
                    self.go_through();
                    if self.past_copies {
                        return Err(refused.into());
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
        }
    }

    /// The bytes that are held still, and then all of it to the medium. The page that was begun goes through the copies: a file is never longer than it will be.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.put()?;
        self.direct.file.sync_all()?;
        // So that a verification reads the medium where copies were made. A wish; nothing hangs on it.
        let _ = rustix::fs::fadvise(&self.direct.file, 0, None, rustix::fs::Advice::DontNeed);
        Ok(())
    }

    /// Writes what is held.
    fn put(&mut self) -> io::Result<()> {
        let Self { direct, held, written } = self;
        let (pages, rest) = held.bytes().split_at(held.len() / DIRECT_ALIGN * DIRECT_ALIGN);
        let at = |file: &File, bytes: &[u8], offset: u64| rustix::io::pwrite(file, bytes, offset);
        put_all(pages, *written, |left, offset| direct.call(|file| at(file, left, offset)))?;
        if !rest.is_empty() {
            direct.go_through();
        }
        let behind = *written + pages.len() as u64;
        put_all(rest, behind, |left, offset| direct.call(|file| at(file, left, offset)))?;
        *written += held.len() as u64;
        held.clear();
        Ok(())
    }
}

/// All of the bytes from an offset on, in as many calls as it takes.
fn put_all(
    mut left: &[u8],
    mut offset: u64,
    mut call: impl FnMut(&[u8], u64) -> io::Result<usize>,
) -> io::Result<()> {
    while !left.is_empty() {
        let count = call(left, offset)?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        offset += count as u64;
        left = left.get(count..).unwrap_or_default();
    }
    Ok(())
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
        self.refill(&mut room)?;
        Ok(Bytes::from_owner(Lent { room: Some(room), back: self.back.clone() }))
    }

    /// Room for what one call brings.
    pub(crate) fn room() -> PageBuffer {
        PageBuffer::new(AT_ONCE)
    }

    /// The next bytes in place of what the room holds; none at the end.
    pub(crate) fn refill(&mut self, room: &mut PageBuffer) -> io::Result<()> {
        let Self { direct, at, .. } = self;
        let came =
            room.refill(AT_ONCE, |place| direct.call(|file| rustix::io::pread(file, &mut *place, *at)))?;
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
    use std::os::fd::OwnedFd;
    use std::path::PathBuf;

    use super::*;

    /// Lengths at which something begins or ends: a page, a call.
    const LENGTHS: [usize; 8] =
        [0, 1, DIRECT_ALIGN - 1, DIRECT_ALIGN, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE + 4097];

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at % 251) as u8).collect()
    }

    /// A path on the disk that the sources are on: what others are on may be memory.
    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = folder.path().join("f");
        (folder, path)
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
    fn a_file_of_any_length_is_what_was_written_in_any_pieces() {
        let (_folder, path) = place();
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
    fn whole_pages_go_past_the_copies_where_the_file_system_can_do_that() {
        let (_folder, path) = place();
        let file = File::create(&path).unwrap();
        let may = is_near(rustix::fs::fstatfs(&file).unwrap().f_type) && set_direct(&file, true);
        let mut writing = Writing::new(file);
        assert_eq!(writing.direct.past_copies, may);
        writing.write(&bytes(3 * AT_ONCE)).unwrap();
        writing.finish().unwrap();
        assert_eq!(writing.direct.past_copies, may);
        let mut reading = Reading::new(File::open(&path).unwrap());
        while !reading.piece().unwrap().is_empty() {}
        assert_eq!(reading.direct.past_copies, may);
    }

    #[test]
    fn file_systems_of_other_machines_and_of_programs_are_far_and_others_are_near() {
        for far in FAR {
            assert!(!is_near(far.into()) && !is_near(i64::from(far.cast_signed())), "{far:#x}");
        }
        // ext4, btrfs, XFS, tmpfs.
        for near in [0xef53, 0x9123_683e, 0x5846_5342, 0x0102_1994] {
            assert!(is_near(near), "{near:#x}");
        }
    }

    #[test]
    fn what_is_not_aligned_goes_through_the_copies() {
        for (first, rest) in [(5, AT_ONCE), (5, 4), (0, AT_ONCE + 5)] {
            let (_folder, path) = place();
            let wanted = bytes(first + rest);
            let mut writing = Writing::new(File::create(&path).unwrap());
            writing.direct.go_through();
            writing.direct.call(|file| rustix::io::pwrite(file, &wanted[..first], 0)).unwrap();
            writing.written = first as u64;
            writing.direct.past_copies = set_direct(&writing.direct.file, true);
            writing.write(&wanted[first..]).unwrap();
            writing.finish().unwrap();
            // Of a file that does not begin with a page some file systems take whole pages past the copies all the same.
            assert!(first > 0 || !writing.direct.past_copies, "{first} and {rest}");
            assert!(std::fs::read(&path).unwrap() == wanted, "{first} and {rest}");
        }
    }

    #[test]
    fn a_call_that_is_interrupted_is_made_again_and_one_that_is_refused_once_more_through_the_copies() {
        let (_folder, path) = place();
        let mut direct = Direct::new(File::create(&path).unwrap());
        let mut outcomes = vec![Ok(3), Err(Errno::INTR)];
        assert_eq!(direct.call(|_| outcomes.pop().unwrap()).unwrap(), 3);
        for refusal in [Errno::INVAL, Errno::OPNOTSUPP] {
            let mut direct = Direct::new(File::create(&path).unwrap());
            let (may, mut calls) = (direct.past_copies, 0);
            let refused = direct.call::<()>(|_| {
                calls += 1;
                Err(refusal)
            });
            assert_eq!(refused.unwrap_err().raw_os_error(), Some(refusal.raw_os_error()));
            assert_eq!((calls, direct.past_copies), (1 + i32::from(may), false));
        }
    }

    #[test]
    fn what_a_call_leaves_is_written_by_the_next_one_and_nothing_is_asked_for_ever() {
        let mut calls = Vec::new();
        let short = |left: &[u8], at| {
            calls.push((left.len(), at));
            Ok(left.len().min(4096))
        };
        put_all(&[7; 9000], 100, short).unwrap();
        assert_eq!(calls, [(9000, 100), (4904, 4196), (808, 8292)]);
        let stuck = put_all(b"x", 0, |_, _| Ok(0)).unwrap_err();
        assert_eq!(stuck.kind(), io::ErrorKind::WriteZero);
    }

    #[test]
    fn what_the_disk_refuses_is_told() {
        let full = || Writing::new(File::options().write(true).open("/dev/full").unwrap());
        let in_the_middle = full().write(&bytes(AT_ONCE)).unwrap_err();
        let mut at_the_end = full();
        at_the_end.write(&bytes(10)).unwrap();
        let at_the_end = at_the_end.finish().unwrap_err();
        assert_eq!([in_the_middle, at_the_end].map(|error| error.kind()), [io::ErrorKind::StorageFull; 2]);
        // A pipe takes no sync.
        let (_reader, pipe) = std::io::pipe().unwrap();
        assert!(Writing::new(File::from(OwnedFd::from(pipe))).finish().is_err());
        let folder = tempfile::tempdir().unwrap();
        let mut reading = Reading::new(File::open(folder.path()).unwrap());
        assert!(reading.refill(&mut Reading::room()).is_err(), "a folder has no bytes");
    }

    #[test]
    fn what_fills_the_room_is_no_longer_only_noted() {
        let (_folder, path) = place();
        let mut writing = Writing::new(File::create(&path).unwrap());
        writing.write(&bytes(AT_ONCE - 32)).unwrap();
        assert!(writing.has_room(31) && !writing.has_room(32));
    }

    #[test]
    fn memory_of_pieces_that_are_done_with_is_taken_again() {
        let (_folder, path) = place();
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
}

//! The framing of a tar archive (POSIX.1-1988 `ustar`), as far as plain files need it.

use std::io::{self, Write};

use super::files::File;

const BLOCK: usize = 512;
/// Archives end at a multiple of twenty blocks, as on tape.
const RECORD: u64 = 20 * BLOCK as u64;

/// All files, then the end of the archive.
pub fn write(files: &[File], out: &mut impl Write) -> io::Result<()> {
    let mut written = 0;
    for file in files {
        let padding = file.body.len().next_multiple_of(BLOCK) - file.body.len();
        out.write_all(&header(file))?;
        out.write_all(&file.body)?;
        out.write_all(&[0; BLOCK][..padding])?;
        written += (BLOCK + file.body.len() + padding) as u64;
    }
    let end = (written + 2 * BLOCK as u64).next_multiple_of(RECORD);
    (written..end).step_by(BLOCK).try_for_each(|_| out.write_all(&[0; BLOCK]))
}

/// What a file takes in the archive.
pub fn room(body: usize) -> u64 {
    (BLOCK + body.next_multiple_of(BLOCK)) as u64
}

fn header(file: &File) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, &file.path);
    put(100, "0000644\0");
    put(108, "0001750\0");
    put(116, "0001750\0");
    put(124, &format!("{:011o}\0", file.body.len()));
    put(136, &format!("{:011o}\0", file.mtime));
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    put(265, "backup");
    put(297, "backup");
    put(329, "0000000\0");
    put(337, "0000000\0");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_the_bytes_that_gnu_tar_writes() {
        let file = File { path: "a/b.txt".to_owned(), mtime: 1_700_000_000, body: b"hello".to_vec() };
        let mut archive = Vec::new();
        write(&[file], &mut archive).unwrap();
        assert_eq!(archive.len(), 10_240);
        assert_eq!(&archive[124..148], b"00000000005\x0014524770400\0");
        // From `tar --format=ustar --mtime=@1700000000 --owner=backup:1000 --group=backup:1000 --mode=644`.
        assert_eq!(&archive[148..156], b"013052\0 ");
        assert_eq!(&archive[512..517], b"hello");
        assert!(archive[517..].iter().all(|byte| *byte == 0));
    }
}

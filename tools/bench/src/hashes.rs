//! Both hashes of an object: each by a library of its own, one behind the other, and side by side.

use std::io;
use std::time::Instant;

use clap::Parser;
use md5::Md5;
use sha2::Sha256;
use vtl_digest::Both;
use vtl_initiator::failure;

/// Measures MD5 and SHA-256 on one core.
#[derive(Parser)]
pub struct Args {
    /// MiB for each figure.
    #[arg(long, default_value_t = 256)]
    mib: usize,
    /// Rounds, each in turn; the table shows medians.
    #[arg(long, default_value_t = 5)]
    repeat: usize,
}

/// What is hashed at once, as transfers do it.
const PIECE: usize = 512 << 10;

type Hashes = (Vec<u8>, Vec<u8>);
type Way = (&'static str, fn(&[u8], usize) -> Hashes);

const WAYS: [Way; 4] = [
    ("md-5", |piece, count| (alone::<Md5>(piece, count), Vec::new())),
    ("sha2", |piece, count| (Vec::new(), alone::<Sha256>(piece, count))),
    ("md-5, then sha2", |piece, count| (alone::<Md5>(piece, count), alone::<Sha256>(piece, count))),
    ("vtl-digest: both", |piece, count| {
        let mut both = Both::new();
        (0..count).for_each(|_| both.update(piece));
        let (md5, sha256) = both.finish();
        (md5.to_vec(), sha256.to_vec())
    }),
];

fn alone<D: md5::Digest>(piece: &[u8], count: usize) -> Vec<u8> {
    let mut digest = D::new();
    (0..count).for_each(|_| digest.update(piece));
    digest.finalize().to_vec()
}

pub fn run(args: &Args) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    blake3::Hasher::new().finalize_xof().fill(&mut piece);
    let count = (args.mib << 20).div_ceil(PIECE);
    let mut rates = WAYS.map(|_| Vec::new());
    for _ in 0..args.repeat.max(1) {
        let mut seen: Vec<Hashes> = Vec::new();
        for ((_, way), rates) in WAYS.iter().zip(&mut rates) {
            let start = Instant::now();
            seen.push(way(&piece, count));
            rates.push((count * PIECE) as f64 / start.elapsed().as_secs_f64() / 1e6);
        }
        match seen.as_slice() {
            [_, _, wanted, both] if wanted == both => {}
            _ => return Err(failure("the hashes are not those of the libraries".to_owned())),
        }
    }
    println!("| who | MB/s |");
    println!("|---|---|");
    for ((name, _), rates) in WAYS.iter().zip(&mut rates) {
        rates.sort_by(f64::total_cmp);
        println!("| {name} | {:.0} |", rates[rates.len() / 2]);
    }
    Ok(())
}

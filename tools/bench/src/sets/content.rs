//! What is in a file: text, binary records, or bytes that somebody packed already.

use super::random::Random;

const WORDS: usize = 6000;
const CODES: usize = 1024;
/// How far back a repeat reaches.
const WINDOW: u64 = 16 << 10;

/// The words and records that all files are made from.
pub struct Contents {
    words: Vec<Vec<u8>>,
    codes: Vec<Vec<u8>>,
}

impl Contents {
    pub fn new(random: &mut Random) -> Self {
        Self {
            words: (0..WORDS).map(|_| word(random)).collect(),
            codes: (0..CODES).map(|_| bytes(random, 2, 7)).collect(),
        }
    }

    /// A file of this length and of some kind.
    pub fn body(&self, len: usize, random: &mut Random) -> Vec<u8> {
        let mut out = Vec::with_capacity(len + 256);
        match random.below(10) {
            0..4 => self.fill(&mut out, len, random, Self::add_text),
            4..8 => self.fill(&mut out, len, random, Self::add_record),
            _ => {
                out.resize(len, 0);
                random.fill(&mut out);
            }
        }
        out.truncate(len);
        out
    }

    /// A name for a file.
    pub fn name(&self, random: &mut Random) -> String {
        String::from_utf8_lossy(&self.words[random.skewed(WORDS)]).into_owned()
    }

    fn fill(
        &self,
        out: &mut Vec<u8>,
        len: usize,
        random: &mut Random,
        add: fn(&Self, &mut Vec<u8>, &mut Random),
    ) {
        while out.len() < len {
            add(self, out, random);
        }
    }

    /// A word, mostly; sometimes a number, a line end, or something that stood there before.
    fn add_text(&self, out: &mut Vec<u8>, random: &mut Random) {
        match random.below(100) {
            0..6 => repeat(out, random, 8, 120),
            6..16 => {
                out.push(b'\n');
                out.resize(out.len() + 4 * random.below(4) as usize, b' ');
            }
            16..20 => out.extend(random.below(100_000).to_string().bytes()),
            _ => {
                out.extend_from_slice(&self.words[random.skewed(WORDS)]);
                out.push(if random.below(12) == 0 { b',' } else { b' ' });
            }
        }
    }

    /// A code, often with an operand; sometimes zeros, or a record that stood there before.
    fn add_record(&self, out: &mut Vec<u8>, random: &mut Random) {
        match random.below(100) {
            0..7 => repeat(out, random, 8, 64),
            7..10 => out.resize(out.len() + random.within(4..=48) as usize, 0),
            10..30 => out.extend(bytes(random, 1, 3)),
            _ => out.extend_from_slice(&self.codes[random.skewed(CODES)]),
        }
    }
}

fn word(random: &mut Random) -> Vec<u8> {
    const SYLLABLES: [&str; 24] = [
        "con", "ta", "re", "st", "le", "in", "er", "al", "to", "me", "de", "io", "n", "s", "ing", "pro",
        "ver", "u", "at", "ex", "form", "ble", "py", "x",
    ];
    (0..random.within(1..=4)).flat_map(|_| SYLLABLES[random.below(24) as usize].bytes()).collect()
}

fn bytes(random: &mut Random, least: u64, most: u64) -> Vec<u8> {
    let mut bytes = vec![0; random.within(least..=most) as usize];
    random.fill(&mut bytes);
    bytes
}

fn repeat(out: &mut Vec<u8>, random: &mut Random, least: u64, most: u64) {
    let back = random.below(WINDOW.min(out.len() as u64) + 1) as usize;
    let len = (random.within(least..=most) as usize).min(back);
    let start = out.len() - back;
    out.extend_from_within(start..start + len);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_compresses_well_over_three_to_one_and_records_about_two_to_one() {
        let mut random = Random::new(1);
        let contents = Contents::new(&mut random);
        let mut ratio = |add| {
            let mut out = Vec::new();
            contents.fill(&mut out, 128 << 10, &mut random, add);
            out.len() as f64 / zstd::bulk::compress(&out, 1).unwrap().len() as f64
        };
        let (text, records) = (ratio(Contents::add_text), ratio(Contents::add_record));
        assert!((3.0..4.0).contains(&text) && (2.0..2.8).contains(&records), "{text} {records}");
    }
}

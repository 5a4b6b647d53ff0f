//! Scripts against a whole drive. Expected bytes are typed from SSC-4, SPC-4 and captures of Linux st, never
//! taken from our constants.

use alloc::{collections::BTreeMap, string::String, vec, vec::Vec};
use bytes::Bytes;

use super::{test_medium::TestMedium, *};
use crate::{Cdb, Fault, Instant, PersistFault, Personality, Status};

#[derive(Debug, Default)]
pub(super) struct Memory(BTreeMap<String, Vec<u8>>);

impl Persist for Memory {
    fn load(&self, key: &str) -> Option<Vec<u8>> {
        self.0.get(key).cloned()
    }

    fn save(&mut self, key: &str, value: &[u8]) -> Result<(), PersistFault> {
        self.0.insert(key.into(), value.to_vec());
        Ok(())
    }
}

/// A drive with initiators.
pub(super) struct Bench {
    pub(super) drive: TapeDrive<TestMedium, Memory>,
}

pub(super) const ONE: NexusId = NexusId(1);
const TWO: NexusId = NexusId(2);

fn port(name: &str) -> InitiatorPort {
    InitiatorPort { name: name.into(), isid: [0; 6], target_port: 1 }
}

impl Bench {
    /// Empty, with one initiator that has heard of everything.
    pub(super) fn empty() -> Self {
        let personality = Personality::named("ibm-ult3580-td8").unwrap();
        let identity = Identity::new(&personality, "VTL0000001", 1);
        let drive = TapeDrive::new(identity, personality.drive.unwrap(), Memory::default());
        let mut bench = Self { drive };
        bench.drive.nexus_opened(ONE, &port("iqn.a"));
        bench.hear(ONE);
        bench
    }

    /// With a blank cartridge of 64 MiB.
    pub(super) fn loaded() -> Self {
        Self::with(TestMedium::blank("VTL001L8", 64 << 20))
    }

    pub(super) fn with(medium: TestMedium) -> Self {
        let mut bench = Self::empty();
        bench.drive.insert(medium).unwrap();
        bench.hear(ONE);
        bench
    }

    fn hear(&mut self, nexus: NexusId) {
        while self.drive.common_mut().take_attention(nexus).is_some() {}
    }

    /// The session ends and a new one begins, which has heard of the power on.
    pub(super) fn reconnect(&mut self) {
        self.drive.nexus_closed(ONE);
        self.drive.nexus_opened(ONE, &port("iqn.a"));
        self.hear(ONE);
    }

    pub(super) fn medium(&mut self) -> &mut TestMedium {
        self.drive.medium_mut().unwrap()
    }

    pub(super) fn send_from(&mut self, nexus: NexusId, cdb: &[u8], data: &[u8]) -> Reply {
        // In two pieces, as from a socket.
        let (one, two) = data.split_at(data.len() / 3);
        let data_out = [one, two].map(Bytes::copy_from_slice).into();
        let command = Command { nexus, from: None, cdb: Cdb::new(cdb), data_out, now: Instant(0) };
        self.drive.execute(&command)
    }

    pub(super) fn send(&mut self, cdb: &[u8], data: &[u8]) -> Reply {
        self.send_from(ONE, cdb, data)
    }

    /// A command that must end with GOOD, and its data.
    #[track_caller]
    pub(super) fn good(&mut self, cdb: &[u8]) -> Vec<u8> {
        let reply = self.send(cdb, &[]);
        assert_eq!(reply.status, Status::Good, "{cdb:02x?}: {reply:?}");
        reply.data_in.concat()
    }

    /// A command with data that must end with GOOD.
    #[track_caller]
    pub(super) fn give(&mut self, cdb: &[u8], data: &[u8]) {
        let reply = self.send(cdb, data);
        assert_eq!(reply.status, Status::Good, "{cdb:02x?}: {reply:?}");
        assert_eq!(reply.data_out_wanted, data.len() as u64);
    }

    /// A command that must end with CHECK CONDITION: what the sense data say.
    #[track_caller]
    fn sense(&mut self, cdb: &[u8]) -> Told {
        self.sense_of(cdb, &[])
    }

    #[track_caller]
    fn sense_of(&mut self, cdb: &[u8], data: &[u8]) -> Told {
        let reply = self.send(cdb, data);
        assert_eq!(reply.status, Status::CheckCondition, "{cdb:02x?}: {reply:?}");
        Told::read(&reply).unwrap()
    }

    #[track_caller]
    pub(super) fn write_block(&mut self, bytes: &[u8]) {
        let [_, a, b, c] = (bytes.len() as u32).to_be_bytes();
        self.give(&[0x0a, 0, a, b, c, 0], bytes);
    }

    #[track_caller]
    fn filemarks(&mut self, count: u8) {
        self.good(&[0x10, 0, 0, 0, count, 0]);
    }

    fn rewind(&mut self) {
        self.good(&[0x01, 0, 0, 0, 0, 0]);
    }

    /// MODE SELECT(6) as Linux st sends it: buffered mode 1, density 0, this block length.
    #[track_caller]
    fn set_block_length(&mut self, length: u32) {
        let [_, a, b, c] = length.to_be_bytes();
        self.give(&[0x15, 0x10, 0, 0, 12, 0], &[0, 0, 0x10, 8, 0, 0, 0, 0, 0, a, b, c]);
    }

    /// Object and file by READ POSITION long form.
    fn place(&mut self) -> (u64, u64) {
        let bytes = self.good(&[0x34, 0x06, 0, 0, 0, 0, 0, 0, 0, 0]);
        let at = |from: usize| u64::from_be_bytes(bytes[from..from + 8].try_into().unwrap());
        (at(8), at(16))
    }
}

/// Fixed format sense data as an initiator decodes them: nothing of our encoder is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) deferred: bool,
    pub(super) key: u8,
    pub(super) code: (u8, u8),
    /// FILEMARK, EOM, ILI.
    pub(super) marks: (bool, bool, bool),
    /// INFORMATION, when VALID.
    pub(super) information: Option<i32>,
}

impl Told {
    pub(super) fn read(reply: &Reply) -> Option<Self> {
        let bytes = reply.sense.as_ref()?.as_bytes();
        let information = i32::from_be_bytes(bytes[3..7].try_into().unwrap());
        Some(Self {
            deferred: bytes[0] & 0x7f == 0x71,
            key: bytes[2] & 0x0f,
            code: (bytes[12], bytes[13]),
            marks: (bytes[2] & 0x80 != 0, bytes[2] & 0x40 != 0, bytes[2] & 0x20 != 0),
            information: (bytes[0] & 0x80 != 0).then_some(information),
        })
    }

    fn error(key: u8, code: u8, qualifier: u8) -> Self {
        Self {
            deferred: false,
            key,
            code: (code, qualifier),
            marks: (false, false, false),
            information: None,
        }
    }

    fn left(self, left: i32) -> Self {
        Self { information: Some(left), ..self }
    }

    fn filemark(self) -> Self {
        Self { marks: (true, self.marks.1, self.marks.2), ..self }
    }

    fn end_of_medium(self) -> Self {
        Self { marks: (self.marks.0, true, self.marks.2), ..self }
    }

    fn wrong_length(residual: i32) -> Self {
        Self { marks: (false, false, true), ..Self::error(0, 0, 0).left(residual) }
    }

    fn late(self) -> Self {
        Self { deferred: true, ..self }
    }
}

const ILLEGAL_FIELD: (u8, u8, u8) = (0x5, 0x24, 0x00);

fn illegal_field() -> Told {
    let (key, code, qualifier) = ILLEGAL_FIELD;
    Told::error(key, code, qualifier)
}

fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|at| (at as u8).wrapping_mul(31) ^ seed).collect()
}

const READ_32K: [u8; 6] = [0x08, 0x00, 0x00, 0x80, 0x00, 0];
const READ_32K_SILI: [u8; 6] = [0x08, 0x02, 0x00, 0x80, 0x00, 0];

// Reading: residuals.

#[test]
fn a_block_comes_back_as_it_was_written() {
    let mut bench = Bench::loaded();
    for (at, length) in [1, 2, 511, 32_768, 65_537].into_iter().enumerate() {
        bench.write_block(&pattern(length, at as u8));
    }
    bench.rewind();
    for (at, length) in [1_u32, 2, 511, 32_768, 65_537].into_iter().enumerate() {
        let [_, a, b, c] = length.to_be_bytes();
        assert_eq!(bench.good(&[0x08, 0, a, b, c, 0]), pattern(length as usize, at as u8));
    }
}

#[test]
fn half_of_a_long_block_is_delivered_with_a_negative_residual() {
    let mut bench = Bench::loaded();
    bench.write_block(&pattern(65_536, 1));
    bench.write_block(&pattern(10, 2));
    bench.rewind();
    let reply = bench.send(&READ_32K, &[]);
    assert_eq!(Told::read(&reply), Some(Told::wrong_length(-32_768)));
    assert_eq!(reply.data_in.concat(), pattern(65_536, 1)[..32_768]);
    assert_eq!(bench.place(), (1, 0));
    assert_eq!(bench.good(&[0x08, 0, 0, 0, 10, 0]), pattern(10, 2));
}

#[test]
fn a_long_block_is_fine_with_sili_and_block_length_0() {
    let mut bench = Bench::loaded();
    bench.write_block(&pattern(65_536, 1));
    bench.rewind();
    assert_eq!(bench.good(&READ_32K_SILI), pattern(65_536, 1)[..32_768]);
}

#[test]
fn a_long_block_is_an_error_with_sili_when_a_block_length_is_set() {
    let mut bench = Bench::loaded();
    bench.write_block(&pattern(65_536, 1));
    bench.set_block_length(512);
    bench.rewind();
    assert_eq!(bench.sense(&READ_32K_SILI), Told::wrong_length(-32_768));
}

#[test]
fn a_short_block_leaves_the_residual_that_the_transport_counts() {
    let mut bench = Bench::loaded();
    bench.write_block(&pattern(16_384, 1));
    bench.rewind();
    let reply = bench.send(&READ_32K, &[]);
    let delivered = reply.data_in.concat();
    assert_eq!(delivered, pattern(16_384, 1));
    assert_eq!(Told::read(&reply), Some(Told::wrong_length(32_768 - delivered.len() as i32)));
    bench.rewind();
    assert_eq!(bench.good(&READ_32K_SILI), pattern(16_384, 1));
}

#[test]
fn a_filemark_ends_a_read_behind_itself_with_all_left() {
    let mut bench = Bench::loaded();
    bench.filemarks(1);
    bench.write_block(b"next");
    bench.rewind();
    let reply = bench.send(&READ_32K_SILI, &[]);
    assert_eq!(Told::read(&reply), Some(Told::error(0, 0, 1).left(32_768).filemark()));
    assert!(reply.data_in.concat().is_empty());
    assert_eq!(bench.place(), (1, 1));
}

#[test]
fn end_of_data_is_a_blank_check_that_does_not_move() {
    let mut bench = Bench::loaded();
    bench.write_block(b"only");
    for _ in 0..2 {
        assert_eq!(bench.sense(&READ_32K), Told::error(8, 0, 5).left(32_768));
        assert_eq!(bench.place(), (1, 0));
    }
}

#[test]
fn a_fixed_read_stops_at_a_filemark_with_the_blocks_before_it() {
    let mut bench = Bench::loaded();
    bench.set_block_length(512);
    bench.give(&[0x0a, 1, 0, 0, 3, 0], &pattern(1536, 7));
    bench.filemarks(1);
    bench.rewind();
    let reply = bench.send(&[0x08, 1, 0, 0, 10, 0], &[]);
    assert_eq!(Told::read(&reply), Some(Told::error(0, 0, 1).left(7).filemark()));
    assert_eq!(reply.data_in.concat(), pattern(1536, 7));
    assert_eq!(bench.place(), (4, 1));
    assert_eq!(bench.sense(&[0x08, 1, 0, 0, 10, 0]), Told::error(8, 0, 5).left(10));
}

#[test]
fn a_fixed_read_stops_behind_a_block_of_another_length_and_does_not_deliver_it() {
    for wrong in [100, 513] {
        let mut bench = Bench::loaded();
        bench.write_block(&pattern(512, 1));
        bench.write_block(&pattern(wrong, 2));
        bench.write_block(&pattern(512, 3));
        bench.set_block_length(512);
        bench.rewind();
        let reply = bench.send(&[0x08, 1, 0, 0, 3, 0], &[]);
        assert_eq!(Told::read(&reply), Some(Told::wrong_length(2)));
        assert_eq!(reply.data_in.concat(), pattern(512, 1));
        assert_eq!(bench.place(), (2, 0));
        assert_eq!(bench.good(&[0x08, 1, 0, 0, 1, 0]), pattern(512, 3));
    }
}

#[test]
fn fixed_reads_without_a_block_length_are_refused() {
    let mut bench = Bench::loaded();
    assert_eq!(bench.sense(&[0x08, 1, 0, 0, 1, 0]), illegal_field());
    assert_eq!(bench.sense_of(&[0x0a, 1, 0, 0, 1, 0], &[0; 512]), illegal_field());
    assert_eq!(bench.sense(&[0x08, 3, 0, 0, 1, 0]), illegal_field());
}

#[test]
fn a_length_of_0_transfers_nothing_and_is_good() {
    let mut bench = Bench::loaded();
    bench.medium().protect(true);
    bench.give(&[0x0a, 0, 0, 0, 0, 0], &[]);
    assert!(bench.good(&[0x08, 0, 0, 0, 0, 0]).is_empty());
    bench.good(&[0x10, 0, 0, 0, 0, 0]);
    assert_eq!(bench.place(), (0, 0));
}

#[test]
fn blocks_above_the_limit_of_the_drive_are_refused() {
    let mut bench = Bench::loaded();
    assert_eq!(bench.sense(&[0x08, 0, 0x80, 0, 1, 0]), illegal_field());
    assert_eq!(bench.sense_of(&[0x0a, 0, 0x80, 0, 1, 0], &[]), illegal_field());
    bench.write_block(&pattern(8_388_608, 9));
    bench.rewind();
    assert!(bench.good(&[0x08, 0, 0x80, 0, 0, 0]) == pattern(8_388_608, 9));
}

#[test]
fn a_fixed_read_of_more_than_memory_allows_is_refused() {
    let mut bench = Bench::loaded();
    bench.set_block_length(0x80_0000);
    assert_eq!(bench.sense(&[0x08, 1, 0xff, 0xff, 0xff, 0]), illegal_field());
}

#[test]
fn a_write_with_too_little_data_writes_nothing() {
    let mut bench = Bench::loaded();
    assert_eq!(bench.sense_of(&[0x0a, 0, 0, 0, 9, 0], &[1; 8]), Told::error(0xb, 0x4b, 0));
    assert_eq!(bench.place(), (0, 0));
}

#[test]
fn a_damaged_block_is_a_medium_error_that_does_not_take_others_with_it() {
    let mut bench = Bench::loaded();
    for seed in 0..3 {
        bench.write_block(&pattern(100, seed));
    }
    bench.medium().damaged.push(1);
    bench.rewind();
    bench.good(&[0x08, 0, 0, 0, 100, 0]);
    assert_eq!(bench.sense(&[0x08, 0, 0, 0, 100, 0]), Told::error(3, 0x11, 0).left(100));
    assert_eq!(bench.good(&[0x08, 0, 0, 0, 100, 0]), pattern(100, 2));
    bench.set_block_length(100);
    bench.rewind();
    let reply = bench.send(&[0x08, 1, 0, 0, 3, 0], &[]);
    assert_eq!(Told::read(&reply), Some(Told::error(3, 0x11, 0).left(2)));
    assert_eq!(reply.data_in.concat(), pattern(100, 0));
}

#[test]
fn a_block_that_is_elsewhere_aborts_the_command_before_it_and_may_be_asked_for_again() {
    let mut bench = Bench::loaded();
    for seed in 0..2 {
        bench.write_block(&pattern(100, seed));
    }
    bench.rewind();
    bench.medium().next_fault = Some(Fault::Away);
    assert_eq!(bench.sense(&[0x08, 0, 0, 0, 100, 0]), Told::error(0xb, 0x08, 0).left(100));
    assert_eq!(bench.place(), (0, 0));
    assert_eq!(bench.good(&[0x08, 0, 0, 0, 100, 0]), pattern(100, 0));
    bench.set_block_length(100);
    bench.medium().next_fault = Some(Fault::Away);
    assert_eq!(bench.sense(&[0x08, 1, 0, 0, 1, 0]), Told::error(0xb, 0x08, 0).left(1));
    assert_eq!(bench.good(&[0x08, 1, 0, 0, 1, 0]), pattern(100, 1));
}

#[test]
fn a_fixed_read_that_meets_a_block_elsewhere_delivers_nothing_and_can_be_repeated() {
    let mut bench = Bench::loaded();
    for seed in 0..4 {
        bench.write_block(&pattern(100, seed));
    }
    bench.set_block_length(100);
    bench.good(&[0x2b, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    bench.medium().away = Some(3);
    let reply = bench.send(&[0x08, 1, 0, 0, 3, 0], &[]);
    assert_eq!(Told::read(&reply), Some(Told::error(0xb, 0x08, 0).left(3)));
    assert!(reply.data_in.concat().is_empty());
    assert_eq!(bench.place(), (1, 0));
    bench.medium().away = None;
    assert_eq!(bench.good(&[0x08, 1, 0, 0, 3, 0]), [1, 2, 3].map(|seed| pattern(100, seed)).concat());
}

#[test]
fn verify_reads_without_transfer() {
    let mut bench = Bench::loaded();
    bench.write_block(&pattern(100, 0));
    bench.rewind();
    assert!(bench.good(&[0x13, 0, 0, 0, 100, 0]).is_empty());
    bench.rewind();
    let reply = bench.send(&[0x13, 0, 0, 0, 200, 0], &[]);
    assert_eq!(Told::read(&reply), Some(Told::wrong_length(100)));
    assert!(reply.data_in.concat().is_empty());
    assert_eq!(bench.sense(&[0x13, 2, 0, 0, 100, 0]), illegal_field());
}

// Writing: end of medium, protection, durability.

/// Room for 10 blocks of 100 bytes, of which the last three are past early warning.
fn small() -> Bench {
    let mut medium = TestMedium::blank("VTL001L8", 1000);
    medium.warning_bytes = 300;
    Bench::with(medium)
}

fn early_warning() -> Told {
    Told::error(0, 0, 2).left(0).end_of_medium()
}

#[test]
fn each_write_past_early_warning_is_taken_and_told() {
    let mut bench = small();
    for seed in 0..6 {
        bench.write_block(&pattern(100, seed));
    }
    for seed in 6..10 {
        assert_eq!(bench.sense_of(&[0x0a, 0, 0, 0, 100, 0], &pattern(100, seed)), early_warning());
    }
    let overflow = Told::error(0xd, 0, 2).left(100).end_of_medium();
    assert_eq!(bench.sense_of(&[0x0a, 0, 0, 0, 100, 0], &pattern(100, 10)), overflow);
    assert_eq!(bench.sense(&[0x10, 0, 0, 0, 2, 0]), early_warning());
    bench.good(&[0x10, 0, 0, 0, 0, 0]);
    assert_eq!(bench.place(), (12, 2));
    assert_eq!(bench.good(&[0x34, 0, 0, 0, 0, 0, 0, 0, 0, 0])[0], 0x40);
    bench.rewind();
    for seed in 0..10 {
        assert_eq!(bench.good(&[0x08, 0, 0, 0, 100, 0]), pattern(100, seed));
    }
}

#[test]
fn a_fixed_write_over_the_end_tells_the_blocks_that_are_left() {
    let mut bench = small();
    bench.set_block_length(100);
    let overflow = Told::error(0xd, 0, 2).left(3).end_of_medium();
    assert_eq!(bench.sense_of(&[0x0a, 1, 0, 0, 13, 0], &pattern(1300, 0)), overflow);
    assert!(bench.medium().all_is_durable());
    assert_eq!(bench.place(), (10, 0));
    bench.rewind();
    assert_eq!(bench.good(&[0x08, 1, 0, 0, 10, 0]), pattern(1300, 0)[..1000]);
}

#[test]
fn what_the_medium_did_not_take_is_the_residual_of_the_transport_too() {
    let mut bench = small();
    for seed in 0..9 {
        bench.send(&[0x0a, 0, 0, 0, 100, 0], &pattern(100, seed));
    }
    let taken = bench.send(&[0x0a, 0, 0, 0, 100, 0], &pattern(100, 9));
    assert_eq!((Told::read(&taken), taken.data_out_wanted), (Some(early_warning()), 100));
    let refused = bench.send(&[0x0a, 0, 0, 0, 40, 0], &pattern(40, 10));
    let overflow = Told::error(0xd, 0, 2).end_of_medium();
    assert_eq!((Told::read(&refused), refused.data_out_wanted), (Some(overflow.left(40)), 0));
    let mut bench = small();
    bench.set_block_length(100);
    let half = bench.send(&[0x0a, 1, 0, 0, 13, 0], &pattern(1300, 0));
    assert_eq!((Told::read(&half), half.data_out_wanted), (Some(overflow.left(3)), 1000));
}

/// Linux st takes a write past early warning as done, and refuses the next one once, only when the error is current, the key
/// NO SENSE, EOM set and INFORMATION valid and 0 (`st_write`, `write_behind_check`).
#[test]
fn early_warning_has_the_bytes_that_linux_st_wants() {
    let mut bench = small();
    bench.set_block_length(100);
    let reply = bench.send(&[0x0a, 1, 0, 0, 8, 0], &pattern(800, 0));
    let expected = [0xf0, 0, 0x40, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x00, 0x02, 0, 0, 0, 0];
    assert_eq!(reply.sense.unwrap().as_bytes(), expected);
    bench.set_block_length(0);
    let reply = bench.send(&[0x0a, 0, 0, 0, 50, 0], &pattern(50, 0));
    assert_eq!(reply.sense.unwrap().as_bytes(), expected);
}

/// The block before the end of medium keeps its number (btape reads it again and compares).
#[test]
fn after_a_write_that_did_not_fit_the_last_block_is_where_it_was() {
    let mut bench = small();
    for seed in 0..10 {
        bench.send(&[0x0a, 0, 0, 0, 100, 0], &pattern(100, seed));
    }
    assert_eq!(bench.sense_of(&[0x0a, 0, 0, 0, 100, 0], &pattern(100, 10)).key, 0xd);
    assert_eq!(bench.place(), (10, 0));
    bench.sense(&[0x10, 0, 0, 0, 1, 0]);
    bench.good(&[0x11, 1, 0xff, 0xff, 0xff, 0]);
    bench.good(&[0x11, 0, 0xff, 0xff, 0xff, 0]);
    assert_eq!(bench.place(), (9, 0));
    assert_eq!(bench.good(&[0x08, 0, 0, 0, 100, 0]), pattern(100, 9));
    assert_eq!(bench.place(), (10, 0));
}

#[test]
fn a_fixed_write_over_early_warning_is_taken_whole() {
    let mut bench = small();
    bench.set_block_length(100);
    assert_eq!(bench.sense_of(&[0x0a, 1, 0, 0, 8, 0], &pattern(800, 0)), early_warning());
    assert!(bench.medium().all_is_durable());
}

#[test]
fn a_write_replaces_everything_behind_it() {
    let mut bench = Bench::loaded();
    for seed in 0..3 {
        bench.write_block(&pattern(10, seed));
    }
    bench.good(&[0x2b, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    bench.write_block(b"new");
    assert_eq!(bench.sense(&READ_32K), Told::error(8, 0, 5).left(32_768));
    bench.rewind();
    assert_eq!(bench.good(&[0x08, 0, 0, 0, 10, 0]), pattern(10, 0));
    assert_eq!(bench.good(&[0x08, 0, 0, 0, 3, 0]), b"new");
}

#[test]
fn a_protected_cartridge_refuses_every_change() {
    let mut bench = Bench::loaded();
    bench.medium().protect(true);
    let protected = Told::error(7, 0x27, 0);
    assert_eq!(bench.sense_of(&[0x0a, 0, 0, 0, 1, 0], &[1]), protected);
    assert_eq!(bench.sense(&[0x10, 0, 0, 0, 1, 0]), protected);
    assert_eq!(bench.sense(&[0x19, 0, 0, 0, 0, 0]), protected);
    assert_eq!(bench.sense(&[0x19, 1, 0, 0, 0, 0]), protected);
    assert_eq!(bench.sense(&[0x04, 0, 0, 0, 0, 0]), protected);
    assert_eq!(bench.good(&[0x1a, 0, 0x01, 0, 12, 0])[2], 0x90);
}

#[test]
fn the_chip_of_a_protected_cartridge_takes_attributes() {
    let mut bench = Bench::loaded();
    bench.medium().protect(true);
    let list = [0, 0, 0, 6, 0x08, 0x05, 0, 0, 1, 0x81];
    bench.give(&[0x8d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0], &list);
    assert_eq!(bench.good(&[0x8c, 0, 0, 0, 0, 0, 0, 0, 0x08, 0x05, 0, 0, 0, 0xff, 0, 0]), list);
}

#[test]
fn a_worm_cartridge_takes_data_at_its_end_only() {
    let mut bench = Bench::with(TestMedium::blank("VTL001LY", 1 << 20));
    bench.write_block(b"kept");
    bench.rewind();
    let refused = Told::error(7, 0x30, 0x0c);
    assert_eq!(bench.sense_of(&[0x0a, 0, 0, 0, 1, 0], &[1]), refused);
    assert_eq!(bench.sense(&[0x10, 0, 0, 0, 1, 0]), refused);
    assert_eq!(bench.sense(&[0x19, 1, 0, 0, 0, 0]), refused);
    assert_eq!(bench.sense(&[0x04, 0, 0, 0, 0, 0]), refused);
    bench.good(&[0x11, 3, 0, 0, 0, 0]);
    bench.write_block(b"more");
    assert_eq!(bench.place(), (2, 0));
}

#[test]
fn these_commands_end_only_when_everything_is_durable() {
    let points: [&[u8]; 9] = [
        &[0x10, 0, 0, 0, 0, 0],
        &[0x10, 0, 0, 0, 1, 0],
        &[0x01, 0, 0, 0, 0, 0],
        &[0x11, 0, 0xff, 0xff, 0xff, 0],
        &[0x11, 3, 0, 0, 0, 0],
        &[0x2b, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x92, 0x18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x1b, 0, 0, 0, 0, 0],
        &[0x19, 0, 0, 0, 0, 0],
    ];
    for point in points {
        let mut bench = Bench::loaded();
        bench.write_block(b"data");
        assert!(!bench.medium().all_is_durable());
        bench.good(point);
        assert!(bench.medium().all_is_durable(), "{point:02x?}");
    }
    let mut bench = Bench::loaded();
    bench.write_block(b"data");
    bench.sense(&READ_32K);
    assert!(bench.medium().all_is_durable());
    bench.write_block(b"data");
    bench.set_block_length(0);
    assert!(bench.medium().all_is_durable());
    bench.write_block(b"data");
    bench.drive.nexus_closed(ONE);
    assert!(bench.medium().all_is_durable());
}

#[test]
fn immediate_filemarks_do_not_wait() {
    let mut bench = Bench::loaded();
    bench.write_block(b"data");
    bench.good(&[0x10, 1, 0, 0, 1, 0]);
    bench.good(&[0x10, 1, 0, 0, 0, 0]);
    assert_eq!(bench.medium().flushes, 0);
}

#[test]
fn a_tape_that_is_durable_is_not_flushed_again() {
    let mut bench = Bench::loaded();
    bench.write_block(b"data");
    for _ in 0..3 {
        bench.rewind();
        bench.good(&[0x08, 0, 0, 0, 4, 0]);
    }
    assert_eq!(bench.medium().flushes, 1);
}

#[test]
fn unbuffered_writes_are_durable_before_their_status() {
    let mut bench = Bench::loaded();
    bench.give(&[0x15, 0x10, 0, 0, 4, 0], &[0, 0, 0x00, 0]);
    assert_eq!(bench.good(&[0x1a, 8, 0x0f, 0, 4, 0])[2], 0x00);
    bench.write_block(b"data");
    assert!(bench.medium().all_is_durable());
    assert_eq!(bench.sense(&[0x10, 1, 0, 0, 1, 0]), illegal_field());
    bench.medium().next_fault = None;
}

#[test]
fn a_failed_late_write_is_told_once_as_deferred() {
    let mut bench = Bench::loaded();
    bench.write_block(b"kept");
    bench.good(&[0x10, 0, 0, 0, 0, 0]);
    bench.write_block(b"lost");
    bench.medium().next_fault = Some(Fault::LateWrite);
    let late = Told::error(3, 0x0c, 0).late();
    assert_eq!(bench.sense(&[0x01, 0, 0, 0, 0, 0]), late);
    assert_eq!(bench.place(), (1, 0));
    bench.rewind();
    assert_eq!(bench.drive.tally().drive.write_errors, 1);
}

#[test]
fn a_late_failure_met_by_a_write_leaves_that_write_undone() {
    let mut bench = Bench::loaded();
    bench.write_block(b"lost");
    bench.medium().next_fault = Some(Fault::LateWrite);
    assert_eq!(bench.sense_of(&[0x0a, 0, 0, 0, 4, 0], b"next"), Told::error(3, 0x0c, 0).late());
    assert_eq!(bench.place(), (0, 0));
    assert_eq!(bench.good(&[0x34, 0, 0, 0, 0, 0, 0, 0, 0, 0])[12..], [0; 8], "nothing waits any more");
    bench.write_block(b"next");
    assert_eq!(bench.place(), (1, 0));
}

#[test]
fn filemarks_that_cannot_be_kept_are_their_own_error_only_when_nothing_else_is_lost() {
    let mut bench = Bench::loaded();
    bench.medium().next_flush_fault = Some(Fault::LateWrite);
    assert_eq!(bench.sense(&[0x10, 0, 0, 0, 2, 0]), Told::error(3, 0x0c, 0).left(2));
    bench.write_block(b"lost");
    bench.medium().next_flush_fault = Some(Fault::LateWrite);
    assert_eq!(bench.sense(&[0x10, 0, 0, 0, 2, 0]), Told::error(3, 0x0c, 0).late());
    assert_eq!(bench.place(), (0, 0));
    bench.give(&[0x15, 0x10, 0, 0, 4, 0], &[0, 0, 0x00, 0]);
    bench.medium().next_flush_fault = Some(Fault::LateWrite);
    assert_eq!(bench.sense_of(&[0x0a, 0, 0, 0, 4, 0], b"next"), Told::error(3, 0x0c, 0).left(4));
}

#[test]
fn a_failure_met_by_a_mode_select_is_deferred_and_the_mode_stays() {
    let mut bench = Bench::loaded();
    bench.write_block(b"lost");
    bench.medium().next_fault = Some(Fault::LateWrite);
    let list = [0, 0, 0x10, 8, 0, 0, 0, 0, 0, 0, 2, 0];
    assert_eq!(bench.sense_of(&[0x15, 0x10, 0, 0, 12, 0], &list), Told::error(3, 0x0c, 0).late());
    assert_eq!(bench.good(&[0x1a, 0, 0x01, 0, 12, 0])[9..12], [0, 0, 0]);
}

#[test]
fn what_is_lost_when_a_session_ends_the_next_initiator_hears_once() {
    let mut bench = Bench::loaded();
    bench.drive.nexus_opened(TWO, &port("iqn.b"));
    bench.hear(TWO);
    bench.write_block(b"lost");
    bench.medium().next_fault = Some(Fault::LateWrite);
    bench.drive.nexus_closed(ONE);
    assert!(!bench.send_from(TWO, &[0x12, 0, 0, 0, 96, 0], &[]).data_in.is_empty());
    let reply = bench.send_from(TWO, &[0x00, 0, 0, 0, 0, 0], &[]);
    assert_eq!(Told::read(&reply), Some(Told::error(3, 0x0c, 0).late()));
    assert_eq!(bench.send_from(TWO, &[0x00, 0, 0, 0, 0, 0], &[]).status, Status::Good);
}

/// TEST UNIT READY of a nexus: nothing when it is GOOD, else what its sense data say.
fn asks(bench: &mut Bench, nexus: NexusId) -> Option<Told> {
    Told::read(&bench.send_from(nexus, &[0x00, 0, 0, 0, 0, 0], &[]))
}

/// Of these two, the first has written what a commit without a command then lost.
fn lost_behind_ones_back() -> Bench {
    let mut bench = waiting();
    bench.drive.nexus_opened(TWO, &port("iqn.b"));
    bench.hear(TWO);
    bench.medium().next_flush_fault = Some(Fault::LateWrite);
    bench.drive.wake(Instant(5));
    bench
}

fn late() -> Option<Told> {
    Some(Told::error(3, 0x0c, 0).late())
}

#[test]
fn what_is_lost_is_told_to_who_wrote_it_and_not_to_who_comes_first() {
    let mut bench = lost_behind_ones_back();
    assert_eq!(asks(&mut bench, TWO), None);
    assert_eq!(bench.sense_of(&[0x0a, 0, 0, 0, 4, 0], b"next"), late().unwrap());
    assert_eq!(bench.place(), (0, 0));
    assert_eq!((asks(&mut bench, ONE), asks(&mut bench, TWO)), (None, None));
    // What the other writes later is its own to lose.
    bench.send_from(TWO, &[0x0a, 0, 0, 0, 4, 0], b"data");
    bench.medium().next_flush_fault = Some(Fault::LateWrite);
    bench.drive.wake(Instant(5));
    assert_eq!((asks(&mut bench, ONE), asks(&mut bench, TWO)), (None, late()));
}

#[test]
fn everybody_who_wrote_what_is_lost_hears_of_it_once() {
    let mut bench = Bench::loaded();
    bench.drive.nexus_opened(TWO, &port("iqn.b"));
    bench.hear(TWO);
    bench.write_block(b"one");
    bench.send_from(TWO, &[0x0a, 0, 0, 0, 4, 0], b"data");
    bench.medium().next_flush_fault = Some(Fault::LateWrite);
    assert!(bench.drive.flush().is_err());
    assert_eq!((asks(&mut bench, TWO), asks(&mut bench, ONE)), (late(), late()));
    assert_eq!((asks(&mut bench, TWO), asks(&mut bench, ONE)), (None, None));
}

#[test]
fn a_loss_that_the_command_of_another_meets_is_told_to_who_wrote_too() {
    let rewind: (&[u8], &[u8]) = (&[0x01, 0, 0, 0, 0, 0], &[]);
    let mode: (&[u8], &[u8]) = (&[0x15, 0x10, 0, 0, 12, 0], &[0, 0, 0x10, 8, 0, 0, 0, 0, 0, 0, 2, 0]);
    for (cdb, data) in [rewind, mode] {
        let mut bench = Bench::loaded();
        bench.drive.nexus_opened(TWO, &port("iqn.b"));
        bench.hear(TWO);
        bench.write_block(b"lost");
        bench.medium().next_flush_fault = Some(Fault::LateWrite);
        assert_eq!(Told::read(&bench.send_from(TWO, cdb, data)), late(), "it was not executed");
        assert_eq!((asks(&mut bench, TWO), asks(&mut bench, ONE)), (None, late()));
        assert_eq!(asks(&mut bench, ONE), None);
    }
}

#[test]
fn who_wrote_hears_of_the_loss_in_its_next_session_too() {
    let mut bench = Bench::loaded();
    bench.drive.nexus_opened(TWO, &port("iqn.b"));
    bench.hear(TWO);
    bench.write_block(b"lost");
    bench.medium().next_flush_fault = Some(Fault::LateWrite);
    bench.drive.nexus_closed(ONE);
    assert_eq!(asks(&mut bench, TWO), late(), "nobody else is there");
    bench.drive.nexus_opened(NexusId(3), &port("iqn.a"));
    bench.hear(NexusId(3));
    assert_eq!((asks(&mut bench, NexusId(3)), asks(&mut bench, TWO)), (late(), None));
}

#[test]
fn a_loss_is_not_told_to_the_user_of_the_next_cartridge() {
    let mut bench = lost_behind_ones_back();
    bench.drive.nexus_closed(ONE);
    bench.drive.eject().unwrap();
    bench.drive.insert(TestMedium::blank("VTL002L8", 1 << 20)).unwrap();
    bench.hear(TWO);
    assert_eq!(asks(&mut bench, TWO), None);
    bench.drive.nexus_opened(ONE, &port("iqn.a"));
    bench.hear(ONE);
    assert_eq!(asks(&mut bench, ONE), late(), "it is still owed to who wrote");
}

#[test]
fn who_meets_a_reservation_takes_no_error_away() {
    let mut bench = Bench::loaded();
    for (nexus, name) in [(TWO, "iqn.b"), (NexusId(3), "iqn.c")] {
        bench.drive.nexus_opened(nexus, &port(name));
        bench.hear(nexus);
    }
    bench.write_block(b"lost");
    assert_eq!(bench.send_from(NexusId(3), &[0x16, 0, 0, 0, 0, 0], &[]).status, Status::Good);
    bench.medium().next_flush_fault = Some(Fault::LateWrite);
    bench.drive.nexus_closed(ONE);
    let refused = bench.send_from(TWO, &[0x00, 0, 0, 0, 0, 0], &[]);
    assert_eq!(refused.status, Status::ReservationConflict);
    assert_eq!(asks(&mut bench, NexusId(3)), late());
}

/// A drive with a block that is to be committed at 5 if nobody asks before.
fn waiting() -> Bench {
    let mut bench = Bench::loaded();
    bench.medium().commit_at = Some(Instant(5));
    assert_eq!(bench.drive.wake_at(), None);
    bench.write_block(b"data");
    assert_eq!(bench.drive.wake_at(), Some(Instant(5)));
    bench
}

#[test]
fn what_is_due_is_committed_without_a_command_and_no_sooner() {
    let mut bench = waiting();
    bench.drive.wake(Instant(4));
    assert!(!bench.medium().all_is_durable());
    bench.drive.wake(Instant(5));
    assert!(bench.medium().all_is_durable());
    assert_eq!(bench.drive.wake_at(), None);
    assert_eq!(bench.good(&[0x34, 0, 0, 0, 0, 0, 0, 0, 0, 0])[12..], [0; 8], "nothing waits any more");
    bench.rewind();
    assert_eq!(bench.medium().flushes, 1);
    bench.drive.eject().unwrap();
    assert_eq!(bench.drive.wake_at(), None);
}

#[test]
fn what_is_lost_by_a_commit_without_a_command_the_next_command_hears_once_as_deferred() {
    let mut bench = waiting();
    bench.medium().next_flush_fault = Some(Fault::LateWrite);
    bench.drive.wake(Instant(5));
    assert_eq!(bench.sense_of(&[0x0a, 0, 0, 0, 4, 0], b"next"), Told::error(3, 0x0c, 0).late());
    assert_eq!(bench.place(), (0, 0), "neither what was lost nor what came with the news");
    bench.write_block(b"next");
    assert_eq!(bench.place(), (1, 0));
    assert_eq!(bench.drive.tally().drive.write_errors, 1);
    assert_eq!(bench.drive.alerts() >> (64 - 6) & 1, 1, "TapeAlert 6: write failure");
}

#[test]
fn an_unbuffered_write_that_fails_is_its_own_error() {
    let mut bench = Bench::loaded();
    bench.give(&[0x15, 0x10, 0, 0, 4, 0], &[0, 0, 0x00, 0]);
    bench.medium().next_fault = Some(Fault::WriteFailed);
    assert_eq!(bench.sense_of(&[0x0a, 0, 0, 0, 4, 0], b"next"), Told::error(3, 0x0c, 0).left(4));
}

#[test]
fn a_full_pool_is_an_overflow_and_broken_things_have_their_sense() {
    let mut bench = Bench::loaded();
    let cases = [
        (Fault::PoolFull, Told::error(0xd, 0, 2).left(4).end_of_medium()),
        (Fault::FormatCorrupted, Told::error(3, 0x31, 0)),
        (Fault::Hardware, Told::error(4, 0x44, 0)),
        (Fault::WriteProtected, Told::error(7, 0x27, 0)),
        (Fault::WriteOnce, Told::error(7, 0x30, 0x0c)),
    ];
    for (fault, told) in cases {
        bench.medium().next_fault = Some(fault.clone());
        assert_eq!(bench.sense_of(&[0x0a, 0, 0, 0, 4, 0], b"data"), told, "{fault:?}");
    }
    assert_eq!(bench.place(), (0, 0));
}

// Moving.

/// What tgt answers with an error and Linux st then reports as an I/O error: tell, seek, fsf, bsf, eom and erase.
#[test]
fn a_blank_tape_can_be_told_sought_and_spaced() {
    let mut bench = Bench::loaded();
    assert_eq!(bench.good(&[0x34, 0x01, 0, 0, 0, 0, 0, 0, 0, 0])[..8], [0x80, 0, 0, 0, 0, 0, 0, 0]);
    bench.good(&[0x2b, 0x04, 0, 0, 0, 0, 0, 0, 0, 0]);
    bench.good(&[0x11, 0x03, 0, 0, 0, 0]);
    bench.good(&[0x19, 0, 0, 0, 0, 0]);
    assert_eq!(bench.sense(&[0x11, 0x01, 0, 0, 1, 0]), Told::error(8, 0, 5).left(1));
    let beginning = Told::error(0, 0, 4).left(1).end_of_medium();
    assert_eq!(bench.sense(&[0x11, 0x01, 0xff, 0xff, 0xff, 0]), beginning);
    assert_eq!(bench.place(), (0, 0));
}

#[test]
fn the_file_number_is_true_in_every_state() {
    let mut bench = two_files();
    for (cdb, place) in [
        (&[0x11, 0x01, 0, 0, 1, 0][..], (3, 1)),      // behind the first mark
        (&[0x11, 0x00, 0, 0, 1, 0], (4, 1)),          // in the second file
        (&[0x2b, 0, 0, 0, 0, 0, 6, 0, 0, 0], (6, 2)), // LOCATE(10)
        (&[0x11, 0x01, 0xff, 0xff, 0xfe, 0], (2, 0)), // back over two marks: before the first
        (&[0x92, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0], (6, 2)), // LOCATE(16) to file 2
        (&[0x11, 0x03, 0, 0, 0, 0], (7, 3)),          // end of data
        (&[0x10, 0x01, 0, 0, 2, 0], (9, 5)),          // marks that are not durable yet
        (&[0x01, 0, 0, 0, 0, 0], (0, 0)),
    ] {
        bench.good(cdb);
        assert_eq!(bench.place(), place, "{cdb:02x?}");
    }
    assert_eq!(bench.sense(&[0x2b, 0, 0, 0, 0, 0x01, 0, 0, 0, 0]).key, 8);
    assert_eq!(bench.place(), (9, 5), "beyond the end");
}

/// Two files of two blocks, then two marks: B B M B B M M.
fn two_files() -> Bench {
    let mut bench = Bench::loaded();
    for _ in 0..2 {
        bench.write_block(b"one");
        bench.write_block(b"two");
        bench.filemarks(1);
    }
    bench.filemarks(1);
    bench.rewind();
    bench
}

#[test]
fn spacing_over_blocks_stops_behind_a_filemark() {
    let mut bench = two_files();
    assert_eq!(bench.sense(&[0x11, 0, 0, 0, 5, 0]), Told::error(0, 0, 1).left(3).filemark());
    assert_eq!(bench.place(), (3, 1));
    assert_eq!(bench.sense(&[0x11, 0, 0xff, 0xff, 0xfe, 0]), Told::error(0, 0, 1).left(2).filemark());
    assert_eq!(bench.place(), (2, 0));
    bench.good(&[0x11, 0, 0xff, 0xff, 0xff, 0]);
    assert_eq!(bench.place(), (1, 0));
}

#[test]
fn spacing_before_the_beginning_is_no_sense_with_end_of_medium() {
    let mut bench = two_files();
    bench.good(&[0x11, 0, 0, 0, 1, 0]);
    assert_eq!(bench.sense(&[0x11, 0, 0xff, 0xff, 0xfd, 0]), Told::error(0, 0, 4).left(2).end_of_medium());
    bench.good(&[0x11, 1, 0, 0, 1, 0]);
    assert_eq!(bench.sense(&[0x11, 1, 0xff, 0xff, 0xfe, 0]), Told::error(0, 0, 4).left(1).end_of_medium());
    assert_eq!(bench.place(), (0, 0));
}

#[test]
fn spacing_over_filemarks_ends_at_end_of_data() {
    let mut bench = two_files();
    bench.good(&[0x11, 1, 0, 0, 2, 0]);
    assert_eq!(bench.place(), (6, 2));
    assert_eq!(bench.sense(&[0x11, 1, 0, 0, 4, 0]), Told::error(8, 0, 5).left(3));
    assert_eq!(bench.place(), (7, 3));
    assert_eq!(Bench::loaded().sense(&[0x11, 1, 0, 0, 1, 0]), Told::error(8, 0, 5).left(1));
}

#[test]
fn spacing_over_sequential_filemarks_finds_a_run() {
    let mut bench = two_files();
    bench.good(&[0x11, 2, 0, 0, 2, 0]);
    assert_eq!(bench.place(), (7, 3));
}

#[test]
fn spacing_by_0_stays_and_spacing_to_the_end_ignores_the_count() {
    let mut bench = two_files();
    bench.good(&[0x11, 0, 0, 0, 0, 0]);
    assert_eq!(bench.place(), (0, 0));
    bench.good(&[0x11, 3, 0xff, 0, 0, 0]);
    assert_eq!(bench.place(), (7, 3));
    assert_eq!(bench.sense(&[0x11, 4, 0, 0, 1, 0]), illegal_field());
}

#[test]
fn locate_goes_to_objects_files_and_the_end() {
    let mut bench = two_files();
    bench.good(&[0x2b, 0, 0, 0, 0, 0, 4, 0, 0, 0]);
    assert_eq!(bench.place(), (4, 1));
    let locate = |flags, id| [0x92, flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, id, 0, 0, 0, 0];
    bench.good(&locate(0x08, 2));
    assert_eq!(bench.place(), (6, 2));
    bench.good(&locate(0x08, 0));
    assert_eq!(bench.place(), (0, 0));
    bench.good(&locate(0x18, 0));
    assert_eq!(bench.place(), (7, 3));
    bench.good(&locate(0x02, 1));
    assert_eq!(bench.place(), (1, 0));
    let beyond = bench.sense(&locate(0x00, 99));
    assert_eq!((beyond.key, beyond.code), (8, (0, 5)));
    assert_eq!(bench.place(), (7, 3));
    assert_eq!(bench.sense(&locate(0x28, 0)), illegal_field());
}

#[test]
fn erase_makes_here_the_end() {
    let mut bench = two_files();
    bench.good(&[0x2b, 0, 0, 0, 0, 0, 4, 0, 0, 0]);
    bench.good(&[0x19, 2, 0, 0, 0, 0]);
    assert_eq!(bench.sense(&READ_32K), Told::error(8, 0, 5).left(32_768));
    bench.rewind();
    bench.good(&[0x19, 1, 0, 0, 0, 0]);
    assert_eq!(bench.medium().long_erases, 1);
    assert_eq!(bench.place(), (0, 0));
}

#[test]
fn format_empties_the_cartridge_from_its_beginning_only() {
    let mut bench = two_files();
    bench.good(&[0x11, 0, 0, 0, 1, 0]);
    assert_eq!(bench.sense(&[0x04, 0, 0, 0, 0, 0]), Told::error(5, 0x3b, 0x0c));
    assert_eq!(bench.sense(&[0x04, 0, 1, 0, 0, 0]), illegal_field());
    bench.rewind();
    bench.good(&[0x04, 0, 0, 0, 0, 0]);
    assert_eq!(bench.sense(&READ_32K), Told::error(8, 0, 5).left(32_768));
}

#[test]
fn read_position_as_linux_st_asks_it_has_twenty_bytes() {
    let mut bench = two_files();
    bench.good(&[0x2b, 4, 0, 0, 0, 0, 3, 0, 0, 0]);
    let expected = [0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(bench.good(&[0x34, 1, 0, 0, 0, 0, 0, 0, 0, 0]), expected);
    bench.write_block(&pattern(300, 0));
    let expected = [0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 1, 0x2c];
    assert_eq!(bench.good(&[0x34, 0, 0, 0, 0, 0, 0, 0, 0, 0]), expected);
    let extended = bench.good(&[0x34, 8, 0, 0, 0, 0, 0, 0, 32, 0]);
    assert_eq!(extended[..8], [0, 0, 0, 0x1c, 0, 0, 0, 1]);
    assert_eq!(extended.len(), 32);
    assert_eq!(bench.sense(&[0x34, 2, 0, 0, 0, 0, 0, 0, 0, 0]), illegal_field());
}

// Readiness, loading, prevention.

#[test]
fn an_empty_drive_says_so_to_everything_that_needs_a_medium() {
    let mut bench = Bench::empty();
    let needing: [&[u8]; 18] = [
        &[0x00, 0, 0, 0, 0, 0],
        &[0x01, 0, 0, 0, 0, 0],
        &[0x04, 0, 0, 0, 0, 0],
        &[0x08, 0, 0, 0, 1, 0],
        &[0x0a, 0, 0, 0, 1, 0],
        &[0x10, 0, 0, 0, 1, 0],
        &[0x11, 0, 0, 0, 1, 0],
        &[0x13, 0, 0, 0, 1, 0],
        &[0x19, 0, 0, 0, 0, 0],
        &[0x1b, 0, 0, 0, 0, 0],
        &[0x1b, 0, 0, 0, 1, 0],
        &[0x2b, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x34, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x44, 1, 0, 0, 0, 0, 0, 0, 0xff, 0],
        &[0x8c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0],
        &[0x8d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x92, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0xab, 1, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0],
    ];
    for cdb in needing {
        assert_eq!(bench.sense(cdb), Told::error(2, 0x3a, 0), "{cdb:02x?}");
    }
    let answering: [&[u8]; 9] = [
        &[0x03, 0, 0, 0, 252, 0],
        &[0x05, 0, 0, 0, 0, 0],
        &[0x12, 0, 0, 0, 96, 0],
        &[0x16, 0, 0, 0, 0, 0],
        &[0x17, 0, 0, 0, 0, 0],
        &[0x1a, 0, 0x3f, 0, 255, 0],
        &[0x1e, 0, 0, 0, 0, 0],
        &[0x44, 0, 0, 0, 0, 0, 0, 0, 0xff, 0],
        &[0x4d, 0, 0x40, 0, 0, 0, 0, 0, 0xff, 0],
    ];
    for cdb in answering {
        bench.good(cdb);
    }
    assert_eq!(bench.good(&[0x03, 0, 0, 0, 252, 0])[2..14], [2, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x3a, 0]);
}

#[test]
fn every_initiator_hears_of_a_new_cartridge() {
    let mut bench = Bench::empty();
    bench.drive.nexus_opened(TWO, &port("iqn.b"));
    bench.hear(TWO);
    bench.drive.insert(TestMedium::blank("VTL001L8", 1 << 20)).unwrap();
    for nexus in [ONE, TWO] {
        let reply = bench.send_from(nexus, &[0x00, 0, 0, 0, 0, 0], &[]);
        assert_eq!(Told::read(&reply), Some(Told::error(6, 0x28, 0)));
        assert_eq!(bench.send_from(nexus, &[0x00, 0, 0, 0, 0, 0], &[]).status, Status::Good);
    }
}

#[test]
fn a_host_can_unload_and_load_again() {
    let mut bench = Bench::loaded();
    bench.drive.nexus_opened(TWO, &port("iqn.b"));
    bench.hear(TWO);
    bench.write_block(b"data");
    bench.good(&[0x1b, 0, 0, 0, 0, 0]);
    bench.good(&[0x1b, 0, 0, 0, 0, 0]);
    assert_eq!(bench.drive.state(), State::Unloaded);
    assert_eq!(bench.sense(&[0x00, 0, 0, 0, 0, 0]), Told::error(2, 0x04, 0x02));
    bench.good(&[0x1b, 0, 0, 0, 1, 0]);
    bench.good(&[0x00, 0, 0, 0, 0, 0]);
    let reply = bench.send_from(TWO, &[0x00, 0, 0, 0, 0, 0], &[]);
    assert_eq!(Told::read(&reply), Some(Told::error(6, 0x28, 0)));
    assert_eq!(bench.good(&[0x08, 0, 0, 0, 4, 0]), b"data");
    bench.good(&[0x1b, 0, 0, 0, 1, 0]);
    assert_eq!(bench.place(), (0, 0));
    assert_eq!(bench.send_from(TWO, &[0x00, 0, 0, 0, 0, 0], &[]).status, Status::Good, "it was ready before");
}

#[test]
fn a_generation_that_the_drive_only_reads_looks_write_protected() {
    let personality = Personality::named("ibm-ult3580-td8").unwrap();
    let identity = Identity::new(&personality, "VTL0000001", 1);
    let mut profile = personality.drive.unwrap();
    profile.densities[0].writable = false;
    let mut bench = Bench { drive: TapeDrive::new(identity, profile, Memory::default()) };
    bench.drive.insert(TestMedium::blank("VTL001L7", 1 << 20)).unwrap();
    assert_eq!(bench.good(&[0x1a, 0, 0, 0, 12, 0])[2], 0x90);
    let refused = Told::error(5, 0x30, 0x05);
    assert_eq!(bench.sense_of(&[0x0a, 0, 0, 0, 1, 0], &[1]), refused);
    for cdb in [[0x10, 0, 0, 0, 1, 0], [0x19, 0, 0, 0, 0, 0], [0x04, 0, 0, 0, 0, 0]] {
        assert_eq!(bench.sense(&cdb), refused, "{cdb:02x?}");
    }
    bench.good(&[0x10, 0, 0, 0, 0, 0]);
}

#[test]
fn prevention_stops_unloading_until_its_nexus_ends() {
    let mut bench = Bench::loaded();
    bench.drive.nexus_opened(TWO, &port("iqn.b"));
    bench.hear(TWO);
    bench.send_from(TWO, &[0x1e, 0, 0, 0, 1, 0], &[]);
    assert!(bench.drive.is_prevented());
    assert_eq!(bench.sense(&[0x1b, 0, 0, 0, 0, 0]), Told::error(5, 0x53, 0x02));
    assert_eq!(bench.drive.alerts(), 1 << (64 - 10));
    bench.good(&[0x1b, 0, 0, 0, 8, 0]);
    assert_eq!(bench.drive.state(), State::Unloaded);
    bench.drive.nexus_closed(TWO);
    assert!(!bench.drive.is_prevented());
    bench.good(&[0x1b, 0, 0, 0, 0, 0]);
}

#[test]
fn the_owner_takes_a_cartridge_out_with_all_its_data() {
    let mut bench = Bench::loaded();
    bench.write_block(b"data");
    let status = bench.drive.status();
    assert_eq!((status.state, status.block, status.file), (State::Loaded, 1, 0));
    assert_eq!(status.label.as_deref(), Some("VTL001L8"));
    let medium = bench.drive.eject().unwrap();
    assert!(medium.all_is_durable());
    assert_eq!(bench.drive.state(), State::Empty);
    assert_eq!(bench.drive.eject().unwrap_err(), EjectFault::Empty);
    bench.drive.insert(medium).unwrap();
    let again = TestMedium::blank("VTL002L8", 1);
    assert_eq!(bench.drive.insert(again).unwrap_err().why, InsertFault::Occupied);
}

#[test]
fn a_cartridge_whose_data_cannot_be_kept_stays_in_the_drive() {
    let mut bench = Bench::loaded();
    bench.write_block(b"data");
    bench.medium().next_fault = Some(Fault::Hardware);
    assert_eq!(bench.drive.eject().unwrap_err(), EjectFault::NotDurable(Check::InternalFailure));
    assert_eq!(bench.drive.state(), State::Loaded);
    assert_eq!(bench.sense(&[0x00, 0, 0, 0, 0, 0]), Told::error(4, 0x44, 0).late());
    assert!(bench.drive.eject().unwrap().all_is_durable());
}

#[test]
fn cartridges_that_the_drive_cannot_read_are_refused() {
    for label in ["VTL001L6", "VTL001L9", "CLN001CU"] {
        let refused = Bench::empty().drive.insert(TestMedium::blank(label, 1 << 20)).unwrap_err();
        assert_eq!(refused.why, InsertFault::Incompatible, "{label}");
    }
    let mut broken = TestMedium::blank("VTL001L8", 1 << 20);
    broken.next_fault = Some(Fault::Hardware);
    let refused = Bench::empty().drive.insert(broken).unwrap_err();
    assert_eq!(refused.why, InsertFault::LoadFailed);
}

// Pages.

#[test]
fn read_block_limits_have_both_forms() {
    let mut bench = Bench::loaded();
    assert_eq!(bench.good(&[0x05, 0, 0, 0, 0, 0]), [0, 0x80, 0, 0, 0, 1]);
    assert_eq!(bench.good(&[0x05, 1, 0, 0, 0, 0]).len(), 20);
}

#[test]
fn mode_sense_as_linux_st_sends_it() {
    let mut bench = Bench::loaded();
    let expected = [11, 0x88, 0x10, 8, 0x5e, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(bench.good(&[0x1a, 0, 0, 0, 12, 0]), expected);
    assert_eq!(bench.good(&[0x1a, 0, 0, 0, 255, 0]), expected);
    assert_eq!(bench.good(&[0x1a, 8, 0, 0, 255, 0]), [3, 0x88, 0x10, 0]);
    let expected = [0, 14, 0x88, 0x10, 0, 0, 0, 8, 0x5e, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(bench.good(&[0x5a, 0, 0, 0, 0, 0, 0, 0, 255, 0]), expected);
    assert_eq!(bench.good(&[0x1a, 0, 0x3f, 0, 12, 0])[1..], [0x88, 0x10, 8, 0x5e, 0, 0, 0, 0, 0, 0, 0]);
    bench.set_block_length(0x01_0203);
    assert_eq!(bench.good(&[0x1a, 0, 0, 0, 12, 0])[4..12], [0x5e, 0, 0, 0, 0, 1, 2, 3]);
}

#[test]
fn all_pages_come_in_both_lengths_with_and_without_block_descriptor() {
    let mut bench = Bench::loaded();
    let pages = bench.good(&[0x5a, 0x08, 0x3f, 0xff, 0, 0, 0, 0x04, 0, 0])[8..].to_vec();
    let without_subpages = bench.good(&[0x5a, 0x08, 0x3f, 0x00, 0, 0, 0, 0x04, 0, 0])[8..].to_vec();
    assert_eq!(pages.len() - without_subpages.len(), 32, "10/01 is a subpage");
    let descriptor = [0x5e, 0, 0, 0, 0, 0, 0, 0];
    for (subpage, pages) in [(0xff, pages), (0x00, without_subpages)] {
        let short = [&[0, 0x88, 0x10, 0][..], &pages].concat();
        let short_with = [&[0, 0x88, 0x10, 8][..], &descriptor, &pages].concat();
        let long_with = [&[0, 0, 0x88, 0x10, 0, 0, 0, 8][..], &descriptor, &pages].concat();
        assert_eq!(bench.good(&[0x1a, 0x08, 0x3f, subpage, 0xff, 0])[1..], short[1..]);
        assert_eq!(bench.good(&[0x1a, 0x00, 0x3f, subpage, 0xff, 0])[1..], short_with[1..]);
        let bytes = bench.good(&[0x5a, 0x00, 0x3f, subpage, 0, 0, 0, 0x04, 0, 0]);
        assert_eq!(usize::from(bytes[1]) + 2, bytes.len());
        assert_eq!(bytes[2..], long_with[2..]);
    }
}

#[test]
fn inquiry_says_removable_and_lists_its_pages_in_order() {
    let mut bench = Bench::empty();
    let short = bench.good(&[0x12, 0, 0, 0, 36, 0]);
    assert_eq!((short.len(), short[0], short[1], short[2]), (36, 0x01, 0x80, 0x06));
    let long = bench.good(&[0x12, 0, 0, 0, 0xff, 0]);
    assert_eq!((long.len(), &long[..36]), (usize::from(long[4]) + 5, &short[..]));
    assert_eq!(bench.good(&[0x12, 1, 0, 0, 0xff, 0]), [1, 0, 0, 6, 0x00, 0x80, 0x83, 0x86, 0xb0, 0xb1]);
    assert_eq!(bench.sense(&[0x12, 1, 0xb5, 0, 0xff, 0]), illegal_field());
}

#[test]
fn the_drive_has_one_serial_number_wherever_it_is_asked() {
    let mut bench = Bench::loaded();
    let serial = b"VTL0000001";
    assert_eq!(bench.good(&[0x12, 1, 0x80, 0, 0xff, 0]), [&[1, 0x80, 0, 10][..], serial].concat());
    assert_eq!(bench.good(&[0x12, 1, 0xb1, 0, 0xff, 0]), [&[1, 0xb1, 0, 10][..], serial].concat());
    let designator = [b"IBM     ULT3580-TD8     ", &serial[..]].concat();
    assert_eq!(bench.good(&[0x12, 1, 0x83, 0, 0xff, 0])[8..42], designator);
    assert_eq!(bench.drive.common().identity().dvcid(), designator);
    let last_load = bench.good(&[0x8c, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x0a, 0, 0, 0, 0xff, 0, 0]);
    assert_eq!(last_load[9..49], *b"IBM     VTL0000001                      ");
}

#[test]
fn every_page_is_listed_once_and_ascending() {
    let mut bench = Bench::loaded();
    let all = bench.good(&[0x5a, 0x08, 0x3f, 0xff, 0, 0, 0, 0x04, 0, 0]);
    assert_eq!(usize::from(u16::from_be_bytes([all[0], all[1]])) + 2, all.len());
    let mut codes = Vec::new();
    let mut at = 8;
    while at < all.len() {
        let with_subpage = all[at] & 0x40 != 0;
        let length = if with_subpage { 4 + usize::from(all[at + 3]) } else { 2 + usize::from(all[at + 1]) };
        codes.push((all[at] & 0x3f, if with_subpage { all[at + 1] } else { 0 }));
        at += length;
    }
    let expected =
        [(1, 0), (2, 0), (0x0a, 0), (0x0f, 0), (0x10, 0), (0x10, 1), (0x11, 0), (0x1a, 0), (0x1c, 0)];
    assert_eq!(codes, expected);
}

#[test]
fn the_configuration_extension_has_48_bytes_in_all() {
    let mut bench = Bench::loaded();
    let bytes = bench.good(&[0x5a, 0, 0x10, 0x01, 0, 0, 0, 0, 48, 0]);
    let mut expected =
        vec![0, 46, 0x88, 0x10, 0, 0, 0, 8, 0x5e, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x01, 0, 0x1c, 0, 2];
    expected.resize(48, 0);
    assert_eq!(bytes, expected);
}

#[test]
fn the_compression_page_says_that_the_drive_compresses() {
    let mut bench = Bench::loaded();
    let bytes = bench.good(&[0x1a, 8, 0x0f, 0, 255, 0]);
    assert_eq!(bytes[4..], [0x8f, 0x0e, 0xc0, 0x80, 0, 0, 0, 0xff, 0, 0, 0, 0xff, 0, 0, 0, 0]);
    let bytes = bench.good(&[0x1a, 8, 0x10, 0, 255, 0]);
    assert_eq!(bytes[4..], [0x90, 0x0e, 0, 0, 0, 0, 0, 0, 0x40, 0, 0x18, 0, 0, 0, 1, 0]);
    let bytes = bench.good(&[0x1a, 8, 0x11, 0, 255, 0]);
    assert_eq!(bytes[4..], [0x11, 0x06, 0, 0, 0x18, 3, 9, 0]);
}

#[test]
fn compression_is_switched_by_page_0f_as_linux_st_does_it() {
    let mut bench = Bench::loaded();
    let mut list = bench.good(&[0x1a, 0, 0x0f, 0, 28, 0]);
    list[0] = 0;
    list[1] = 0;
    list[12] &= 0x3f;
    list[14] &= 0x7f;
    bench.give(&[0x15, 0x10, 0, 0, 28, 0], &list);
    bench.write_block(b"raw");
    assert_eq!(bench.medium().compressed_blocks, 0);
    assert_eq!(bench.good(&[0x1a, 8, 0x10, 0, 255, 0])[18], 0, "SDCA follows DCE");
    list[14] |= 0x80;
    bench.give(&[0x15, 0x10, 0, 0, 28, 0], &list);
    bench.write_block(b"small");
    assert_eq!(bench.medium().compressed_blocks, 1);
}

#[test]
fn compression_is_switched_by_page_10_too_but_not_both_ways_at_once() {
    let mut bench = Bench::loaded();
    let configuration = [0x10, 0x0e, 0, 0, 0, 0, 0, 0, 0x40, 0, 0x18, 0, 0, 0, 0, 0];
    let compression = [0x0f, 0x0e, 0xc0, 0x80, 0, 0, 0, 0xff, 0, 0, 0, 0xff, 0, 0, 0, 0];
    let both = [&[0, 0, 0x10, 0][..], &compression, &configuration].concat();
    assert_eq!(bench.sense_of(&[0x15, 0x10, 0, 0, 36, 0], &both), Told::error(5, 0x26, 0));
    bench.give(&[0x15, 0x10, 0, 0, 20, 0], &[&[0, 0, 0x10, 0][..], &configuration].concat());
    assert_eq!(bench.good(&[0x1a, 8, 0x0f, 0, 255, 0])[6], 0x40, "DCE follows SDCA");
    bench.write_block(b"raw");
    assert_eq!(bench.medium().compressed_blocks, 0);
}

#[test]
fn a_mode_select_that_cannot_be_saved_leaves_both_views_of_compression_alone() {
    use crate::testing::{A, connect, data, is_good, send, send_out, sense};
    let memory = crate::testing::Memory::default();
    let personality = Personality::named("ibm-ult3580-td8").unwrap();
    let identity = Identity::new(&personality, "VTL0000001", 1);
    let mut drive = TapeDrive::<TestMedium, _>::new(identity, personality.drive.unwrap(), memory.clone());
    drive.insert(TestMedium::blank("VTL001L8", 1 << 20)).unwrap();
    connect(&mut drive);
    let off = [0, 0, 0x10, 0, 0x0f, 0x0e, 0x40, 0x80, 0, 0, 0, 0xff, 0, 0, 0, 0xff, 0, 0, 0, 0];
    let both = |drive: &mut _| {
        let compression = data(&send(drive, A, &[0x1a, 8, 0x0f, 0, 255, 0]))[6];
        (compression, data(&send(drive, A, &[0x1a, 8, 0x10, 0, 255, 0]))[18])
    };
    memory.break_down();
    assert_eq!(sense(&send_out(&mut drive, A, &[0x15, 0x11, 0, 0, 20, 0], &off)), (4, 0x44, 0x00));
    assert_eq!(both(&mut drive), (0xc0, 1));
    assert!(is_good(&send_out(&mut drive, A, &[0x15, 0x10, 0, 0, 20, 0], &off)));
    assert_eq!(both(&mut drive), (0x40, 0));
}

#[test]
fn mode_select_takes_the_right_density_only() {
    let mut bench = Bench::loaded();
    let list = |density| [0, 0, 0x10, 8, density, 0, 0, 0, 0, 0, 0, 0];
    for density in [0x00, 0x7f, 0x5e] {
        bench.give(&[0x15, 0x10, 0, 0, 12, 0], &list(density));
    }
    for density in [0x5c, 0x44, 0xff] {
        assert_eq!(bench.sense_of(&[0x15, 0x10, 0, 0, 12, 0], &list(density)), Told::error(5, 0x26, 0));
    }
    let too_long = [0, 0, 0x10, 8, 0, 0, 0, 0, 0, 0x80, 0, 1];
    assert_eq!(bench.sense_of(&[0x15, 0x10, 0, 0, 12, 0], &too_long), Told::error(5, 0x26, 0));
    let speed = [0, 0, 0x11, 0];
    assert_eq!(bench.sense_of(&[0x15, 0x10, 0, 0, 4, 0], &speed), Told::error(5, 0x26, 0));
}

#[test]
fn partitions_are_not_announced_and_not_made() {
    let mut bench = Bench::loaded();
    let list = [0, 0, 0x10, 0, 0x11, 0x06, 0, 1, 0x18, 3, 9, 0];
    assert_eq!(bench.sense_of(&[0x15, 0x10, 0, 0, 12, 0], &list), Told::error(5, 0x26, 0));
}

#[test]
fn another_initiator_hears_of_changed_modes_and_a_reset_undoes_them() {
    let mut bench = Bench::loaded();
    bench.drive.nexus_opened(TWO, &port("iqn.b"));
    bench.hear(TWO);
    bench.set_block_length(512);
    let reply = bench.send_from(TWO, &[0x00, 0, 0, 0, 0, 0], &[]);
    assert_eq!(Told::read(&reply), Some(Told::error(6, 0x2a, 0x01)));
    bench.drive.reset(Reset::LogicalUnit);
    bench.hear(ONE);
    assert_eq!(bench.good(&[0x1a, 0, 0, 0, 12, 0])[9..12], [0, 0, 0]);
}

#[test]
fn commands_that_are_not_there_are_refused_at_once() {
    let mut bench = Bench::loaded();
    for opcode in [0x0b, 0x0f, 0x14, 0x3b, 0x3c, 0x82, 0x88, 0x8a, 0xa2, 0xa5, 0xb5, 0xb8, 0xc0, 0xff] {
        assert_eq!(bench.sense(&[opcode; 16]), Told::error(5, 0x20, 0), "{opcode:02x}");
    }
}

#[test]
fn the_media_serial_number_is_the_one_of_the_auxiliary_memory() {
    let mut bench = Bench::loaded();
    let bytes = bench.good(&[0xab, 1, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0]);
    assert_eq!(bytes, [&[0, 0, 0, 16][..], b"SERIAL-VTL001L8 "].concat());
    let cdb = [0x8c, 0, 0, 0, 0, 0, 0, 0, 0x04, 0x01, 0, 0, 0, 0xff, 0, 0];
    assert_eq!(bench.good(&cdb)[9..25], *b"SERIAL-VTL001L8 ");
}

#[test]
fn attributes_are_written_and_read_through_their_commands() {
    let mut bench = Bench::loaded();
    let list = [&[0, 0, 0, 13, 0x08, 0x00, 1, 0, 8][..], b"ACME    "].concat();
    bench.give(&[0x8d, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0], &list);
    let read = |partition, first: [u8; 2]| {
        [0x8c, 0, 0, 0, 0, 0, 0, partition, first[0], first[1], 0, 0, 0, 0xff, 0, 0]
    };
    assert_eq!(bench.good(&read(0, [8, 0])), list);
    assert_eq!(bench.sense(&read(0, [8, 1])), illegal_field());
    assert_eq!(bench.sense(&read(1, [8, 0])), illegal_field());
    let cut = bench.send(&[0x8d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0], &list[..9]);
    assert_eq!(Told::read(&cut), Some(Told::error(0xb, 0x4b, 0)));
}

/// Parameters of a log page: code and value.
fn log(bench: &mut Bench, page: u8) -> Vec<(u16, Vec<u8>)> {
    let bytes = bench.good(&[0x4d, 0, 0x40 | page, 0, 0, 0, 0, 0x40, 0, 0]);
    assert_eq!(bytes[..2], [page, 0]);
    assert_eq!(usize::from(u16::from_be_bytes([bytes[2], bytes[3]])) + 4, bytes.len());
    let mut parameters = Vec::new();
    let mut rest = &bytes[4..];
    while let [high, low, _control, length, after @ ..] = rest {
        let (value, behind) = after.split_at(usize::from(*length));
        parameters.push((u16::from_be_bytes([*high, *low]), value.to_vec()));
        rest = behind;
    }
    parameters
}

#[test]
fn log_pages_are_listed() {
    let mut bench = Bench::loaded();
    let expected = [0, 0, 0, 9, 0x00, 0x02, 0x03, 0x0c, 0x11, 0x12, 0x17, 0x2e, 0x31];
    assert_eq!(bench.good(&[0x4d, 0, 0x40, 0, 0, 0, 0, 0, 0xff, 0]), expected);
}

#[test]
fn counters_count_what_went_over_the_tape() {
    let mut bench = Bench::loaded();
    bench.write_block(&pattern(1000, 0));
    bench.write_block(&pattern(3_000_000, 0));
    bench.rewind();
    bench.good(&[0x08, 0, 0, 0x03, 0xe8, 0]);
    bench.rewind();
    bench.good(&[0x13, 0, 0, 0x03, 0xe8, 0]);
    let bytes = |value: u64| value.to_be_bytes().to_vec();
    assert_eq!(log(&mut bench, 0x02)[1], (0x0005, bytes(3_001_000)));
    assert_eq!(log(&mut bench, 0x03)[1], (0x0005, bytes(2000)), "VERIFY reads, too");
    let sequential = log(&mut bench, 0x0c);
    assert_eq!(sequential, [(0, bytes(3_001_000)), (3, bytes(1000)), (4, vec![0, 0, 0, 3])]);
    bench.good(&[0x4c, 2, 0xc2, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(log(&mut bench, 0x02)[1], (0x0005, bytes(0)));
    assert_eq!(log(&mut bench, 0x03)[1], (0x0005, bytes(2000)));
    assert_eq!(log(&mut bench, 0x0c)[0], (0, bytes(3_001_000)));
}

#[test]
fn volume_statistics_are_those_of_the_cartridge_in_the_drive() {
    let mut bench = Bench::loaded();
    bench.write_block(&pattern(3_000_000, 0));
    let page = log(&mut bench, 0x17);
    let value = |code| page.iter().find(|(c, _)| *c == code).map(|(_, value)| value.clone()).unwrap();
    assert_eq!(value(0x0000), [1]);
    assert_eq!(value(0x0001), [0, 0, 0, 3]);
    assert_eq!(value(0x000e), [0, 0, 0, 3]);
    assert_eq!(value(0x0042), *b"VTL001L8                        ");
    assert_eq!(value(0x0045), *b"Ultrium-8");
    assert_eq!(value(0x0202), [7, 0, 0, 0, 0, 0, 0, 67]);
    assert_eq!(value(0x0203), [7, 0, 0, 0, 0, 0, 0, 3]);
    assert_eq!(value(0x0204), [7, 0, 0, 0, 0, 0, 0, 64]);
    assert_eq!((value(0x0016), value(0x0017)), (vec![0, 0, 0, 67], vec![0, 0, 0, 3]));
    let remaining = bench.good(&[0x8c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0]);
    assert_eq!(remaining[9..], [0, 0, 0, 0, 0, 0, 0, 61]);
    let medium = bench.drive.eject().unwrap();
    assert_eq!(log(&mut bench, 0x17), [(0, vec![0])]);
    bench.drive.insert(medium).unwrap();
    bench.hear(ONE);
    let page = log(&mut bench, 0x17);
    assert!(page.contains(&(0x000e, vec![0; 4])), "nothing was written in this mount: {page:?}");
    assert_eq!(bench.drive.tally().loads, 2);
}

#[test]
fn capacity_and_status_pages_follow_the_drive() {
    let mut bench = Bench::loaded();
    bench.write_block(&pattern(3 << 20, 0));
    let four = |value: u32| value.to_be_bytes().to_vec();
    assert_eq!(log(&mut bench, 0x31), [(1, four(61)), (2, four(0)), (3, four(64)), (4, four(0))]);
    assert_eq!(log(&mut bench, 0x11), [(0, vec![0x31, 0x37, 0, 0])]);
    bench.good(&[0x1b, 0, 0, 0, 0, 0]);
    assert_eq!(log(&mut bench, 0x11), [(0, vec![0x11, 0x34, 0, 0])]);
    bench.drive.eject().unwrap();
    assert_eq!(log(&mut bench, 0x11), [(0, vec![0x11, 0x20, 0, 0])]);
}

#[test]
fn tape_alert_flags_are_live_and_shown_once() {
    let mut bench = Bench::loaded();
    let raised = |page: Vec<(u16, Vec<u8>)>| -> Vec<u16> {
        assert_eq!(page.len(), 64);
        page.into_iter().filter(|(_, value)| value == &[1]).map(|(code, _)| code).collect()
    };
    assert!(raised(log(&mut bench, 0x2e)).is_empty());
    bench.medium().next_fault = Some(Fault::WriteFailed);
    bench.sense_of(&[0x0a, 0, 0, 0, 1, 0], &[1]);
    bench.medium().protect(true);
    bench.sense_of(&[0x0a, 0, 0, 0, 1, 0], &[1]);
    assert_eq!(log(&mut bench, 0x12)[0].1, [0x04, 0x80, 0, 0, 0, 0, 0, 0]);
    assert_eq!(log(&mut bench, 0x11)[0].1[3], 0x01, "TAFC");
    assert_eq!(raised(log(&mut bench, 0x2e)), [6, 9]);
    assert!(raised(log(&mut bench, 0x2e)).is_empty());
    bench.reconnect();
    assert_eq!(raised(log(&mut bench, 0x2e)), [6, 9]);
    bench.drive.eject().unwrap();
    bench.drive.insert(TestMedium::blank("VTL002L8", 1 << 20)).unwrap();
    assert_eq!(bench.drive.alerts(), 0, "a new cartridge begins without flags");
}

#[test]
fn a_reservation_of_another_initiator_keeps_the_tape() {
    let mut bench = Bench::loaded();
    bench.drive.nexus_opened(TWO, &port("iqn.b"));
    bench.hear(TWO);
    bench.good(&[0x16, 0, 0, 0, 0, 0]);
    for cdb in [[0x08, 0, 0, 0, 1, 0], [0x0a, 0, 0, 0, 0, 0], [0x01, 0, 0, 0, 0, 0], [0x1b, 0, 0, 0, 0, 0]] {
        assert_eq!(bench.send_from(TWO, &cdb, &[]).status, Status::ReservationConflict, "{cdb:02x?}");
    }
    assert_eq!(bench.send_from(TWO, &[0x05, 0, 0, 0, 0, 0], &[]).status, Status::Good);
    let mode_sense = bench.send_from(TWO, &[0x1a, 0, 0, 0, 12, 0], &[]);
    assert_eq!(mode_sense.status, Status::ReservationConflict);
    bench.drive.nexus_closed(ONE);
    assert_eq!(bench.send_from(TWO, &[0x01, 0, 0, 0, 0, 0], &[]).status, Status::Good);
}

#[test]
fn the_table_that_dispatches_is_the_one_that_is_reported() {
    let mut bench = Bench::loaded();
    let one = |opcode| [0xa3, 0x0c, 0x01, opcode, 0, 0, 0, 0, 1, 0, 0, 0];
    assert_eq!(bench.good(&one(0x08)), [0, 0x03, 0, 6, 0x08, 0x03, 0xff, 0xff, 0xff, 0]);
    assert_eq!(bench.good(&one(0x0b))[1] & 0x07, 0x01, "SET CAPACITY is not supported");
}

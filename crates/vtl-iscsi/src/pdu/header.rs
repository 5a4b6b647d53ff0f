//! The 48 bytes every PDU starts with (RFC 7143, 11.2.1).

/// The value of a tag that names nothing (initiator task tag, target transfer tag).
pub const RESERVED_TAG: u32 = 0xffff_ffff;

/// A basic header segment as bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header([u8; Header::LEN]);

impl Header {
    /// Bytes of a basic header segment.
    pub const LEN: usize = 48;

    /// A header with this opcode byte and flag byte, everything else zero.
    pub(super) const fn new(opcode: u8, flags: u8) -> Self {
        let mut bytes = [0; Self::LEN];
        bytes[0] = opcode;
        bytes[1] = flags;
        Self(bytes)
    }

    /// Takes 48 bytes as they stand.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes as they go on the wire.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The opcode, without the immediate bit.
    pub const fn opcode(&self) -> u8 {
        self.0[0] & 0x3f
    }

    /// The I bit: delivered at once, outside the command order. Initiators only.
    pub const fn immediate(&self) -> bool {
        self.0[0] & 0x40 != 0
    }

    /// Byte 1: F, C, T and what else a kind keeps there.
    pub const fn flags(&self) -> u8 {
        self.0[1]
    }

    /// Bytes of additional header segments that follow.
    pub const fn ahs_len(&self) -> usize {
        self.0[4] as usize * 4
    }

    /// Bytes of data that follow, without pad.
    pub const fn data_len(&self) -> usize {
        u32::from_be_bytes([0, self.0[5], self.0[6], self.0[7]]) as usize
    }

    /// Sets the data length; false when it does not fit 24 bits, with nothing changed.
    #[must_use]
    pub fn set_data_len(&mut self, len: usize) -> bool {
        match u32::try_from(len).map(u32::to_be_bytes) {
            Ok([0, a, b, c]) => {
                self.put::<5, 3>([a, b, c]);
                true
            }
            _ => false,
        }
    }

    /// Sets the length of the additional header segments, in words of four bytes.
    pub fn set_ahs_words(&mut self, words: u8) {
        self.0[4] = words;
    }

    /// Bytes 16 to 19: the initiator task tag, in every kind of PDU.
    pub const fn task_tag(&self) -> u32 {
        self.u32::<16>()
    }

    /// Bytes 28 to 31 of everything an initiator sends in full feature phase: the next StatSN that it expects.
    pub const fn exp_stat_sn(&self) -> u32 {
        self.u32::<28>()
    }

    /// `N` bytes at `AT`; an offset outside the header does not compile.
    pub(super) const fn get<const AT: usize, const N: usize>(&self) -> [u8; N] {
        const { assert!(AT + N <= Self::LEN) };
        let mut out = [0; N];
        let mut i = 0;
        while i < N {
            out[i] = self.0[AT + i];
            i += 1;
        }
        out
    }

    pub(super) fn put<const AT: usize, const N: usize>(&mut self, bytes: [u8; N]) {
        const { assert!(AT + N <= Self::LEN) };
        for (place, byte) in self.0.iter_mut().skip(AT).zip(bytes) {
            *place = byte;
        }
    }

    pub(super) const fn u8<const AT: usize>(&self) -> u8 {
        self.get::<AT, 1>()[0]
    }

    pub(super) const fn u16<const AT: usize>(&self) -> u16 {
        u16::from_be_bytes(self.get::<AT, 2>())
    }

    pub(super) const fn u32<const AT: usize>(&self) -> u32 {
        u32::from_be_bytes(self.get::<AT, 4>())
    }

    pub(super) const fn u64<const AT: usize>(&self) -> u64 {
        u64::from_be_bytes(self.get::<AT, 8>())
    }

    pub(super) fn put_u16<const AT: usize>(&mut self, value: u16) {
        self.put::<AT, 2>(value.to_be_bytes());
    }

    pub(super) fn put_u32<const AT: usize>(&mut self, value: u32) {
        self.put::<AT, 4>(value.to_be_bytes());
    }

    pub(super) fn put_u64<const AT: usize>(&mut self, value: u64) {
        self.put::<AT, 8>(value.to_be_bytes());
    }
}

impl core::fmt::Debug for Header {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// The three numbers every PDU from a target carries at bytes 24 to 35.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// StatSN: the number of this answer, or of the next one in PDUs that are no answer.
    pub stat: u32,
    /// ExpCmdSN: every command before this one has arrived.
    pub exp_cmd: u32,
    /// MaxCmdSN: the last command that may be sent.
    pub max_cmd: u32,
}

impl Numbers {
    /// The numbers in a PDU from a target.
    pub const fn of(header: &Header) -> Self {
        Self { stat: header.u32::<24>(), exp_cmd: header.u32::<28>(), max_cmd: header.u32::<32>() }
    }

    pub(super) fn put(self, header: &mut Header) {
        header.put_u32::<24>(self.stat);
        header.put_u32::<28>(self.exp_cmd);
        header.put_u32::<32>(self.max_cmd);
    }
}

macro_rules! opcodes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// The opcodes of RFC 7143, 11.2.1.2.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Opcode { $($(#[$doc])* $name = $code,)* }

        impl Opcode {
            /// The opcode with this number.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

opcodes! {
    /// Initiator: echo request, or the answer to a NOP-In.
    NopOut = 0x00,
    /// Initiator: a CDB.
    ScsiRequest = 0x01,
    /// Initiator: abort or reset.
    TaskRequest = 0x02,
    /// Initiator: one step of the login.
    LoginRequest = 0x03,
    /// Initiator: keys in the full feature phase.
    TextRequest = 0x04,
    /// Initiator: data of a command.
    DataOut = 0x05,
    /// Initiator: end of a connection or session.
    LogoutRequest = 0x06,
    /// Initiator: asks for something again (error recovery level 1).
    Snack = 0x10,
    /// Target: echo, or a question whether the initiator is alive.
    NopIn = 0x20,
    /// Target: status of a command.
    ScsiResponse = 0x21,
    /// Target: outcome of an abort or reset.
    TaskResponse = 0x22,
    /// Target: one step of the login.
    LoginResponse = 0x23,
    /// Target: keys in the full feature phase.
    TextResponse = 0x24,
    /// Target: data of a command, perhaps with its status.
    DataIn = 0x25,
    /// Target: end of a connection or session.
    LogoutResponse = 0x26,
    /// Target: asks for data of a command.
    R2t = 0x31,
    /// Target: something happened.
    AsyncMessage = 0x32,
    /// Target: a PDU that cannot be served, sent back.
    Reject = 0x3f,
}

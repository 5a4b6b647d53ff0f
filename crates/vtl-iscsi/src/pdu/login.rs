//! Login Request and Login Response (RFC 7143, 11.12 and 11.13).

use super::header::{Header, Numbers};

/// The stages of a login, as CSG and NSG name them. 2 is reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// 0: who the peer is.
    SecurityNegotiation,
    /// 1: operational parameters.
    OperationalNegotiation,
    /// 3: the login is over.
    FullFeature,
}

impl Stage {
    /// The stage with this number; 2 has none.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::SecurityNegotiation),
            1 => Some(Self::OperationalNegotiation),
            3 => Some(Self::FullFeature),
            _ => None,
        }
    }

    /// The number of the stage.
    pub const fn code(self) -> u8 {
        match self {
            Self::SecurityNegotiation => 0,
            Self::OperationalNegotiation => 1,
            Self::FullFeature => 3,
        }
    }
}

/// Login Request, 03h. Stage numbers stay raw: what a bad one means is for the login to say, in a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginRequest {
    /// The I bit; a login without it is malformed.
    pub immediate: bool,
    /// T: the initiator is ready to go to `next_stage`.
    pub transit: bool,
    /// C: the keys continue in the next request.
    pub continues: bool,
    /// CSG, two bits.
    pub current_stage: u8,
    /// NSG, two bits; means something with `transit` only.
    pub next_stage: u8,
    /// Highest version the initiator speaks.
    pub version_max: u8,
    /// Lowest version the initiator speaks.
    pub version_min: u8,
    /// Initiator's part of the session id.
    pub isid: [u8; 6],
    /// Target's part of the session id; 0 asks for a new session.
    pub tsih: u16,
    /// Initiator task tag, the same through the whole login.
    pub task_tag: u32,
    /// Connection id.
    pub cid: u16,
    /// The first command's number (leading login).
    pub cmd_sn: u32,
    /// The next StatSN that the initiator expects.
    pub exp_stat_sn: u32,
}

impl LoginRequest {
    /// Reads the header; any bit pattern has a meaning here.
    pub const fn decode(h: &Header) -> Self {
        let flags = h.flags();
        Self {
            immediate: h.immediate(),
            transit: flags & 0x80 != 0,
            continues: flags & 0x40 != 0,
            current_stage: flags >> 2 & 0b11,
            next_stage: flags & 0b11,
            version_max: h.u8::<2>(),
            version_min: h.u8::<3>(),
            isid: h.get::<8, 6>(),
            tsih: h.u16::<14>(),
            task_tag: h.task_tag(),
            cid: h.u16::<20>(),
            cmd_sn: h.u32::<24>(),
            exp_stat_sn: h.u32::<28>(),
        }
    }

    /// Writes the header.
    pub fn encode(&self) -> Header {
        let flags = u8::from(self.transit) << 7
            | u8::from(self.continues) << 6
            | (self.current_stage & 0b11) << 2
            | self.next_stage & 0b11;
        let mut h = Header::new(0x03 | u8::from(self.immediate) << 6, flags);
        h.put::<2, 2>([self.version_max, self.version_min]);
        h.put::<8, 6>(self.isid);
        h.put_u16::<14>(self.tsih);
        h.put_u32::<16>(self.task_tag);
        h.put_u16::<20>(self.cid);
        h.put_u32::<24>(self.cmd_sn);
        h.put_u32::<28>(self.exp_stat_sn);
        h
    }
}

/// Login Response, 23h. Version-max and version-active are 0, the only version there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginResponse {
    /// T: the target goes to `next_stage` too.
    pub transit: bool,
    /// C: the keys continue in the next response.
    pub continues: bool,
    /// CSG, two bits, as in the request.
    pub current_stage: u8,
    /// NSG, two bits; 0 without `transit`.
    pub next_stage: u8,
    /// As in the request.
    pub isid: [u8; 6],
    /// The session's handle, from the last response on.
    pub tsih: u16,
    /// As in the request.
    pub task_tag: u32,
    /// 0 success, 1 redirection, 2 initiator error, 3 target error.
    pub status_class: u8,
    /// What within the class.
    pub status_detail: u8,
}

impl LoginResponse {
    /// Reads the header.
    pub const fn decode(h: &Header) -> Self {
        let flags = h.flags();
        Self {
            transit: flags & 0x80 != 0,
            continues: flags & 0x40 != 0,
            current_stage: flags >> 2 & 0b11,
            next_stage: flags & 0b11,
            isid: h.get::<8, 6>(),
            tsih: h.u16::<14>(),
            task_tag: h.task_tag(),
            status_class: h.u8::<36>(),
            status_detail: h.u8::<37>(),
        }
    }

    /// Writes the header.
    pub fn encode(&self, numbers: Numbers) -> Header {
        let flags = u8::from(self.transit) << 7
            | u8::from(self.continues) << 6
            | (self.current_stage & 0b11) << 2
            | self.next_stage & 0b11;
        let mut h = Header::new(0x23, flags);
        h.put::<8, 6>(self.isid);
        h.put_u16::<14>(self.tsih);
        h.put_u32::<16>(self.task_tag);
        numbers.put(&mut h);
        h.put::<36, 2>([self.status_class, self.status_detail]);
        h
    }
}

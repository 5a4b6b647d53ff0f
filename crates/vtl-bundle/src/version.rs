//! Versions of the format. What differs is how much of the image is in a frame.

/// A version that is read; the newest one is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// Frames of 256 KiB.
    V0,
    /// Frames of 512 KiB: so more of what was compressed before lies in one frame as a whole.
    #[default]
    V1,
}

impl Version {
    /// Its number.
    pub const fn number(self) -> u32 {
        match self {
            Self::V0 => 0,
            Self::V1 => 1,
        }
    }

    /// The version of a number.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::V0),
            1 => Some(Self::V1),
            _ => None,
        }
    }

    /// Bytes of the image in each frame but the last.
    pub const fn frame_bytes(self) -> usize {
        match self {
            Self::V0 => 256 << 10,
            Self::V1 => 512 << 10,
        }
    }
}

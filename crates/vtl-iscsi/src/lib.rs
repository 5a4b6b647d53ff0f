//! An iSCSI target (RFC 7143) without I/O, clock or randomness

//! CHAP, one-way and mutual (RFC 7143, 12.1).

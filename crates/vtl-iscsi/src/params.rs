//! Negotiated values.

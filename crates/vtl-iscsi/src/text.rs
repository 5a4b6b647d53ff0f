//! Text of key=value pairs.

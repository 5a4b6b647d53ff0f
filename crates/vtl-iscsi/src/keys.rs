//! The table of all text keys.

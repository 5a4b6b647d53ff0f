//! The tape drive (SSC).

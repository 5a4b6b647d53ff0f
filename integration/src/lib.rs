//! Foreign clients against the daemon

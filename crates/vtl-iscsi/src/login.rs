//! The login phase of one connection.

//! What a portal serves, to whom, and within which limits.

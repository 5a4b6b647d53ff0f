//! CHAP secrets, which cannot be printed.

//! The configuration file: schema, defaults with reasons, checks

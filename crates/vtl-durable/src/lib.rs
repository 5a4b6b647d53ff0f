//! Bytes on disk: record framing, append logs, replace-and-sync, recovery scan, and the disk they stand on

//! The store of cartridge bytes: packs, journal, owners

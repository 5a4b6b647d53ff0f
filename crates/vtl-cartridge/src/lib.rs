//! A tape cartridge: blocks, filemarks, positions, capacity, attributes

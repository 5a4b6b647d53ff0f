//! SCSI device models: tape drive (SSC), medium changer (SMC), diagnostic disk (SBC) and what they share (SPC)

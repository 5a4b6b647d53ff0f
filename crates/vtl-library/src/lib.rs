//! Where each cartridge is: slots, drives, mailslots, vault and the moves between them

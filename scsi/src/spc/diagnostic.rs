//! SEND DIAGNOSTIC and RECEIVE DIAGNOSTIC RESULTS (SPC-4): the default self-test and the list of pages, which is all that we have.

use crate::{
    command::{Command, Reply},
    sense::Check,
};

/// Page 00h, supported diagnostic pages: only itself.
const SUPPORTED_PAGES: [u8; 5] = [0x00, 0x00, 0x00, 0x01, 0x00];

/// SEND DIAGNOSTIC: the default self-test has nothing to find here; a request for the page list is kept for nobody, since page 00h is
/// always what RECEIVE DIAGNOSTIC RESULTS returns.
pub(super) fn send(command: &Command) -> Reply {
    let cdb = &command.cdb;
    let (test_code, self_test) = (cdb.byte(1) >> 5, cdb.bit(1, 2));
    let length = usize::from(cdb.be16(3));
    if test_code != 0 {
        return Check::cdb_bit(1, 7).into();
    }
    if self_test && length != 0 {
        return Check::cdb(3).into();
    }
    if length == 0 {
        return Reply::good();
    }
    if !cdb.bit(1, 4) {
        return Check::cdb_bit(1, 4).into();
    }
    let wanted = u64::try_from(length).unwrap_or(u64::MAX);
    let list = command.parameter_list(length);
    match list.as_slice() {
        [0x00, _, 0, 0] => Reply::good(),
        [0x00, ..] => Check::ParameterListLength.into(),
        _ => Check::parameter(0).into(),
    }
    .wanting(wanted)
}

/// RECEIVE DIAGNOSTIC RESULTS.
pub(super) fn receive(command: &Command) -> Reply {
    let cdb = &command.cdb;
    let page_valid = cdb.bit(1, 0);
    if page_valid && cdb.byte(2) != 0 {
        return Check::cdb(2).into();
    }
    Reply::allocated(SUPPORTED_PAGES.to_vec(), usize::from(cdb.be16(3)))
}

//! What rclone's exit codes mean. The table is the one of rclone's documentation, "List of exit codes"; what a code
//! means in practice, as run with version 1.60, is beside it.

use crate::error::{Class, Doing};

/// Codes after which a call may be tried again, unless the operator says otherwise.
pub const DEFAULT_RETRY_EXIT_CODES: &[u8] = &[2, 5];

/// Code, class, and what it says.
const CODES: &[(u8, Class, &str)] = &[
    // Also every error that rclone does not know better, such as an option or a remote that is not there.
    (1, Class::Misconfigured, "usage, or an error that rclone does not class"),
    (2, Class::Refused, "an error that rclone does not class"),
    (3, Class::NotThere, "folder not found"),
    (4, Class::NotThere, "file not found"),
    (5, Class::Unavailable, "a passing error"),
    (6, Class::Refused, "an error that will not pass"),
    (7, Class::Refused, "a fatal error"),
    (8, Class::Refused, "the limit of --max-transfer is reached"),
    (9, Class::Refused, "nothing was transferred, and --error-on-no-transfer is set"),
    (10, Class::Refused, "the limit of --max-duration is reached"),
];

/// The class of an exit code that is not 0, and what it says. A code in `retry` may be tried again, with two exceptions:
/// what is not there when it is asked for is not there.
pub(super) fn class(code: u8, doing: Doing, retry: &[u8]) -> (Class, &'static str) {
    let (class, text) = CODES
        .iter()
        .find(|(known, ..)| *known == code)
        .map_or((Class::Refused, "an exit code that rclone does not document"), |(_, class, text)| {
            (*class, *text)
        });
    let sends = matches!(doing, Doing::Put | Doing::Create);
    let class = match class {
        Class::NotThere if !sends => Class::NotThere,
        _ if retry.contains(&code) => Class::Unavailable,
        // A bucket or folder that should take the object.
        Class::NotThere => Class::Misconfigured,
        // Whoever takes a code from the list wants no retry.
        Class::Unavailable => Class::Refused,
        class => class,
    };
    (class, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_retried_as_the_list_says_and_as_documented_otherwise() {
        let of = |code, doing| class(code, doing, DEFAULT_RETRY_EXIT_CODES).0;
        for (code, put, get) in [
            (1, Class::Misconfigured, Class::Misconfigured),
            (2, Class::Unavailable, Class::Unavailable),
            (3, Class::Misconfigured, Class::NotThere),
            (4, Class::Misconfigured, Class::NotThere),
            (5, Class::Unavailable, Class::Unavailable),
            (6, Class::Refused, Class::Refused),
            (7, Class::Refused, Class::Refused),
            (8, Class::Refused, Class::Refused),
            (9, Class::Refused, Class::Refused),
            (10, Class::Refused, Class::Refused),
            (77, Class::Refused, Class::Refused),
        ] {
            assert_eq!((of(code, Doing::Put), of(code, Doing::Get)), (put, get), "exit code {code}");
        }
        assert_eq!(class(7, Doing::Put, &[7]).0, Class::Unavailable);
        assert_eq!(class(5, Doing::Put, &[7]).0, Class::Refused);
        assert_eq!(class(4, Doing::Head, &[4]).0, Class::NotThere);
    }
}

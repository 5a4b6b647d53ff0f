//! One suite that every driver passes, and what only some drivers promise. Servers are written by others: `cargo xtask test`
//! installs them, and a test whose server is missing fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(feature = "http")]
#[path = "contract/clouds.rs"]
mod clouds;
#[path = "contract/faults.rs"]
mod faults;
#[path = "contract/places.rs"]
mod places;
#[cfg(feature = "http")]
#[path = "contract/proxy.rs"]
mod proxy;
#[path = "contract/rclone.rs"]
mod rclone;
#[cfg(feature = "http")]
#[path = "contract/s3.rs"]
mod s3;
#[cfg(feature = "http")]
#[path = "contract/server.rs"]
mod server;
#[path = "contract/suite.rs"]
mod suite;
#[cfg(feature = "http")]
#[path = "contract/webdav.rs"]
mod webdav;

/// Every behaviour of the suite against one kind of place.
macro_rules! contract {
    ($kind:ident, $open:expr $(, $more:ident)?) => {
        mod $kind {
            use super::suite;
            contract!(@each $open,
                what_is_put_comes_back_whole_and_in_ranges,
                a_range_that_ends_after_the_object_is_refused,
                what_is_not_there_is_not_there,
                a_put_replaces_and_a_create_does_not,
                a_body_that_is_not_what_was_said_leaves_nothing,
                the_empty_object_is_an_object,
                listings_come_in_order_page_by_page_and_of_one_folder,
                what_is_deleted_is_gone_and_may_be_deleted_again,
                verification_finds_what_differs,
                the_probe_finds_everything_usable_and_leaves_nothing,
                an_object_of_several_parts_comes_back_and_is_verified,
                $($more,)?
            );
        }
    };
    (@each $open:expr, $($test:ident,)+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            let place = $open;
            suite::$test(place.remote.as_ref()).await;
        })+
    };
}

contract!(folder, super::places::folder(), names_with_odd_characters_are_kept);
contract!(through_rclone, super::rclone::place(), names_with_odd_characters_are_kept);
contract!(faulty_without_faults, super::places::faulty(), names_with_odd_characters_are_kept);
#[cfg(feature = "http")]
contract!(s3_server, super::s3::place(), names_with_odd_characters_are_kept);
#[cfg(feature = "http")]
contract!(azure, super::clouds::azure_place(), names_with_odd_characters_are_kept);
#[cfg(feature = "http")]
contract!(google, super::clouds::google_place(), names_with_odd_characters_are_kept);
// wsgidav cuts the target of a move at ? and #, also where they are escaped.
#[cfg(feature = "http")]
contract!(webdav_of_wsgidav, super::webdav::wsgidav_place());
#[cfg(feature = "http")]
contract!(webdav_of_rclone, super::webdav::rclone_place(), names_with_odd_characters_are_kept);

//! Who may do what: users, roles, tokens, sessions, lock-out and approvals.
//!
//! Used by the daemon's door (`src/access`). No socket, clock or randomness lives here: times and random bytes are
//! arguments. Users, tokens and approvals are rows of the inventory (`docs/formats/access.md`); sessions, failed
//! log-ins and the one-time link of the first start are values in memory, each with a bound.
//!
//! A crash leaves rows whole or not at all, and no session: who was logged in logs in again.

mod approval;
mod bearer;
mod error;
mod name;
mod password;
mod principal;
mod role;
mod schema;
mod session;
mod setup;
#[cfg(test)]
mod tests;
mod throttle;
mod token;
mod user;

pub use approval::{Approval, ApprovalState, Asked, KEEP_S as APPROVAL_KEEP_S, MOST_PENDING};
pub use approval::{approvals, decide, find as find_approval, keep as keep_approval};
pub use bearer::{Bearer, Kind, Random};
pub use error::AuthError;
pub use name::UserName;
pub use password::{COST, Cost, Hashed, MIN_PASSWORD, verify_nobody};
pub use principal::{OidcUser, Principal};
pub use role::{Permission, Role, Roles};
pub use schema::MODULE;
pub use session::{
    ABSOLUTE_S, IDLE_S, MOST_SESSIONS, MOST_SESSIONS_OF_USER, Moment, Opened, Session, Sessions,
};
pub use setup::{SETUP_S, Setup};
pub use throttle::{Attempt, Throttle, Trial};
pub use token::{MOST_TOKENS, NewToken, Token, create_token, find_token, revoke_token, tokens};
pub use user::{
    MOST_USERS, User, add_user, any_user, governed, remove_user, set_locked, set_password, set_roles, user,
    user_with, users,
};

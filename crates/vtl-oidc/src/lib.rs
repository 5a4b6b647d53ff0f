//! OpenID Connect, the side of who relies on a provider: somebody is sent there with his browser, comes back with a code,
//! and the ID token that the provider gives for the code says who he is.
//!
//! Used by the daemon's door (`src/access/oidc`). No socket, clock or randomness lives here: requests go through a
//! [`Transport`], times and random bytes are arguments. The standards: OpenID Connect Core 1.0 and Discovery 1.0, RFC 6749,
//! RFC 7636 (PKCE), RFC 7515 to 7518 (signatures and keys), RFC 9207 (the issuer in the answer).
//!
//! A log-in is one value with an end ([`Flows`]): begun, and then taken once, whatever comes of it. It is in memory only: who
//! was on his way when the server ended begins again. What the provider says of itself is kept for an hour ([`Provider`]).

mod error;
mod flow;
mod jws;
mod metadata;
mod provider;
#[cfg(test)]
mod tests;
mod token;

pub use error::{Fault, OidcError};
pub use flow::{FLOW_S, Flow, Flows, MOST_FLOWS, MOST_FLOWS_OF_ADDRESS, Random, Started};
pub use provider::{Arrived, Back, Client, Moment, Person, Provider, Transport};

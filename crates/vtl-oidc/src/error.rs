//! Why somebody was not logged in. No text of a token, code or secret is in here.

use std::fmt;

/// The longest part of what came from elsewhere that is shown.
const MOST_SHOWN: usize = 64;
/// Of what a parser says: it has names of fields and, whole, the values that it did not expect.
const MOST_OF_PARSER: usize = 200;

/// Each names what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OidcError {
    /// No log-in waits under this state: it was never begun here, is over, or was used.
    UnknownState,
    /// Another browser began it.
    OtherBrowser,
    /// The provider sent an error in place of a code: its code.
    Denied(String),
    /// Neither code nor error came back.
    NoCode,
    /// The answer says that another provider gave it (RFC 9207).
    AnotherIssuer,
    /// The provider does not answer: which address, and why.
    Unreachable(String, String),
    /// What the provider says cannot be used: which document, and why.
    Unusable(&'static str, String),
    /// The provider gives no token for the code: what it said.
    NotExchanged(String),
    /// The ID token is not to be believed.
    Token(Fault),
}

/// What is wrong with an ID token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is no signed token: which part.
    Malformed(&'static str),
    /// Signed in a way that is not accepted here, or that the provider does not announce; or not signed at all.
    Algorithm(String),
    /// It has a header that must be understood, and is not.
    Critical,
    /// The provider publishes no such key.
    UnknownKey(String),
    /// The signature is not that of the key.
    Signature,
    /// Another issuer: that one.
    Issuer(String),
    /// It is for others.
    Audience,
    /// It was given to another client (`azp`).
    Party,
    /// Its time is over.
    Expired,
    /// It counts only later, or comes from later.
    NotYet,
    /// It is too old for a log-in that has just been.
    Old,
    /// It belongs to another log-in.
    Nonce,
    /// It says of nobody that he is meant.
    Subject,
}

/// What came from elsewhere, made short and visible.
pub(crate) fn shown(text: &str) -> String {
    visible(text, MOST_SHOWN)
}

fn visible(text: &str, most: usize) -> String {
    text.chars().take(most).flat_map(char::escape_debug).collect()
}

/// A document of the provider's that cannot be read.
pub(crate) fn unreadable(document: &'static str, why: &serde_json::Error) -> OidcError {
    OidcError::Unusable(document, visible(&why.to_string(), MOST_OF_PARSER))
}

impl From<Fault> for OidcError {
    fn from(fault: Fault) -> Self {
        Self::Token(fault)
    }
}

impl OidcError {
    /// Whether the provider's answers are at fault, and not the person or the browser.
    #[must_use]
    pub const fn is_of_provider(&self) -> bool {
        matches!(self, Self::Unreachable(..) | Self::Unusable(..))
    }

    /// What to do.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::UnknownState | Self::OtherBrowser | Self::NoCode => {
                "log in once more, within ten minutes, and in one window of one browser"
            }
            Self::Denied(_) => {
                "log in once more, or ask who runs the provider whether you may use this server"
            }
            Self::AnotherIssuer => {
                "log in once more; if it comes again, somebody mixes up providers: tell an administrator"
            }
            Self::Unreachable(..) => {
                "see whether the provider runs and this server reaches it; access.oidc.ca_file names an authority of the site's own"
            }
            Self::Unusable(..) => {
                "compare access.oidc.issuer with what the provider's documentation calls issuer; for a secret in a way that is not supported, register the client with client_secret_basic or client_secret_post"
            }
            Self::NotExchanged(_) => {
                "compare access.oidc.client_id, access.oidc.client_secret_file and api.public_url with what is registered at the provider"
            }
            Self::Token(Fault::Expired | Fault::NotYet | Fault::Old) => {
                "log in once more; if it comes again, set the clocks of this server and of the provider"
            }
            Self::Token(_) => {
                "log in once more; if it comes again, tell an administrator, who finds the reason in the audit log"
            }
        }
    }
}

impl fmt::Display for OidcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownState => f.write_str("this log-in was used, is over, or was never begun"),
            Self::OtherBrowser => f.write_str("this log-in was begun in another browser or window"),
            Self::Denied(code) => write!(f, "the provider refused the log-in: {code}"),
            Self::NoCode => f.write_str("the provider sent no code"),
            Self::AnotherIssuer => f.write_str("the answer comes from another provider"),
            Self::Unreachable(what, why) => write!(f, "{what} does not answer: {why}"),
            Self::Unusable(what, why) => write!(f, "the provider's {what} cannot be used: {why}"),
            Self::NotExchanged(why) => write!(f, "the provider gives no token for the code: {why}"),
            Self::Token(fault) => write!(f, "the ID token is refused: {fault}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(part) => write!(f, "its {part} cannot be read"),
            Self::Algorithm(name) => {
                write!(f, "'{name}' is no algorithm that is accepted from this provider")
            }
            Self::Critical => f.write_str("it has a header that must be understood and is not"),
            Self::UnknownKey(id) => write!(f, "the provider publishes no one key '{id}' for it"),
            Self::Signature => f.write_str("its signature is wrong"),
            Self::Issuer(name) => write!(f, "its issuer is '{name}'"),
            Self::Audience => f.write_str("it is meant for another client (aud)"),
            Self::Party => f.write_str("it was given to another client (azp)"),
            Self::Expired => f.write_str("its time is over (exp)"),
            Self::NotYet => f.write_str("it is from the future (iat, nbf)"),
            Self::Old => f.write_str("it is older than the log-in (iat)"),
            Self::Nonce => f.write_str("it belongs to another log-in (nonce)"),
            Self::Subject => f.write_str("it names no subject (sub)"),
        }
    }
}

impl std::error::Error for OidcError {}

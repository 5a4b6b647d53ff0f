//! Why something about users was not done.

use std::fmt;

use vtl_meta::MetaError;

use crate::name::UserName;
use crate::role::Roles;

/// Each names what it is about.
#[derive(Debug)]
pub enum AuthError {
    /// The inventory cannot be read or written.
    Meta(MetaError),
    /// There is no such user.
    UnknownUser(UserName),
    /// There is one already.
    UserExists(UserName),
    /// A token cannot be made so.
    BadToken {
        /// What of it is wrong: `name`, `roles` or `expires`.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// No password for this use, with the reason.
    WeakPassword(&'static str),
    /// The password that was looked at is not the user's any more, or the user cannot log in any more.
    OtherPassword(UserName),
    /// The caller does not govern somebody who has these roles.
    NotGoverned(Roles),
    /// The caller does not govern these roles, which somebody is to have.
    NotToGive(Roles),
    /// A user's own roles are changed by somebody else.
    OwnRoles,
    /// A token would have roles that its maker has not.
    MoreThanMaker(Roles),
    /// There is no such token.
    UnknownToken(String),
    /// A token of the server is not a user's to revoke.
    ServersToken,
    /// There is a token of that name.
    TokenExists(String),
    /// There is no such approval.
    UnknownApproval(String),
    /// It has been decided, or its time is over: its state.
    Decided(&'static str),
    /// Nobody approves what he asked for himself.
    OwnRequest,
    /// Who asked may not do it any more, or is not there.
    AskerMayNot(String),
    /// Another request waits under the same key.
    KeyUsed,
    /// A bound is reached: what there is too much of, and how many.
    TooMany(&'static str, u64),
}

impl From<MetaError> for AuthError {
    fn from(error: MetaError) -> Self {
        Self::Meta(error)
    }
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Meta(error) => error.fmt(f),
            Self::UnknownUser(name) => write!(f, "there is no user '{name}'"),
            Self::UserExists(name) => write!(f, "there is a user '{name}' already"),
            Self::BadToken { why, .. } => f.write_str(why),
            Self::WeakPassword(why) => write!(f, "the password cannot be taken: {why}"),
            Self::OtherPassword(name) => {
                write!(f, "user '{name}' has got another password meanwhile, or was locked or removed")
            }
            Self::NotGoverned(roles) | Self::NotToGive(roles) if roles.is_empty() => {
                f.write_str("your roles govern nobody")
            }
            Self::NotGoverned(roles) | Self::NotToGive(roles) => {
                write!(f, "your roles do not govern {roles}: another must give, take or change that")
            }
            Self::OwnRoles => f.write_str("nobody changes, locks or removes himself"),
            Self::MoreThanMaker(roles) => write!(f, "a token cannot have {roles}: its maker has not"),
            Self::UnknownToken(id) => write!(f, "there is no token '{id}'"),
            Self::ServersToken => f.write_str("a token of the server is revoked by who can make one"),
            Self::TokenExists(name) => write!(f, "there is a token '{name}' already"),
            Self::UnknownApproval(id) => write!(f, "there is no approval '{id}'"),
            Self::Decided(state) => write!(f, "the request is {state} already"),
            Self::OwnRequest => f.write_str("nobody approves what he has asked for himself"),
            Self::AskerMayNot(who) => write!(f, "'{who}' asked for it, and may not do it any more"),
            Self::KeyUsed => f.write_str("the key was sent before with another request"),
            Self::TooMany(what, most) => write!(f, "there are {most} {what}, and more are not kept"),
        }
    }
}

impl std::error::Error for AuthError {}

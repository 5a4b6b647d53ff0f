//! Whose a session is: three kinds that cannot become one another.

use std::fmt;
use std::str::FromStr;

use crate::name::UserName;

/// Before issuer and subject. No user is called so: names have no colon.
const OIDC: &str = "oidc:";
/// Between them: an issuer has no fragment (OpenID Connect Core 1.0, 2).
const BETWEEN: char = '#';
/// Of issuer and of subject.
const MOST: usize = 255;

/// Somebody for whom a provider vouches. Issuer and subject alone say who it is: a name is what people like to be called, and
/// may be another's tomorrow.
#[derive(Clone, Debug)]
pub struct OidcUser {
    issuer: String,
    subject: String,
    /// What to show.
    pub name: Option<String>,
}

impl OidcUser {
    /// None when one of the two cannot stand in a log, or both together do not say which is which.
    #[must_use]
    pub fn new(issuer: &str, subject: &str, name: Option<String>) -> Option<Self> {
        let is_usual = |text: &str| {
            (1..=MOST).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
        };
        let both = is_usual(issuer) && is_usual(subject) && !issuer.contains(BETWEEN);
        both.then(|| Self { issuer: issuer.to_owned(), subject: subject.to_owned(), name })
    }
}

impl PartialEq for OidcUser {
    fn eq(&self, other: &Self) -> bool {
        (&self.issuer, &self.subject) == (&other.issuer, &other.subject)
    }
}

impl Eq for OidcUser {}

impl fmt::Display for OidcUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{OIDC}{}{BETWEEN}{}", self.issuer, self.subject)
    }
}

impl FromStr for OidcUser {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let both = text.strip_prefix(OIDC).and_then(|rest| rest.split_once(BETWEEN));
        let user = both.and_then(|(issuer, subject)| Self::new(issuer, subject, None));
        user.ok_or_else(|| "this is no issuer with a subject".to_owned())
    }
}

/// Whose a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Of whoever can read the token of the state folder.
    Root,
    /// Of a user of this server.
    User(UserName),
    /// Of somebody for whom a provider vouches.
    Oidc(OidcUser),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(issuer: &str, subject: &str) -> Option<OidcUser> {
        OidcUser::new(issuer, subject, None)
    }

    #[test]
    fn issuer_and_subject_say_who_it_is_and_the_name_does_not() {
        let ann = OidcUser::new("https://id.example.org", "7f3a", Some("ann".to_owned())).unwrap();
        assert_eq!(ann.to_string(), "oidc:https://id.example.org#7f3a");
        assert_eq!("oidc:https://id.example.org#7f3a".parse(), Ok(ann.clone()));
        assert_eq!(user("https://id.example.org", "7f3a"), Some(ann.clone()));
        assert_ne!(user("https://id.example.org", "7F3A"), Some(ann.clone()));
        assert_ne!(user("https://id.example.com", "7f3a"), Some(ann));
    }

    #[test]
    fn no_issuer_and_subject_read_as_others() {
        // The second of two equal texts would be another's.
        assert_eq!(user("https://a.example#b", "c"), None);
        assert_eq!(user("https://a.example", "b#c").unwrap().to_string(), "oidc:https://a.example#b#c");
        assert_eq!("oidc:https://a.example#b#c".parse(), Ok(user("https://a.example", "b#c").unwrap()));
        for (issuer, subject) in
            [("", "a"), ("https://a.example", ""), ("https://a.example", "a\nb"), ("ä", "a")]
        {
            assert_eq!(user(issuer, subject), None);
        }
        assert_eq!(user("https://a.example", &"x".repeat(256)), None);
        assert!("ann".parse::<OidcUser>().is_err() && "oidc:ann".parse::<OidcUser>().is_err());
        assert!("oidc:https://a.example#b".parse::<UserName>().is_err(), "and none is a user of this server");
    }
}

//! Sessions of people, in memory: a restart ends all of them.
//!
//! A session ends after 30 minutes in which nobody has asked for anything, or after 12 hours, whichever comes first; when
//! its user is locked, removed or gets another password, or is logged out by who manages users; and when its user has more
//! than the bound: the one unused longest goes. What a page asks by itself, as long as it is open, looks at the session and
//! does not use it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::bearer::{Bearer, Kind, Random, hexadecimal};
use crate::name::UserName;
use crate::principal::Principal;
use crate::role::Roles;

/// Unused for so long it ends (OWASP: 15 to 30 minutes for such).
pub const IDLE_S: u64 = 30 * 60;
/// And after so long in any case: a working day.
pub const ABSOLUTE_S: u64 = 12 * 60 * 60;
/// In all.
pub const MOST_SESSIONS: usize = 4096;
/// Of one user.
pub const MOST_SESSIONS_OF_USER: usize = 32;

/// A time by two clocks: one that people read, and one that nobody sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Seconds since 1970 UTC.
    pub wall_s: u64,
    /// Seconds that only count up.
    pub count_s: u64,
}

/// Who is logged in.
#[derive(Clone, Debug)]
pub struct Session {
    /// Whose it is.
    pub who: Principal,
    /// The most that it may do: the roles of a user of this server bound it, too.
    pub roles: Roles,
    /// Where it was opened from.
    pub from: IpAddr,
    /// What a page sends with each change.
    pub csrf: Zeroizing<String>,
    /// When it ends at the latest, in seconds since 1970 UTC.
    pub expires_s: u64,
    /// The id of the token that opened it, with which it ends.
    pub token: Option<String>,
    digest: [u8; 32],
    opened_count_s: u64,
    used_count_s: u64,
}

impl Session {
    /// Whether a page knows what only this session's pages know.
    #[must_use]
    pub fn is_page(&self, csrf: &str) -> bool {
        csrf.as_bytes().ct_eq(self.csrf.as_bytes()).into()
    }

    /// When it was opened, in seconds since 1970 UTC.
    #[must_use]
    pub const fn opened_s(&self) -> u64 {
        self.expires_s.saturating_sub(ABSOLUTE_S)
    }

    /// When it was last used, in seconds since 1970 UTC. The two clocks do not tick at once: it is never before it was opened.
    #[must_use]
    pub fn used_s(&self, now: Moment) -> u64 {
        now.wall_s.saturating_sub(now.count_s.saturating_sub(self.used_count_s)).max(self.opened_s())
    }

    const fn is_over(&self, now: Moment) -> bool {
        now.count_s >= self.opened_count_s.saturating_add(ABSOLUTE_S)
            || now.count_s >= self.used_count_s.saturating_add(IDLE_S)
    }
}

/// What a log-in gives.
#[derive(Debug)]
pub struct Opened {
    /// The cookie's value.
    pub cookie: Bearer,
    /// Who is logged in.
    pub session: Session,
}

/// All sessions, by id.
#[derive(Debug, Default)]
pub struct Sessions {
    open: BTreeMap<String, Session>,
}

impl Sessions {
    /// A new session, with a name that nobody chose: whose it is, the most that it may do, where it is opened from.
    pub fn open(
        &mut self,
        (who, roles, from): (Principal, Roles, IpAddr),
        token: Option<String>,
        now: Moment,
        random: Random<'_>,
    ) -> Opened {
        self.open.retain(|_, session| !session.is_over(now));
        self.make_room(&who);
        let cookie = Bearer::new(Kind::Session, random);
        let mut csrf = [0; 32];
        random(&mut csrf);
        let session = Session {
            who,
            roles,
            from,
            csrf: Zeroizing::new(hexadecimal(&csrf)),
            expires_s: now.wall_s.saturating_add(ABSOLUTE_S),
            token,
            digest: cookie.digest(),
            opened_count_s: now.count_s,
            used_count_s: now.count_s,
        };
        self.open.insert(cookie.id.clone(), session.clone());
        Opened { cookie, session }
    }

    fn make_room(&mut self, who: &Principal) {
        let of_user = self.open.values().filter(|session| session.who == *who).count();
        if of_user >= MOST_SESSIONS_OF_USER {
            self.drop_oldest(|session| session.who == *who);
        }
        if self.open.len() >= MOST_SESSIONS {
            self.drop_oldest(|_| true);
        }
    }

    fn drop_oldest(&mut self, among: impl Fn(&Session) -> bool) {
        let candidates = self.open.iter().filter(|(_, session)| among(session));
        let oldest = candidates.min_by_key(|(_, session)| session.used_count_s).map(|(id, _)| id.clone());
        if let Some(id) = oldest {
            self.open.remove(&id);
        }
    }

    /// The session that this cookie opens; it counts as used.
    pub fn find(&mut self, cookie: &Bearer, now: Moment) -> Option<Session> {
        self.look(cookie, now)?;
        let session = self.open.get_mut(&cookie.id)?;
        session.used_count_s = now.count_s;
        Some(session.clone())
    }

    /// The same, and it counts as used no more than before.
    pub fn look(&mut self, cookie: &Bearer, now: Moment) -> Option<Session> {
        let session = self.open.get(&cookie.id)?;
        if cookie.kind != Kind::Session || !cookie.is(&session.digest) {
            return None;
        }
        if session.is_over(now) {
            self.open.remove(&cookie.id);
            return None;
        }
        Some(session.clone())
    }

    /// Whether it was not ended since it was found.
    #[must_use]
    pub fn is_open(&self, session: &Session) -> bool {
        self.open.values().any(|open| open.digest == session.digest)
    }

    /// Logs out; false when nobody was logged in with it.
    pub fn close(&mut self, cookie: &Bearer) -> bool {
        let is_it = self.open.get(&cookie.id).is_some_and(|session| cookie.is(&session.digest));
        is_it && self.open.remove(&cookie.id).is_some()
    }

    /// Ends all sessions of a user.
    pub fn close_of(&mut self, user: &UserName) {
        self.open.retain(|_, session| !matches!(&session.who, Principal::User(name) if name == user));
    }

    /// Ends all sessions of somebody: how many that were.
    pub fn end(&mut self, who: &Principal, now: Moment) -> usize {
        let ended = self.open_of(who, now).count();
        self.open.retain(|_, session| session.who != *who);
        ended
    }

    /// Ends all sessions of people for whom a provider vouches.
    pub fn close_of_providers(&mut self) {
        self.open.retain(|_, session| !matches!(session.who, Principal::Oidc(_)));
    }

    /// What somebody may do by a session that is open now; none: he has none. Of several, the last one that was opened.
    #[must_use]
    pub fn roles_of(&self, who: &Principal, now: Moment) -> Option<Roles> {
        self.open_of(who, now).max_by_key(|session| session.opened_count_s).map(|session| session.roles)
    }

    /// What somebody may do by any session that is open now; none: he has none.
    #[must_use]
    pub fn all_roles_of(&self, who: &Principal, now: Moment) -> Option<Roles> {
        self.open_of(who, now).map(|session| session.roles).reduce(Roles::or)
    }

    /// Those that are open now.
    #[must_use]
    pub fn list(&self, now: Moment) -> Vec<Session> {
        self.open.values().filter(|session| !session.is_over(now)).cloned().collect()
    }

    fn open_of(&self, who: &Principal, now: Moment) -> impl Iterator<Item = &Session> {
        self.open.values().filter(move |session| session.who == *who && !session.is_over(now))
    }

    /// How many are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Nobody is logged in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bearer::tests::counting;
    use crate::principal::OidcUser;
    use crate::role::Role;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn at(count_s: u64) -> Moment {
        Moment { wall_s: 1_774_224_000 + count_s, count_s }
    }

    fn alice() -> Principal {
        Principal::User("alice".parse().unwrap())
    }

    fn open(sessions: &mut Sessions, at_s: u64, seed: u8) -> Opened {
        sessions.open((alice(), Roles::NONE.with(Role::Viewer), HERE), None, at(at_s), &counting(seed))
    }

    #[test]
    fn a_session_ends_after_half_an_hour_without_a_request_and_after_twelve_hours_with_them() {
        let mut sessions = Sessions::default();
        let idle = open(&mut sessions, 0, 1);
        assert!(sessions.find(&idle.cookie, at(1799)).is_some());
        assert!(sessions.find(&idle.cookie, at(1799 + 1800)).is_none(), "30 minutes after its last use");
        assert!(sessions.is_empty());
        let busy = open(&mut sessions, 10_000, 2);
        assert_eq!(busy.session.expires_s, 1_774_224_000 + 10_000 + 43_200);
        for count_s in (10_000..53_200).step_by(600) {
            assert!(sessions.find(&busy.cookie, at(count_s)).is_some(), "{count_s}");
        }
        assert!(sessions.find(&busy.cookie, at(53_200)).is_none(), "12 hours after log-in");
    }

    #[test]
    fn a_look_at_a_session_does_not_keep_it_open() {
        let mut sessions = Sessions::default();
        let opened = open(&mut sessions, 0, 1);
        assert!(sessions.look(&opened.cookie, at(1799)).is_some());
        assert!(sessions.look(&opened.cookie, at(1800)).is_none());
        assert!(sessions.is_empty());
    }

    #[test]
    fn a_page_that_asks_every_15_seconds_is_logged_out_half_an_hour_after_somebody_has_asked() {
        let mut sessions = Sessions::default();
        let opened = open(&mut sessions, 0, 1);
        for count_s in (15..1000).step_by(15) {
            assert!(sessions.look(&opened.cookie, at(count_s)).is_some(), "{count_s}");
        }
        assert!(sessions.find(&opened.cookie, at(1000)).is_some());
        for count_s in (1015..2800).step_by(15) {
            assert!(sessions.look(&opened.cookie, at(count_s)).is_some(), "{count_s}");
        }
        assert!(sessions.look(&opened.cookie, at(2800)).is_none());
        assert!(sessions.is_empty());
    }

    #[test]
    fn a_wall_clock_that_is_set_back_keeps_nobody_logged_in() {
        let mut sessions = Sessions::default();
        let opened = open(&mut sessions, 0, 1);
        assert!(sessions.find(&opened.cookie, Moment { wall_s: 0, count_s: 1800 }).is_none());
    }

    #[test]
    fn a_known_id_with_another_secret_or_another_kind_opens_no_session() {
        let mut sessions = Sessions::default();
        let opened = open(&mut sessions, 0, 1);
        let text = opened.cookie.expose().to_string();
        let forged = Bearer::parse(&text.replace("1f20", "1f21")).unwrap();
        assert!(sessions.find(&forged, at(1)).is_none() && !sessions.close(&forged));
        let as_token = Bearer::parse(&text.replace("vtls", "vtlt")).unwrap();
        assert!(sessions.find(&as_token, at(1)).is_none());
        assert!(sessions.find(&opened.cookie, at(1)).is_some());
        assert!(sessions.is_open(&opened.session));
        assert!(sessions.close(&opened.cookie));
        assert!(sessions.find(&opened.cookie, at(1)).is_none(), "logged out");
        open(&mut sessions, 2, 99);
        assert!(!sessions.is_open(&opened.session), "another one of the same user is not it");
    }

    #[test]
    fn a_user_has_32_sessions_at_most_and_the_one_unused_longest_goes() {
        let mut sessions = Sessions::default();
        let all: Vec<_> = (1..=33_u8).map(|n| open(&mut sessions, n.into(), n)).collect();
        assert_eq!(sessions.len(), 32);
        assert!(sessions.find(&all[0].cookie, at(40)).is_none());
        assert!(sessions.find(&all[1].cookie, at(40)).is_some());
        sessions.close_of(&"alice".parse().unwrap());
        assert!(sessions.is_empty());
    }

    #[test]
    fn sessions_by_a_provider_are_of_their_own_kind() {
        let mut sessions = Sessions::default();
        let (viewer, operator) = (Roles::NONE.with(Role::Viewer), Roles::NONE.with(Role::Operator));
        let of = |subject| Principal::Oidc(OidcUser::new("https://id.example.org", subject, None).unwrap());
        let local = open(&mut sessions, 0, 1);
        sessions.open((of("alice"), viewer, HERE), None, at(0), &counting(2));
        assert_eq!(sessions.roles_of(&of("alice"), at(1)), Some(viewer));
        sessions.open((of("alice"), operator, HERE), None, at(5), &counting(3));
        assert_eq!(sessions.roles_of(&of("alice"), at(6)), Some(operator), "those of the last log-in");
        assert_eq!(sessions.roles_of(&of("bob"), at(6)), None);
        assert_eq!(sessions.roles_of(&of("alice"), at(5 + 1800)), None, "nobody is there any more");
        sessions.close_of(&"alice".parse().unwrap());
        assert_eq!(sessions.len(), 2);
        let local_again = open(&mut sessions, 6, 4);
        sessions.close_of_providers();
        assert_eq!(sessions.len(), 1);
        assert!(sessions.find(&local_again.cookie, at(7)).is_some());
        assert!(sessions.find(&local.cookie, at(7)).is_none());
    }

    #[test]
    fn those_of_one_are_ended_and_counted_and_those_of_others_stay() {
        let mut sessions = Sessions::default();
        let (viewer, officer) = (Roles::NONE.with(Role::Viewer), Roles::NONE.with(Role::SecurityOfficer));
        let otto = Principal::Oidc(OidcUser::new("https://id.example.org", "alice", None).unwrap());
        let over = open(&mut sessions, 0, 1);
        let alices = open(&mut sessions, 100, 2);
        sessions.open((otto.clone(), viewer, HERE), None, at(900), &counting(3));
        sessions.open((otto.clone(), officer, HERE), None, at(1000), &counting(4));
        assert!(sessions.find(&alices.cookie, at(1500)).is_some());
        let listed = sessions.list(at(1800));
        let seen = |one: &Session| (one.who.clone(), one.opened_s(), one.used_s(at(1800)));
        assert_eq!(listed.len(), 3, "one has ended by itself");
        assert!(listed.iter().all(|one| one.from == HERE));
        assert!(listed.iter().map(seen).any(|one| one == (alice(), 1_774_224_100, 1_774_225_500)));
        assert!(listed.iter().map(seen).any(|one| one == (otto.clone(), 1_774_224_900, 1_774_224_900)));
        assert_eq!(sessions.all_roles_of(&otto, at(1800)), Some(viewer.or(officer)));
        assert_eq!(sessions.all_roles_of(&Principal::Root, at(1800)), None);

        assert_eq!(sessions.end(&alice(), at(1800)), 1);
        assert!(sessions.find(&over.cookie, at(1800)).is_none());
        assert!(sessions.find(&alices.cookie, at(1800)).is_none());
        assert_eq!(sessions.end(&alice(), at(1800)), 0);
        assert_eq!((sessions.len(), sessions.end(&otto, at(1800))), (2, 2));
        assert!(sessions.is_empty());
    }

    #[test]
    fn a_page_proves_itself_with_the_text_of_its_own_session() {
        let mut sessions = Sessions::default();
        let (one, two) = (open(&mut sessions, 0, 1), open(&mut sessions, 0, 99));
        assert!(one.session.is_page(&one.session.csrf));
        assert!(!one.session.is_page(&two.session.csrf) && !one.session.is_page(""));
    }
}

//! Log-ins that are on their way: bound to a browser by a cookie, in time, in number, and taken once.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::error::OidcError;

/// Fills bytes with randomness.
pub type Random<'a> = &'a dyn Fn(&mut [u8]);

/// So long somebody may take at the provider: a second factor, a forgotten password.
pub const FLOW_S: u64 = 10 * 60;
/// In all; each has some hundred bytes. The oldest goes.
pub const MOST_FLOWS: usize = 4096;
/// From one address (64 bits of IPv6), so that one who begins log-ins all day pushes out his own.
pub const MOST_FLOWS_OF_ADDRESS: usize = 64;

/// What only the server and the provider, or the server and the browser, know.
const SECRET_BYTES: usize = 32;

/// One log-in on its way.
pub struct Flow {
    /// The ID token has it.
    pub nonce: Zeroizing<String>,
    /// What its hash was sent of to the provider (RFC 7636).
    pub verifier: Zeroizing<String>,
    /// The session that the browser had, which ends when this one begins.
    pub before: Option<Zeroizing<String>>,
    cookie: [u8; 32],
    place: [u8; 16],
    begun_count_s: u64,
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").field("begun_count_s", &self.begun_count_s).finish_non_exhaustive()
    }
}

/// What the browser is given.
pub struct Started {
    /// The value of the cookie that binds the log-in to the browser.
    pub cookie: Zeroizing<String>,
    /// It comes back with the code.
    pub state: Zeroizing<String>,
    /// For the ID token.
    pub nonce: Zeroizing<String>,
    /// SHA-256 of the verifier, in base64url.
    pub challenge: String,
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started").finish_non_exhaustive()
    }
}

/// All of them, by the hash of their state.
#[derive(Debug, Default)]
pub struct Flows {
    waiting: HashMap<[u8; 32], Flow>,
}

fn secret(random: Random<'_>) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
    random(bytes.as_mut_slice());
    Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()))
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn place(from: IpAddr) -> [u8; 16] {
    match from.to_canonical() {
        IpAddr::V4(four) => four.to_ipv6_mapped().octets(),
        IpAddr::V6(six) => (u128::from(six) >> 64 << 64).to_be_bytes(),
    }
}

impl Flows {
    /// Begins a log-in.
    pub fn begin(
        &mut self,
        from: IpAddr,
        before: Option<Zeroizing<String>>,
        now_count_s: u64,
        random: Random<'_>,
    ) -> Started {
        self.waiting.retain(|_, flow| !flow.is_over(now_count_s));
        let place = place(from);
        let of_place = self.waiting.values().filter(|flow| flow.place == place).count();
        if of_place >= MOST_FLOWS_OF_ADDRESS {
            self.drop_oldest(|flow| flow.place == place);
        }
        if self.waiting.len() >= MOST_FLOWS {
            self.drop_oldest(|_| true);
        }
        let [cookie, state, nonce, verifier] = [(); 4].map(|()| secret(random));
        let flow = Flow {
            nonce: nonce.clone(),
            verifier: verifier.clone(),
            before,
            cookie: hash(&cookie),
            place,
            begun_count_s: now_count_s,
        };
        self.waiting.insert(hash(&state), flow);
        Started { cookie, state, nonce, challenge: URL_SAFE_NO_PAD.encode(hash(&verifier)) }
    }

    fn drop_oldest(&mut self, among: impl Fn(&Flow) -> bool) {
        let candidates = self.waiting.iter().filter(|(_, flow)| among(flow));
        let oldest = candidates.min_by_key(|(_, flow)| flow.begun_count_s).map(|(state, _)| *state);
        if let Some(state) = oldest {
            self.waiting.remove(&state);
        }
    }

    /// Takes the log-in of this state; it is gone then, whoever asked.
    ///
    /// # Errors
    /// There is none, its time is over, or another browser began it.
    pub fn take(&mut self, state: &str, cookie: Option<&str>, now_count_s: u64) -> Result<Flow, OidcError> {
        let flow = self.waiting.remove(&hash(state)).filter(|flow| !flow.is_over(now_count_s));
        let flow = flow.ok_or(OidcError::UnknownState)?;
        let is_it = cookie.is_some_and(|cookie| bool::from(hash(cookie).ct_eq(&flow.cookie)));
        if is_it { Ok(flow) } else { Err(OidcError::OtherBrowser) }
    }

    /// How many are on their way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// None is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Flow {
    const fn is_over(&self, now_count_s: u64) -> bool {
        now_count_s >= self.begun_count_s.saturating_add(FLOW_S)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Another byte each time.
    fn counting() -> impl Fn(&mut [u8]) {
        let next = Cell::new(0_u32);
        move |bytes| {
            next.set(next.get() + 1);
            bytes.iter_mut().zip(next.get().to_be_bytes().iter().cycle()).for_each(|(b, n)| *b = *n);
        }
    }

    fn at(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_log_in_goes_on_once_and_in_the_browser_that_began_it() {
        let (mut flows, random) = (Flows::default(), counting());
        let one = flows.begin(at(1), None, 100, &random);
        let two = flows.begin(at(1), None, 100, &random);
        assert_eq!(flows.take("nobody's", Some(&one.cookie), 101).unwrap_err(), OidcError::UnknownState);
        assert_eq!(*flows.take(&one.state, Some(&one.cookie), 101).unwrap().nonce, *one.nonce);
        assert_eq!(flows.take(&one.state, Some(&one.cookie), 101).unwrap_err(), OidcError::UnknownState);
        assert_eq!(flows.take(&two.state, Some(&one.cookie), 101).unwrap_err(), OidcError::OtherBrowser);
        assert_eq!(flows.take(&two.state, Some(&two.cookie), 101).unwrap_err(), OidcError::UnknownState);
        let three = flows.begin(at(1), None, 100, &random);
        assert_eq!(flows.take(&three.state, None, 101).unwrap_err(), OidcError::OtherBrowser);
    }

    #[test]
    fn a_log_in_is_over_after_ten_minutes() {
        let (mut flows, random) = (Flows::default(), counting());
        let (one, two) = (flows.begin(at(1), None, 100, &random), flows.begin(at(1), None, 100, &random));
        assert!(flows.take(&one.state, Some(&one.cookie), 699).is_ok());
        assert_eq!(flows.take(&two.state, Some(&two.cookie), 700).unwrap_err(), OidcError::UnknownState);
    }

    #[test]
    fn who_begins_log_ins_all_day_pushes_out_his_own() {
        let (mut flows, random) = (Flows::default(), counting());
        let other = flows.begin(at(2), None, 0, &random);
        let first = flows.begin(at(1), None, 1, &random);
        for _ in 0..200 {
            flows.begin(at(1), None, 2, &random);
        }
        assert_eq!(flows.len(), 65);
        assert!(flows.take(&other.state, Some(&other.cookie), 3).is_ok());
        assert!(flows.take(&first.state, Some(&first.cookie), 3).is_err());
        for n in 0..4200_u32 {
            flows.begin(IpAddr::from((n / 32 + (10 << 24)).to_be_bytes()), None, 4, &random);
        }
        assert_eq!(flows.len(), 4096);
    }

    #[test]
    fn sites_of_ipv6_are_told_apart_by_64_bits() {
        let of = |text: &str| place(text.parse().unwrap());
        assert_eq!(of("2001:db8:0:1::5"), of("2001:db8:0:1:ffff::1"));
        assert_ne!(of("2001:db8:0:1::5"), of("2001:db8:0:2::5"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }

    #[test]
    fn the_challenge_is_the_hash_of_the_verifier_as_rfc_7636_appendix_b_has_it() {
        let verifier: [u8; 32] = [
            116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173, 187, 186, 22, 212, 37, 77, 105,
            214, 191, 240, 91, 88, 5, 88, 83, 132, 141, 121,
        ];
        let mut flows = Flows::default();
        let started = flows.begin(at(1), None, 0, &|bytes: &mut [u8]| bytes.copy_from_slice(&verifier));
        assert_eq!(started.challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        let flow = flows.take(&started.state, Some(&started.cookie), 0).unwrap();
        assert_eq!(*flow.verifier, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }
}

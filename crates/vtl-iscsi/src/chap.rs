//! CHAP: proof of a shared secret without sending it (RFC 1994; RFC 7143, 12.1.3).
//!
//! ```text
//! initiator                        target
//!   CHAP_A=7,5             ->                         state Offered
//!                          <-   CHAP_A CHAP_I CHAP_C  state Challenged
//!   CHAP_N CHAP_R          ->                         state Over, passed or not
//!   (CHAP_I CHAP_C, mutual)
//!                          <-   (CHAP_N CHAP_R)
//! ```
//!
//! A wrong name, a wrong secret and a malformed value give the same answer after the same work, and each
//! challenge is good for one attempt. What RFC 7143, 9.2.1 forbids is refused: our challenge sent back to us, and
//! one secret for both directions.

use alloc::vec::Vec;

use sha2::Digest;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::{
    config::Auth,
    secret::Secret,
    text::{self, TextWriter},
};

/// Random bytes of a challenge: as many as the strongest hash has.
const CHALLENGE_LEN: usize = 32;

/// A hash by its number in IANA's registry of PPP authentication algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// 5; every initiator has it.
    Md5,
    /// 6.
    Sha1,
    /// 7.
    Sha256,
    /// 8.
    Sha3_256,
}

/// Strongest first, with their numbers.
const ALGORITHMS: [(Algorithm, u64); 4] =
    [(Algorithm::Sha3_256, 8), (Algorithm::Sha256, 7), (Algorithm::Sha1, 6), (Algorithm::Md5, 5)];

impl Algorithm {
    /// The strongest of a list such as `7,5`. The initiator's order is a preference only: nobody who can compute
    /// the stronger hash loses by it, and a list cannot be reordered into the weaker one.
    pub fn strongest(list: &str) -> Option<Self> {
        let offered: Vec<Option<u64>> = list.split(',').map(text::number).collect();
        ALGORITHMS
            .iter()
            .find(|(_, number)| offered.contains(&Some(*number)))
            .map(|(algorithm, _)| *algorithm)
    }

    /// The number for CHAP_A.
    pub fn number(self) -> u64 {
        ALGORITHMS.iter().find(|(algorithm, _)| *algorithm == self).map_or(0, |(_, number)| *number)
    }

    /// The response: the hash of identifier, secret and challenge, one after the other.
    pub fn response(self, id: u8, secret: &Secret, challenge: &[u8]) -> Vec<u8> {
        match self {
            Self::Md5 => hash::<md5::Md5>(id, secret, challenge),
            Self::Sha1 => hash::<sha1::Sha1>(id, secret, challenge),
            Self::Sha256 => hash::<sha2::Sha256>(id, secret, challenge),
            Self::Sha3_256 => hash::<sha3::Sha3_256>(id, secret, challenge),
        }
    }
}

fn hash<D: Digest>(id: u8, secret: &Secret, challenge: &[u8]) -> Vec<u8> {
    D::new().chain_update([id]).chain_update(secret.expose()).chain_update(challenge).finalize().to_vec()
}

/// No reason is given, so that a peer learns nothing from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAuthenticated;

/// One authentication.
#[derive(Debug)]
pub enum Exchange {
    /// AuthMethod=CHAP was agreed on.
    Offered,
    /// We wait for the response to this challenge.
    Challenged(Challenge),
    /// Passed or failed: the challenge is spent.
    Over,
}

/// What we asked.
#[derive(Debug)]
pub struct Challenge {
    algorithm: Algorithm,
    id: u8,
    value: [u8; CHALLENGE_LEN],
}

/// What the initiator answered, as text values.
#[derive(Clone, Copy, Debug)]
pub struct Proof<'a> {
    /// CHAP_N.
    pub name: &'a str,
    /// CHAP_R.
    pub response: &'a str,
    /// CHAP_I and CHAP_C: prove yourself, too.
    pub asks_back: Option<(&'a str, &'a str)>,
}

impl Exchange {
    /// Answers CHAP_A with the algorithm and a challenge.
    pub fn challenge(
        &mut self,
        algorithms: &str,
        random: &mut dyn FnMut(&mut [u8]),
        answers: &mut TextWriter,
    ) -> Result<(), NotAuthenticated> {
        if !matches!(self, Self::Offered) {
            *self = Self::Over;
            return Err(NotAuthenticated);
        }
        let algorithm = Algorithm::strongest(algorithms).ok_or(NotAuthenticated)?;
        let (mut id, mut value) = ([0], [0; CHALLENGE_LEN]);
        random(&mut id);
        random(&mut value);
        let [id] = id;
        answers.push("CHAP_A", algorithm.number());
        answers.push("CHAP_I", id);
        answers.push("CHAP_C", text::to_hex(&value));
        *self = Self::Challenged(Challenge { algorithm, id, value });
        Ok(())
    }

    /// Checks the response, and answers the initiator's own challenge if there is one.
    pub fn verify(
        &mut self,
        auth: &Auth,
        proof: Proof<'_>,
        answers: &mut TextWriter,
    ) -> Result<(), NotAuthenticated> {
        let Self::Challenged(challenge) = core::mem::replace(self, Self::Over) else {
            return Err(NotAuthenticated);
        };
        challenge.check(auth, proof)?;
        match proof.asks_back {
            Some((id, value)) => challenge.answer_back(auth, id, value, proof.response, answers),
            None => Ok(()),
        }
    }
}

impl Challenge {
    fn check(&self, auth: &Auth, proof: Proof<'_>) -> Result<(), NotAuthenticated> {
        let account = auth.chap.as_ref().filter(|_| !auth.is_reflectable()).ok_or(NotAuthenticated)?;
        let mut expected = self.algorithm.response(self.id, &account.secret, &self.value);
        let given = text::binary(proof.response).unwrap_or_default();
        // The names are compared as hashes, so that not even their lengths show in the time.
        let name = sha2::Sha256::digest(account.user.as_bytes()).ct_eq(&sha2::Sha256::digest(proof.name));
        let good = name & expected.ct_eq(&given);
        expected.zeroize();
        if good.into() { Ok(()) } else { Err(NotAuthenticated) }
    }

    fn answer_back(
        &self,
        auth: &Auth,
        id: &str,
        value: &str,
        their_response: &str,
        answers: &mut TextWriter,
    ) -> Result<(), NotAuthenticated> {
        let account = auth.mutual.as_ref().ok_or(NotAuthenticated)?;
        let id = text::number(id).and_then(|id| u8::try_from(id).ok()).ok_or(NotAuthenticated)?;
        let value = text::binary(value).ok_or(NotAuthenticated)?;
        if value == self.value {
            return Err(NotAuthenticated);
        }
        let response = self.algorithm.response(id, &account.secret, &value);
        if text::binary(their_response).as_ref() == Some(&response) {
            return Err(NotAuthenticated);
        }
        answers.push("CHAP_N", &account.user);
        answers.push("CHAP_R", text::to_hex(&response));
        Ok(())
    }
}

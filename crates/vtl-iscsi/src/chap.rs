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

/// The algorithms with their numbers.
const ALGORITHMS: [(Algorithm, u64); 4] =
    [(Algorithm::Md5, 5), (Algorithm::Sha1, 6), (Algorithm::Sha256, 7), (Algorithm::Sha3_256, 8)];

impl Algorithm {
    /// The first of a list such as `7,5` that we have: the list is in the initiator's order of preference, and
    /// RFC 7143, 6.2.1 binds us to it. Taking the strongest instead would gain nothing, as nothing protects the
    /// list on its way, and locks out initiators that name a hash which they have not.
    pub fn choose(list: &str) -> Option<Self> {
        list.split(',').filter_map(text::number).find_map(Self::from_number)
    }

    fn from_number(number: u64) -> Option<Self> {
        ALGORITHMS.iter().find(|(_, n)| *n == number).map(|(algorithm, _)| *algorithm)
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
        let algorithm = Algorithm::choose(algorithms).ok_or(NotAuthenticated)?;
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

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::*;
    use crate::config::{ChapIn, ChapOut};

    /// What `hashlib` of Python 3 says to identifier 27h, this secret and a challenge of 10h to 1Fh.
    const SECRET: &str = "correct horse battery";
    const GOLDEN: [(Algorithm, u64, &str); 4] = [
        (Algorithm::Md5, 5, "3ccd0f9e654c7636bbdddb2c6ad6024a"),
        (Algorithm::Sha1, 6, "56ad3ab50cd8f65a28849880c5e5a9da18712132"),
        (Algorithm::Sha256, 7, "668669df486bb7b76deeb839e39ce0a6251daf032b0accf3ff6fd55de3b789bc"),
        (Algorithm::Sha3_256, 8, "f4fed82706341961087231e86cbe1955236c614321d7274c565b48040098946d"),
    ];
    /// The same for FFh, `twelve bytes` and 1024 bytes, the i-th being 7 i + 3 modulo 256.
    const GOLDEN_LONG: [(Algorithm, &str); 4] = [
        (Algorithm::Md5, "4510e9d921650725edff06b354d2abf2"),
        (Algorithm::Sha1, "b807c3dc6d2eeac070754154e04040c50e9fc5b6"),
        (Algorithm::Sha256, "043d360b84ce2f148f6b6e6c731b8c93d6fbbf21a31cecfd37a97dd81b381abb"),
        (Algorithm::Sha3_256, "564dc265780290a71d753065b2951f23cee9a3ed098f6676db3ef6aa9be05646"),
    ];

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    fn hex(bytes: &[u8]) -> String {
        text::to_hex(bytes).split_off(2)
    }

    fn auth() -> Auth {
        Auth {
            chap: Some(ChapIn { user: "host".into(), secret: secret(SECRET) }),
            mutual: Some(ChapOut { user: "library".into(), secret: secret("mutual secret 99") }),
        }
    }

    /// An exchange that has sent identifier 27h and 32 bytes of 10h to 2Fh.
    fn challenged(algorithms: &str) -> Exchange {
        let mut exchange = Exchange::Offered;
        let mut answers = TextWriter::new();
        let mut random = |bytes: &mut [u8]| {
            let start = if bytes.len() == 1 { 0x27 } else { 0x10 };
            bytes.iter_mut().zip(start..).for_each(|(b, n)| *b = n);
        };
        exchange.challenge(algorithms, &mut random, &mut answers).unwrap();
        exchange
    }

    fn try_proof(exchange: &mut Exchange, proof: Proof<'_>) -> Result<String, NotAuthenticated> {
        let mut answers = TextWriter::new();
        exchange.verify(&auth(), proof, &mut answers)?;
        Ok(String::from_utf8(answers.into_bytes()).unwrap())
    }

    /// Python 3: SHA-256 of 27h, the secret and 10h to 2Fh.
    const SHA256_OF_32: &str = "0x6d8ff70dd482540673094695e0fd90a29ff0a7ac7fc832582abc92505788b071";
    const MD5_OF_32: &str = "0x1ea37fb5aa919459b380a01e551110a0";
    const MD5_OF_32_BASE64: &str = "0bHqN/taqRlFmzgKAeVREQoA==";

    fn good() -> Proof<'static> {
        Proof { name: "host", response: SHA256_OF_32, asks_back: None }
    }

    #[test]
    fn responses_are_what_another_implementation_computes() {
        let challenge: Vec<u8> = (0x10..0x20).collect();
        let long: Vec<u8> = (0..1024u32).map(|i| (i * 7 + 3) as u8).collect();
        for (algorithm, number, response) in GOLDEN {
            assert_eq!(hex(&algorithm.response(0x27, &secret(SECRET), &challenge)), response);
            assert_eq!(algorithm.number(), number);
        }
        for (algorithm, response) in GOLDEN_LONG {
            assert_eq!(hex(&algorithm.response(0xff, &secret("twelve bytes"), &long)), response);
        }
    }

    #[test]
    fn the_first_known_algorithm_of_the_list_is_taken() {
        let cases = [
            ("5", Some(Algorithm::Md5)),
            ("5,6,7,8", Some(Algorithm::Md5)),
            ("8,7,6,5", Some(Algorithm::Sha3_256)),
            ("99,7,5", Some(Algorithm::Sha256)),
            ("0x6", Some(Algorithm::Sha1)),
            ("56", None),
            ("4,9", None),
            ("", None),
            ("MD5", None),
            (",", None),
        ];
        for (list, expected) in cases {
            assert_eq!(Algorithm::choose(list), expected, "{list}");
        }
    }

    #[test]
    fn the_challenge_is_sent_with_its_algorithm_and_identifier() {
        let mut answers = TextWriter::new();
        let mut random = |bytes: &mut [u8]| bytes.fill(0xa5);
        Exchange::Offered.challenge("7,5", &mut random, &mut answers).unwrap();
        let expected = "CHAP_A=7\0CHAP_I=165\0CHAP_C=0xa5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5\0";
        assert_eq!(answers.into_bytes(), expected.as_bytes());
    }

    #[test]
    fn who_knows_the_secret_passes() {
        assert_eq!(try_proof(&mut challenged("7"), good()), Ok(String::new()));
        for response in [MD5_OF_32, MD5_OF_32_BASE64] {
            let proof = Proof { name: "host", response, asks_back: None };
            assert_eq!(try_proof(&mut challenged("5"), proof), Ok(String::new()), "{response}");
        }
    }

    #[test]
    fn whatever_is_wrong_the_refusal_is_the_same() {
        let wrong = [
            Proof { name: "Host", ..good() },
            Proof { name: "", ..good() },
            Proof { name: "host ", ..good() },
            Proof { response: MD5_OF_32, ..good() },
            Proof { response: "0x00", ..good() },
            Proof { response: "0x", ..good() },
            Proof { response: "", ..good() },
            Proof { response: &SHA256_OF_32[2..], ..good() },
            Proof {
                response: "0x0000000000000000000000000000000000000000000000000000000000000000",
                ..good()
            },
        ];
        for proof in wrong {
            assert_eq!(try_proof(&mut challenged("7"), proof), Err(NotAuthenticated), "{proof:?}");
        }
    }

    #[test]
    fn a_challenge_is_good_for_one_attempt() {
        let mut exchange = challenged("7");
        assert!(try_proof(&mut exchange, Proof { name: "other", ..good() }).is_err());
        assert!(try_proof(&mut exchange, good()).is_err());
        let mut exchange = challenged("7");
        assert!(try_proof(&mut exchange, good()).is_ok());
        assert!(try_proof(&mut exchange, good()).is_err());
    }

    #[test]
    fn a_second_challenge_is_not_given() {
        let mut exchange = challenged("7");
        let mut random = |bytes: &mut [u8]| bytes.fill(0);
        assert!(exchange.challenge("7", &mut random, &mut TextWriter::new()).is_err());
        assert!(try_proof(&mut exchange, good()).is_err());
    }

    #[test]
    fn asked_back_the_target_proves_itself() {
        let theirs = "0xe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";
        let expected =
            "CHAP_N=library\0CHAP_R=0x29d0744a61d1a235f244e781ab161649b2e230a895b63bfd61612224c092ff08\0";
        for challenge in [theirs, "0b4OHi4+Tl5ufo6err7O3u7/Dx8vP09fb3+Pn6+/z9/v8="] {
            let proof = Proof { asks_back: Some(("5", challenge)), ..good() };
            assert_eq!(try_proof(&mut challenged("7"), proof).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn who_has_not_proved_itself_gets_no_proof_from_us() {
        let proof = Proof { name: "host", response: "0x00", asks_back: Some(("5", "0xe0e1")) };
        assert_eq!(try_proof(&mut challenged("7"), proof), Err(NotAuthenticated));
    }

    #[test]
    fn our_own_challenge_sent_back_is_refused() {
        let ours = text::to_hex(&(0x10..0x30).collect::<Vec<u8>>());
        let proof = Proof { asks_back: Some(("5", &ours)), ..good() };
        assert_eq!(try_proof(&mut challenged("7"), proof), Err(NotAuthenticated));
        let upper = ours.to_uppercase();
        let proof = Proof { asks_back: Some(("5", &upper)), ..good() };
        assert_eq!(try_proof(&mut challenged("7"), proof), Err(NotAuthenticated));
    }

    #[test]
    fn a_broken_question_back_is_refused() {
        for asks_back in [("256", "0xe0e1"), ("-1", "0xe0e1"), ("5", "0x"), ("5", "e0e1"), ("", "0xe0e1")] {
            let proof = Proof { asks_back: Some(asks_back), ..good() };
            assert_eq!(try_proof(&mut challenged("7"), proof), Err(NotAuthenticated), "{asks_back:?}");
        }
        let long = std::format!("0x{}", "e0".repeat(1025));
        let proof = Proof { asks_back: Some(("5", &long)), ..good() };
        assert_eq!(try_proof(&mut challenged("7"), proof), Err(NotAuthenticated));
    }

    #[test]
    fn without_an_account_of_our_own_a_question_back_is_refused() {
        let one_way = Auth { mutual: None, ..auth() };
        let proof = Proof { asks_back: Some(("5", "0xe0e1")), ..good() };
        let result = challenged("7").verify(&one_way, proof, &mut TextWriter::new());
        assert_eq!(result, Err(NotAuthenticated));
    }

    #[test]
    fn one_secret_for_both_directions_lets_nobody_in() {
        let both =
            Auth { mutual: Some(ChapOut { user: "library".into(), secret: secret(SECRET) }), ..auth() };
        let result = challenged("7").verify(&both, good(), &mut TextWriter::new());
        assert_eq!(result, Err(NotAuthenticated));
    }

    #[test]
    fn without_an_account_nobody_passes() {
        let result = challenged("7").verify(&Auth::default(), good(), &mut TextWriter::new());
        assert_eq!(result, Err(NotAuthenticated));
    }
}

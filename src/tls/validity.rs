//! When a certificate ends: the one field of it that the TLS library does not tell.
//!
//! DER as RFC 5280, 4.1, draws it: Certificate, TBSCertificate, version, serialNumber, signature, issuer, validity
//! { notBefore, notAfter }. Whatever is not so gives nothing.

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// In seconds since 1970.
pub(super) fn not_after(certificate: &[u8]) -> Option<u64> {
    let (_, outer, _) = element(certificate)?;
    let (_, inner, _) = element(outer)?;
    let (first, _, behind_first) = element(inner)?;
    // The version may be left out (version 1).
    let (_, _, rest) = if first == VERSION { element(behind_first)? } else { element(inner)? };
    let (_, _, rest) = element(rest)?; // signature
    let (_, _, rest) = element(rest)?; // issuer
    let (tag, validity, _) = element(rest)?;
    let (_, _, rest) = element(validity)?;
    let (kind, text, _) = element(rest)?;
    if tag != SEQUENCE {
        return None;
    }
    time(kind, std::str::from_utf8(text).ok()?)
}

/// Tag, content, and what is behind it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        short @ 0..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, behind) = rest.split_at_checked(len)?;
    Some((tag, content, behind))
}

/// `YYMMDDHHMMSSZ` until 2049, `YYYYMMDDHHMMSSZ` from then on (RFC 5280, 4.1.2.5).
fn time(kind: u8, text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z')?;
    let whole = match kind {
        UTC_TIME if text.starts_with(['5', '6', '7', '8', '9']) => format!("19{text}"),
        UTC_TIME => format!("20{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let moment = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", whole).ok()?;
    let seconds = moment.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second();
    u64::try_from(seconds).ok()
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    /// Made by PyCA cryptography, until `openssl x509 -enddate` says: Feb  3 04:05:06 2027 GMT.
    const UTC: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIHDMHegAwIBAgIBBzAFBgMrZXAwDDEKMAgGA1UEAwwBYTAeFw0yNjAxMDEwMDAw\n\
MDBaFw0yNzAyMDMwNDA1MDZaMAwxCjAIBgNVBAMMAWEwKjAFBgMrZXADIQCGdCH3\n\
YB1HdivTbYAc0frSan9y2ICNmFRQor2FVOHz1zAFBgMrZXADQQCriEUAFNktPUKB\n\
0u65k9dGbgIx3oR63+eyZ68MjQ1RQ/HARbKxo9pTc2+C5GfxZAx/+Lf+UTsdXQfh\n\
Gy37DDYC\n\
-----END CERTIFICATE-----\n";
    /// The same until Feb  3 04:05:06 2061 GMT, which is written in the other form.
    const GENERALIZED: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIHFMHmgAwIBAgIBBzAFBgMrZXAwDDEKMAgGA1UEAwwBYTAgFw0yNjAxMDEwMDAw\n\
MDBaGA8yMDYxMDIwMzA0MDUwNlowDDEKMAgGA1UEAwwBYTAqMAUGAytlcAMhAK1h\n\
g4nN1NmSZvvE5YMo7qfkaBGS2ZCNx5HpvqKG2xOrMAUGAytlcANBAOj7xwkyaKyg\n\
rmqKKZmD2+2fDZrAnDZUNKvEzDrXNnD7nfMnbmP/Sy+SkXY9ZgOqga1RLiWAjnt0\n\
P0TKSt+MRgs=\n\
-----END CERTIFICATE-----\n";

    fn end_of(pem: &str) -> Option<u64> {
        not_after(&CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
    }

    #[test]
    fn the_end_of_a_certificate_is_read_as_openssl_wrote_it() {
        // date -u -d '2027-02-03 04:05:06' +%s, and 2061-02-03.
        assert_eq!(end_of(UTC), Some(1_801_627_506));
        assert_eq!(end_of(GENERALIZED), Some(2_874_629_106));
    }

    #[test]
    fn a_certificate_that_is_cut_anywhere_or_is_rubbish_has_no_end_and_stops_nothing() {
        let der = CertificateDer::from_pem_slice(UTC.as_bytes()).unwrap();
        for len in 0..der.len() {
            assert_eq!(not_after(&der[..len]), None, "{len}");
        }
        assert_eq!(not_after(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0]), None);
        assert_eq!(not_after(&[0xff; 64]), None);
    }
}

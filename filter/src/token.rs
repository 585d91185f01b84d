//! What our cookie holds: a token that shows nothing and cannot be forged, moved to another cookie,
//! or used after its end.
//!
//! Base64url (without padding) of a 24-byte nonce and an XChaCha20-Poly1305 ciphertext: random
//! nonces of that length never meet. The associated data binds it to the cookie's name and to this
//! format, so that a token of another version is none.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use prost::Message;

use crate::config::{ConfigError, PIN_SUFFIX};
use crate::set_cookie::{MAX_AGE_LIMIT, SameSite, Scope};

/// Random bytes that must be new for each token.
pub type Nonce = [u8; 24];

/// The session keys: the first signs, all open.
pub struct KeyRing {
    signing: XChaCha20Poly1305,
    accepted: Vec<XChaCha20Poly1305>,
}

impl KeyRing {
    /// Reads keys of 32 bytes in base64, at least one.
    pub fn new(keys: &[String]) -> Result<Self, ConfigError> {
        let mut ciphers = keys.iter().enumerate().map(|(number, key)| {
            let bytes = STANDARD.decode(key.trim()).map_err(|_| ConfigError::Key(number))?;
            XChaCha20Poly1305::new_from_slice(&bytes).map_err(|_| ConfigError::Key(number))
        });
        let signing = ciphers.next().ok_or(ConfigError::NoKey)??;
        Ok(Self { signing, accepted: ciphers.collect::<Result<_, _>>()? })
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "KeyRing {{ 1 signs, {} more open }}", self.accepted.len())
    }
}

/// Where a session lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The ID of the service that owns the endpoint.
    pub service: String,
    /// The endpoint.
    pub endpoint: SocketAddr,
    /// When it was issued, in seconds since 1970.
    pub issued_at: u64,
    /// The cookie's scope; its life begins with `issued_at`.
    pub scope: Scope,
}

/// The plaintext.
#[derive(Clone, PartialEq, Message)]
struct Payload {
    #[prost(string, tag = "1")]
    service: String,
    #[prost(string, tag = "2")]
    endpoint: String,
    #[prost(uint64, tag = "3")]
    issued_at: u64,
    #[prost(string, optional, tag = "4")]
    path: Option<String>,
    #[prost(string, optional, tag = "5")]
    domain: Option<String>,
    #[prost(bool, tag = "6")]
    secure: bool,
    /// 0: absent, 1: strict, 2: lax, 3: none.
    #[prost(uint32, tag = "7")]
    same_site: u32,
    #[prost(uint32, optional, tag = "8")]
    max_age: Option<u32>,
}

impl Token {
    /// When it is no longer valid, in seconds since 1970. One for the browser's session ends too:
    /// after the longest life of any cookie.
    pub fn end(&self) -> u64 {
        let life = self.scope.max_age.unwrap_or(MAX_AGE_LIMIT).min(MAX_AGE_LIMIT);
        self.issued_at.saturating_add(life.into())
    }

    /// The value of our cookie beside the application's of this name.
    pub fn seal(&self, keys: &KeyRing, cookie: &str, nonce: Nonce) -> Option<String> {
        let mut text = Payload::from(self).encode_to_vec();
        let aad = associated_data(cookie);
        keys.signing.encrypt_in_place(&XNonce::from(nonce), &aad, &mut text).ok()?;
        Some(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &text].concat()))
    }

    /// Reads the value of our cookie beside the application's of this name; `None` for whatever is not
    /// a token of ours. It may be over ([`Token::end`]).
    pub fn open(keys: &KeyRing, cookie: &str, value: &[u8]) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk()?;
        let nonce = XNonce::from(*nonce);
        let aad = associated_data(cookie);
        let text = std::iter::once(&keys.signing).chain(&keys.accepted).find_map(|key| {
            let mut text = sealed.to_vec();
            key.decrypt_in_place(&nonce, &aad, &mut text).ok()?;
            Some(text)
        })?;
        Self::from_payload(Payload::decode(text.as_slice()).ok()?)
    }

    fn from_payload(payload: Payload) -> Option<Self> {
        Some(Self {
            service: payload.service,
            endpoint: payload.endpoint.parse().ok()?,
            issued_at: payload.issued_at,
            scope: Scope {
                path: payload.path,
                domain: payload.domain,
                secure: payload.secure,
                same_site: match payload.same_site {
                    0 => None,
                    1 => Some(SameSite::Strict),
                    2 => Some(SameSite::Lax),
                    3 => Some(SameSite::None),
                    _ => return None,
                },
                max_age: payload.max_age,
            },
        })
    }
}

impl From<&Token> for Payload {
    fn from(token: &Token) -> Self {
        let scope = token.scope.clone();
        Self {
            service: token.service.clone(),
            endpoint: token.endpoint.to_string(),
            issued_at: token.issued_at,
            path: scope.path,
            domain: scope.domain,
            secure: scope.secure,
            same_site: match scope.same_site {
                None => 0,
                Some(SameSite::Strict) => 1,
                Some(SameSite::Lax) => 2,
                Some(SameSite::None) => 3,
            },
            max_age: scope.max_age,
        }
    }
}

fn associated_data(cookie: &str) -> Vec<u8> {
    [b"waggle token 1\0", cookie.as_bytes(), PIN_SUFFIX.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn key(byte: u8) -> String {
        STANDARD.encode([byte; 32])
    }

    fn keys(bytes: &[u8]) -> KeyRing {
        KeyRing::new(&bytes.iter().copied().map(key).collect::<Vec<_>>()).unwrap()
    }

    fn token() -> Token {
        Token {
            service: "9mnpnzenvg8p8tdbtq4wvbkcz".into(),
            endpoint: "10.0.1.12:8080".parse().unwrap(),
            issued_at: NOW,
            scope: Scope {
                path: Some("/".into()),
                max_age: Some(60),
                same_site: Some(SameSite::Lax),
                ..Scope::default()
            },
        }
    }

    fn sealed() -> String {
        token().seal(&keys(&[1]), "s", [7; 24]).unwrap()
    }

    fn open(keys: &KeyRing, value: &[u8]) -> Option<Token> {
        Token::open(keys, "s", value)
    }

    #[test]
    fn a_token_is_opened_by_any_key_of_the_ring_and_signed_by_the_first() {
        for ring in [&[1][..], &[1, 2], &[2, 1], &[3, 2, 1]] {
            assert_eq!(open(&keys(ring), sealed().as_bytes()), Some(token()), "{ring:?}");
        }
        assert_eq!(open(&keys(&[2, 3]), sealed().as_bytes()), None);
        let later = token().seal(&keys(&[2, 1]), "s", [8; 24]).unwrap();
        assert_eq!(open(&keys(&[1]), later.as_bytes()), None);
    }

    #[test]
    fn a_change_of_keys_in_three_steps_loses_no_token() {
        let steps: [&[u8]; 4] = [&[1], &[1, 2], &[2, 1], &[2]];
        // Two Envoys may be one step apart.
        for (before, after) in steps.iter().zip(&steps[1..]) {
            for (signer, opener) in [(before, after), (after, before)] {
                let value = token().seal(&keys(signer), "s", [7; 24]).unwrap();
                let found = open(&keys(opener), value.as_bytes());
                assert_eq!(found, Some(token()), "made with {signer:?}, opened with {opener:?}");
            }
        }
    }

    #[test]
    fn a_token_is_short_and_shows_nothing() {
        let value = sealed();
        assert!(value.len() <= 160, "{}", value.len());
        assert!(value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        let bytes = URL_SAFE_NO_PAD.decode(value).unwrap();
        for secret in [&b"10.0.1.12"[..], b"9mnp", b"8080"] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret));
        }
        assert_ne!(token().seal(&keys(&[1]), "s", [8; 24]), Some(sealed()));
    }

    #[test]
    fn a_token_of_another_cookie_is_none() {
        assert_eq!(Token::open(&keys(&[1]), "t", sealed().as_bytes()), None);
    }

    #[test]
    fn a_token_of_another_format_is_none() {
        let (ring, nonce): (_, Nonce) = (keys(&[1]), [7; 24]);
        let sealed_with = |aad: &[u8]| {
            let mut text = Payload::from(&token()).encode_to_vec();
            ring.signing.encrypt_in_place(&XNonce::from(nonce), aad, &mut text).unwrap();
            URL_SAFE_NO_PAD.encode([nonce.as_slice(), &text].concat())
        };
        let ours = sealed_with(b"waggle token 1\0s_lb");
        assert_eq!(open(&ring, ours.as_bytes()), Some(token()));
        for aad in [&b"waggle token 2\0s_lb"[..], b"s", b""] {
            let value = sealed_with(aad);
            assert_eq!(open(&ring, value.as_bytes()), None, "{}", aad.escape_ascii());
        }
    }

    #[test]
    fn a_token_ends_when_its_cookie_does() {
        assert_eq!(open(&keys(&[1]), sealed().as_bytes()).unwrap().end(), NOW + 60);
    }

    #[test]
    fn a_token_for_the_browsers_session_ends_after_400_days() {
        let mut token = token();
        token.scope.max_age = None;
        let sealed = token.seal(&keys(&[1]), "s", [7; 24]).unwrap();
        assert_eq!(open(&keys(&[1]), sealed.as_bytes()).unwrap().end(), NOW + 34_560_000);
    }

    #[test]
    fn what_is_no_token_is_none() {
        let value = sealed();
        for case in ["", "=", "x", "!!!!", "10.0.1.12:8080", &value[1..]] {
            assert_eq!(open(&keys(&[1]), case.as_bytes()), None, "{case}");
        }
        assert_eq!(open(&keys(&[1]), b"\xff\0"), None);
    }

    #[test]
    fn a_token_that_was_cut_lengthened_or_spoilt_is_none() {
        let value = sealed();
        let cut = (0..value.len()).map(|length| value[..length].to_owned());
        let longer = ["A", "AA", "AAA", "AAAA", "=", "=="].map(|tail| value.clone() + tail);
        let spoilt = "+/=\"', \t\r\n\0é".chars().map(|foreign| {
            let mut value = value.clone();
            value.insert(9, foreign);
            value
        });
        for case in cut.chain(longer).chain(spoilt) {
            assert_eq!(open(&keys(&[1]), case.as_bytes()), None, "{case:?}");
        }
    }

    #[test]
    fn a_plaintext_that_is_no_address_is_none() {
        for endpoint in ["", "10.0.1.12", "10.0.1.12:99999", "host:80", "1.2.3.4:80\r\nx: y"] {
            let mut text =
                Payload { endpoint: endpoint.into(), ..Payload::from(&token()) }.encode_to_vec();
            let (ring, nonce) = (keys(&[1]), [7; 24]);
            let aad = associated_data("s");
            ring.signing.encrypt_in_place(&XNonce::from(nonce), &aad, &mut text).unwrap();
            let value = URL_SAFE_NO_PAD.encode([nonce.as_slice(), &text].concat());
            assert_eq!(open(&ring, value.as_bytes()), None, "{endpoint}");
        }
    }

    #[test]
    fn bad_keys_are_told_by_their_number() {
        let cases = [
            (vec![], "no session key"),
            (vec![key(1), "x".into()], "session key 1 "),
            (vec![STANDARD.encode([0; 31])], "session key 0 "),
        ];
        for (keys, expected) in cases {
            let error = KeyRing::new(&keys).unwrap_err().to_string();
            assert!(error.contains(expected), "{keys:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn every_token_is_read_back(
            service in "[a-z0-9]{25}", ip: std::net::IpAddr, port: u16, age in 0..60_u32, nonce: Nonce,
            path in prop::option::of("/.{0,30}"), domain in prop::option::of("[a-z.]{1,30}"),
            secure: bool, site in 0..4_u8, max_age in prop::option::of(61..=MAX_AGE_LIMIT),
        ) {
            let same_site = [None, Some(SameSite::Strict), Some(SameSite::Lax), Some(SameSite::None)];
            let same_site = same_site[usize::from(site)];
            let scope = Scope { path, domain, secure, same_site, max_age };
            let endpoint = (ip, port).into();
            let token = Token { service, endpoint, issued_at: NOW - u64::from(age), scope };
            let value = token.seal(&keys(&[1]), "s", nonce).unwrap();
            prop_assert_eq!(open(&keys(&[1]), value.as_bytes()), Some(token));
        }

        #[test]
        fn a_token_with_one_bit_changed_is_none(at: prop::sample::Index, bit in 0..8_u8) {
            let mut bytes = URL_SAFE_NO_PAD.decode(sealed()).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let value = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(open(&keys(&[1]), value.as_bytes()), None);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            prop_assert_eq!(open(&keys(&[1]), &bytes), None);
            let encoded = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(open(&keys(&[1]), encoded.as_bytes()), None);
        }
    }
}

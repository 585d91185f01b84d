//! Opens tokens, and remembers those that were opened: decryption is the dearest thing that the
//! filter does, and a session sends the same token with each request.

use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::token::{KeyRing, Token};

/// How many tokens are remembered: a bound for the memory, about half a kilobyte each.
const PLACES: usize = 1024;

/// Why a cookie of ours leads nowhere. Clients are told nothing of it; Envoy counts each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It is no token of ours: made by another, changed, or of a key that is retired.
    Invalid,
    /// It has ended.
    Over,
    /// It is of a service that the route does not lead to.
    Elsewhere,
}

impl Refused {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Invalid, Self::Over, Self::Elsewhere];

    /// The counter's name in Envoy's statistics, behind `wasmcustom.`.
    pub fn counter(self) -> &'static str {
        match self {
            Self::Invalid => "waggle.session_tokens.invalid",
            Self::Over => "waggle.session_tokens.over",
            Self::Elsewhere => "waggle.session_tokens.elsewhere",
        }
    }
}

/// A token, and what is made of it for each request.
#[derive(Debug)]
pub struct Opened {
    /// The token.
    pub token: Token,
    /// What Envoy's `stateful_session` reads: base64 of the endpoint's `ip:port`.
    pub pin: String,
}

/// The session keys, and the tokens that they opened last.
#[derive(Debug)]
pub struct Opener {
    keys: KeyRing,
    /// Each token has one place, by its first bytes, which are random; the last one that was opened
    /// holds it.
    places: Vec<Option<Remembered>>,
}

#[derive(Debug)]
struct Remembered {
    cookie: String,
    value: Vec<u8>,
    opened: Rc<Opened>,
}

impl Opener {
    /// With nothing remembered.
    pub fn new(keys: KeyRing) -> Self {
        Self { keys, places: std::iter::repeat_with(|| None).take(PLACES).collect() }
    }

    /// The session keys.
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// A token that holds at `now`, in seconds since 1970. As [`Token::open`].
    ///
    /// # Errors
    ///
    /// If it is none, or has ended.
    pub fn open(&mut self, cookie: &str, value: &[u8], now: u64) -> Result<Rc<Opened>, Refused> {
        let opened = self.remembered(cookie, value).ok_or(Refused::Invalid)?;
        if now < opened.token.end() { Ok(opened) } else { Err(Refused::Over) }
    }

    fn remembered(&mut self, cookie: &str, value: &[u8]) -> Option<Rc<Opened>> {
        let place = self.places.get_mut(place(value))?;
        if let Some(it) = place.as_ref().filter(|it| it.value == value && it.cookie == cookie) {
            return Some(Rc::clone(&it.opened));
        }
        let token = Token::open(&self.keys, cookie, value)?;
        let pin = STANDARD.encode(token.endpoint.to_string());
        let opened = Rc::new(Opened { token, pin });
        *place = Some(Remembered {
            cookie: cookie.to_owned(),
            value: value.to_vec(),
            opened: Rc::clone(&opened),
        });
        Some(opened)
    }
}

/// FNV-1a over what of a token is random.
fn place(value: &[u8]) -> usize {
    let hash = value
        .iter()
        .take(16)
        .fold(0x811c_9dc5_u32, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    usize::try_from(hash).unwrap_or_default() & PLACES.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::set_cookie::Scope;

    const NOW: u64 = 1_700_000_000;

    fn opener() -> Opener {
        Opener::new(KeyRing::new(&[STANDARD.encode([1; 32])]).unwrap())
    }

    fn sealed(cookie: &str, port: u16, nonce: u8) -> String {
        let token = Token {
            service: "demo".into(),
            endpoint: ([10, 0, 1, 4], port).into(),
            issued_at: NOW,
            scope: Scope { max_age: Some(60), ..Scope::default() },
        };
        token.seal(opener().keys(), cookie, [nonce; 24]).unwrap()
    }

    #[test]
    fn a_token_that_was_opened_is_opened_again() {
        let mut ours = opener();
        let value = sealed("s", 80, 1);
        let first = ours.open("s", value.as_bytes(), NOW).unwrap();
        let second = ours.open("s", value.as_bytes(), NOW + 59).unwrap();
        assert!(Rc::ptr_eq(&first, &second));
        assert_eq!(first.pin, "MTAuMC4xLjQ6ODA=");
    }

    #[test]
    fn what_is_remembered_ends_with_the_token() {
        let mut ours = opener();
        let value = sealed("s", 80, 1);
        assert!(ours.open("s", value.as_bytes(), NOW).is_ok());
        for opener in [&mut ours, &mut opener()] {
            assert!(opener.open("s", value.as_bytes(), NOW + 59).is_ok());
            for now in [NOW + 60, u64::MAX] {
                assert_eq!(opener.open("s", value.as_bytes(), now).unwrap_err(), Refused::Over);
            }
        }
    }

    #[test]
    fn what_is_remembered_is_of_its_cookie_alone() {
        let mut ours = opener();
        let value = sealed("s", 80, 1);
        assert!(ours.open("s", value.as_bytes(), NOW).is_ok());
        assert_eq!(ours.open("t", value.as_bytes(), NOW).unwrap_err(), Refused::Invalid);
        let longer = value + "A";
        assert_eq!(ours.open("s", longer.as_bytes(), NOW).unwrap_err(), Refused::Invalid);
    }

    #[test]
    fn tokens_that_share_a_place_are_both_opened() {
        let mut ours = opener();
        // The nonce decides about the place.
        let (one, other) = (sealed("s", 80, 1), sealed("s", 81, 1));
        assert_eq!(place(one.as_bytes()), place(other.as_bytes()));
        for _ in 0..2 {
            for (value, port) in [(&one, 80), (&other, 81)] {
                let opened = ours.open("s", value.as_bytes(), NOW).unwrap();
                assert_eq!(opened.token.endpoint.port(), port);
            }
        }
    }

    #[test]
    fn places_are_used_evenly() {
        let mut used = vec![0; PLACES];
        for nonce in 0..20_000_u32 {
            let mut bytes = [0; 24];
            bytes[..4].copy_from_slice(&nonce.wrapping_mul(0x9e37_79b9).to_le_bytes());
            let value = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
            used[place(value.as_bytes())] += 1;
        }
        let (least, most) = (used.iter().min().unwrap(), used.iter().max().unwrap());
        assert!(*least > 0 && *most < 60, "{least} to {most}");
    }
}

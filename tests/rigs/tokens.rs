//! Session tokens, made and opened as the filter does it: the one place in the tests that knows how.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use waggle_filter::config::PIN_SUFFIX;
use waggle_filter::set_cookie::{SameSite, Scope};
use waggle_filter::token::{KeyRing, Nonce, Token};

/// Makes and opens the tokens of one cookie with one key.
pub struct Tokens {
    ring: KeyRing,
    cipher: XChaCha20Poly1305,
    cookie: String,
    /// The application's own, beside which ours is.
    application: String,
}

impl Tokens {
    /// For the cookie of this name (`NAME_lb`), by a key of 32 bytes in base64.
    pub fn new(key: &str, cookie: &str) -> anyhow::Result<Self> {
        let bytes = base64::engine::general_purpose::STANDARD.decode(key)?;
        let cipher = XChaCha20Poly1305::new_from_slice(&bytes)?;
        let application = cookie.strip_suffix(PIN_SUFFIX).unwrap_or(cookie).to_owned();
        let (ring, cookie) = (KeyRing::new(&[key.to_owned()])?, cookie.to_owned());
        Ok(Self { ring, cipher, cookie, application })
    }

    /// A token that names this endpoint of this service, as Waggle makes it where the application
    /// sets no cookie of its own; issued so long ago.
    pub fn make(
        &self,
        service: &str,
        endpoint: SocketAddr,
        age: Duration,
    ) -> anyhow::Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let token = Token {
            service: service.to_owned(),
            endpoint,
            issued_at: now.saturating_sub(age).as_secs(),
            scope: Scope {
                path: Some("/".into()),
                same_site: Some(SameSite::Lax),
                ..Scope::default()
            },
        };
        token
            .seal(&self.ring, &self.application, nonce())
            .ok_or_else(|| anyhow::anyhow!("no token of {token:?}"))
    }

    /// The endpoint that a token names; none if it is not a token of ours that is valid now.
    pub fn endpoint(&self, value: &str) -> Option<SocketAddr> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        let token = Token::open(&self.ring, &self.application, value.as_bytes())?;
        (now < token.end()).then_some(token.endpoint)
    }

    /// A valid token, written anew with the same key as a later format might be: only the text that
    /// is authenticated with it differs. None if this is not how tokens are made.
    pub fn of_another_format(&self, value: &str) -> Option<String> {
        let data = |format: &str| [format.as_bytes(), b"\0", self.cookie.as_bytes()].concat();
        let (ours, other) = (data("waggle token 1"), data("waggle token 2"));
        let bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<24>()?;
        let nonce = XNonce::from(*nonce);
        let text = self.cipher.decrypt(&nonce, Payload { msg: sealed, aad: &ours }).ok()?;
        let sealed = self.cipher.encrypt(&nonce, Payload { msg: &text, aad: &other }).ok()?;
        Some(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }
}

/// Never twice the same in a process.
fn nonce() -> Nonce {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut nonce = Nonce::default();
    nonce[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    nonce
}

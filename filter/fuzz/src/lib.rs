//! What holds for any bytes that reach the filter. Each function takes them and panics where it does
//! not hold. The fuzz targets search for such bytes (`make fuzz`); `filter/tests/corpora.rs` calls the
//! same functions with those that were found worth keeping.
//!
//! Where a header may have several lines, a newline parts them.

use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use waggle_filter::cache_control::private;
use waggle_filter::opened::{Opener, Refused};
use waggle_filter::set_cookie::{self, Change, MAX_AGE_LIMIT};
use waggle_filter::token::{KeyRing, Token};

/// The application's cookie.
pub const COOKIE: &str = "s";

/// In seconds since 1970.
pub const NOW: u64 = 1_700_000_000;

/// The key that seals, and one that never does.
const KEY: [u8; 32] = [1; 32];
const OTHER_KEY: [u8; 32] = [2; 32];

/// A ring that holds the key that seals.
pub fn ring() -> KeyRing {
    ring_of(&[OTHER_KEY, KEY])
}

fn ring_of(keys: &[[u8; 32]]) -> KeyRing {
    let keys: Vec<_> = keys.iter().map(|key| STANDARD.encode(key)).collect();
    KeyRing::new(&keys).expect("keys of 32 bytes")
}

/// A request's `Cookie` lines: our values are found in order, and what stays for the task is every
/// other pair, in order, byte for byte but for the blanks before it.
pub fn cookie(bytes: &[u8]) {
    let lines = lines(bytes);
    let taken = waggle_filter::cookie::take(&lines, COOKIE);
    let ours: Vec<_> = lines.iter().flat_map(|line| pairs_of(line)).filter_map(our_value).collect();
    let tried = ours.len().min(waggle_filter::cookie::TRIED);
    assert_eq!(taken.values, ours[..tried]);

    assert_eq!(taken.rest.is_none(), ours.is_empty());
    let Some(rest) = taken.rest else { return };
    let rest: Vec<&[u8]> = rest.iter().map(Vec::as_slice).collect();
    assert_eq!(others(&rest), others(&lines));
    assert_eq!(waggle_filter::cookie::take(&rest, COOKIE).rest, None);
}

/// The pairs beside ours that are not blank, from their first byte that is not.
fn others<'a>(lines: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let pairs = lines.iter().flat_map(|line| pairs_of(line)).filter(|it| our_value(it).is_none());
    pairs.map(<[u8]>::trim_ascii_start).filter(|it| !it.is_empty()).collect()
}

fn our_value(pair: &[u8]) -> Option<&[u8]> {
    let (name, value) = named(pair)?;
    let inside = match value {
        [b'"', inside @ .., b'"'] => inside,
        _ => value,
    };
    (name == b"s_lb").then_some(inside)
}

/// A response's `Set-Cookie` lines: only those of the cookie are read or taken out, and what we write
/// in its place holds no control character and means the same.
pub fn set_cookie(bytes: &[u8]) {
    let lines = lines(bytes);
    let sets_it = |line: &&[u8]| {
        let pair = pairs_of(line).next().and_then(named);
        pair.is_some_and(|(name, _)| name == COOKIE.as_bytes())
    };
    let (ours, others): (Vec<&[u8]>, Vec<&[u8]>) = lines.iter().partition(|line| sets_it(line));

    let kept = set_cookie::without(&lines, COOKIE);
    assert_eq!(kept.is_none(), ours.is_empty());
    assert_eq!(kept.unwrap_or_else(|| lines.iter().map(|it| it.to_vec()).collect()), others);

    let read = |lines: &[&[u8]]| Change::read(lines.iter().copied(), COOKIE, NOW);
    let change = read(&lines);
    assert_eq!(change, read(&ours));
    assert_eq!(change.is_none(), ours.is_empty());
    let Some(change) = change else { return };
    let written = set_cookie::write(COOKIE, "v", change.scope()).expect("a short value");
    assert!(!written.contains(|char: char| char.is_control()), "{written:?}");
    assert_eq!(read(&[written.as_bytes()]), Some(change.clone()), "{written:?}");
    let age = change.scope().max_age;
    assert!(age.is_none_or(|age| age <= MAX_AGE_LIMIT), "{written}");
    assert_eq!(matches!(change, Change::Deletes(_)), age == Some(0), "{written}");
}

/// The value of our cookie: as it comes, in the token's form, and as what somebody sealed who has
/// the key.
pub fn token(bytes: &[u8]) {
    opens_alike(bytes);
    opens_alike(URL_SAFE_NO_PAD.encode(bytes).as_bytes());
    opens_alike(seal(bytes).as_bytes());
}

/// A token holds any text, sealed as the filter does.
pub fn seal(text: &[u8]) -> String {
    let nonce = [7; 24];
    let mut text = text.to_vec();
    let cipher = XChaCha20Poly1305::new(&KEY.into());
    let sealed = cipher.encrypt_in_place(&XNonce::from(nonce), b"waggle token 1\0s_lb", &mut text);
    sealed.expect("a short text");
    URL_SAFE_NO_PAD.encode([nonce.as_slice(), &text].concat())
}

/// A value opens with the key that sealed it, unchanged, for its cookie and until its end; whether it
/// is remembered changes nothing; and what it holds can be sealed and opened again.
fn opens_alike(value: &[u8]) {
    let ring = ring();
    assert_eq!(Token::open(&ring_of(&[OTHER_KEY]), COOKIE, value), None);
    assert_eq!(Token::open(&ring, "t", value), None);

    let token = Token::open(&ring, COOKIE, value);
    let mut opener = Opener::new(self::ring());
    let found = [opener.open(COOKIE, value, NOW), opener.open(COOKIE, value, NOW)];
    let expected = token
        .as_ref()
        .ok_or(Refused::Invalid)
        .and_then(|token| if NOW < token.end() { Ok(token) } else { Err(Refused::Over) });
    for opened in &found {
        assert_eq!(opened.as_ref().map(|it| &it.token).map_err(|it| *it), expected);
    }
    assert_eq!(opener.open("t", value, NOW).unwrap_err(), Refused::Invalid);

    let ([Ok(first), Ok(second)], Some(token)) = (found, token) else { return };
    assert!(Rc::ptr_eq(&first, &second));
    assert_eq!(first.pin, STANDARD.encode(token.endpoint.to_string()));
    assert_eq!(opener.open(COOKIE, value, token.end()).unwrap_err(), Refused::Over);
    for at in 0..value.len() {
        let mut spoilt = value.to_vec();
        spoilt[at] ^= 1;
        assert_eq!(Token::open(&ring, COOKIE, &spoilt), None, "byte {at}");
        assert!(opener.open(COOKIE, &spoilt, NOW).is_err(), "byte {at}");
    }
    let again = token.seal(&ring, COOKIE, [8; 24]).expect("a short token");
    assert_eq!(Token::open(&ring, COOKIE, again.as_bytes()), Some(token));
}

/// A map of headers: its names and values stand one behind the other as their lengths say, and
/// reading ends where they do not fit.
pub fn pairs(bytes: &[u8]) {
    let read: Vec<_> = waggle_filter::pairs::pairs(bytes).collect();
    let number = |at: usize| {
        let bytes = bytes.get(at..)?.first_chunk()?;
        usize::try_from(u32::from_le_bytes(*bytes)).ok()
    };
    let told = number(0).unwrap_or_default();
    assert!(read.len() <= told);
    let mut text = told.saturating_mul(8).saturating_add(4);
    let mut next = |length: usize| {
        let found = bytes.get(text..text.checked_add(length)?)?;
        text += length + 1;
        (text <= bytes.len()).then_some(found)
    };
    for place in 0..told {
        let lengths = number(4 + 8 * place).zip(number(8 + 8 * place));
        let pair = lengths.and_then(|(name, value)| next(name).zip(next(value)));
        assert_eq!(read.get(place).copied(), pair);
        if pair.is_none() {
            break;
        }
    }
    let cookies: Vec<_> = waggle_filter::pairs::values(bytes, "cookie").collect();
    let ours = read.iter().filter(|(name, _)| *name == b"cookie").map(|(_, value)| *value);
    assert_eq!(cookies, ours.collect::<Vec<_>>());
}

/// A response's `Cache-Control` lines: what takes their place begins with `private`, and keeps
/// shared caches away; so do lines that stay, also where a cache joins them.
pub fn cache_control(bytes: &[u8]) {
    let lines = lines(bytes);
    let Some(value) = private(&lines) else {
        assert_eq!(private(&[&lines.join(b", ".as_slice())]), None);
        return;
    };
    assert!(value == b"private" || value.starts_with(b"private, "));
    assert_eq!(private(&[&value]), None);
}

fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split(|&byte| byte == b'\n').collect()
}

fn pairs_of(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b';')
}

/// `name=value`, both trimmed.
fn named(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = pair.iter().position(|&byte| byte == b'=')?;
    Some((pair[..at].trim_ascii(), pair[at + 1..].trim_ascii()))
}

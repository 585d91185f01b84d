//! Host and cookie names that cannot be wrong once parsed.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::text::text;

/// A TCP port, 1 to 65535.
pub type Port = std::num::NonZeroU16;

/// A host name in A-label form, lower case, or such a name behind `*.`.
///
/// Its characters are `a-z`, `0-9`, `-`, `_` and `.` behind the wildcard; it has at most 253 of
/// them, and 63 between two dots.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern(Arc<str>);

/// Why a text is no [`HostPattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHost {
    /// `*` alone.
    #[error("`*` alone is no host; the service for all other hosts is `default_backend=true`")]
    BareWildcard,
    /// `http://a.example`.
    #[error("a host name was expected, without a scheme such as `http://`")]
    Scheme,
    /// `a.example/app`.
    #[error("a host name was expected, without a path")]
    Path,
    /// `a.example:80`.
    #[error("a host name was expected, without a port; requests for any port match")]
    Port,
    /// `a.*.example`, `*a.example`.
    #[error("`*` may only be the whole first part, as in `*.example.org`")]
    Wildcard,
    /// `a..example`.
    #[error("a part between two dots is empty")]
    EmptyPart,
    /// More than 63 characters between two dots, or more than 253 in all.
    #[error("a host name has at most 253 characters, and 63 between two dots")]
    TooLong,
    /// Blanks, control characters, other signs, or letters that IDNA does not allow.
    #[error("a host name has letters, digits, `-`, `_` and dots only")]
    Character,
}

impl HostPattern {
    /// Takes a name as a user wrote it: blanks around it and one dot at its end are dropped, letters
    /// are lowered and mapped by IDNA (UTS 46).
    pub fn parse(written: &str) -> Result<Self, BadHost> {
        let written = written.trim();
        if written == "*" {
            return Err(BadHost::BareWildcard);
        }
        if written.contains("://") {
            return Err(BadHost::Scheme);
        }
        if written.contains(['/', '?', '#']) {
            return Err(BadHost::Path);
        }
        if written.contains(':') {
            return Err(BadHost::Port);
        }
        let (wildcard, name) = match written.strip_prefix("*.") {
            Some(suffix) => ("*.", suffix),
            None => ("", written),
        };
        let name = idna::domain_to_ascii(name).map_err(|_| BadHost::Character)?;
        let name = name.strip_suffix('.').unwrap_or(&name);
        if name.contains('*') {
            return Err(BadHost::Wildcard);
        }
        let allowed = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
        if !name.bytes().all(allowed) {
            return Err(BadHost::Character);
        }
        if name.split('.').any(str::is_empty) {
            return Err(BadHost::EmptyPart);
        }
        if wildcard.len() + name.len() > 253 || name.split('.').any(|part| part.len() > 63) {
            return Err(BadHost::TooLong);
        }
        Ok(Self(format!("{wildcard}{name}").into()))
    }

    /// The name that was probably meant by one that has a scheme, a path or a port.
    pub(super) fn guess(written: &str) -> Option<Self> {
        let bare = written.split_once("://").map_or(written, |(_scheme, rest)| rest);
        let bare = bare.split([':', '/', '?', '#']).next()?;
        Self::parse(bare).ok()
    }

    /// Whether it stands for all hosts under a suffix.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with('*')
    }

    /// Whether it is a wildcard that stands for this host too.
    pub fn covers(&self, host: &Self) -> bool {
        let below = self.0.strip_prefix('*');
        below.is_some_and(|suffix| *self != *host && host.0.ends_with(suffix))
    }

    /// As Envoy's `domains` take it: `a.example` or `*.example`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

text!(HostPattern, BadHost);

/// A cookie name: an RFC 6265 token of at most 64 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct CookieName(Arc<str>);

impl CookieName {
    /// Takes a token (RFC 9110, 5.6.2) of 1 to 64 characters; nothing else is one.
    pub fn parse(written: &str) -> Option<Self> {
        let token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
        let fits = (1..=64).contains(&written.len()) && written.bytes().all(token);
        fits.then(|| Self(written.into()))
    }

    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn host_names_take_one_form() {
        let long = format!("{}.example", "a".repeat(63));
        for (written, expected) in [
            ("a.example", "a.example"),
            ("  A.Example. ", "a.example"),
            ("localhost", "localhost"),
            ("my_app.example", "my_app.example"),
            ("10.0.0.1", "10.0.0.1"),
            ("*.example", "*.example"),
            ("*.Bücher.example.", "*.xn--bcher-kva.example"),
            ("bücher。example", "xn--bcher-kva.example"),
            (&long, &long),
        ] {
            let parsed = HostPattern::parse(written).map(String::from);
            assert_eq!(parsed.as_deref(), Ok(expected), "{written}");
        }
    }

    #[test]
    fn what_is_no_host_name_is_refused_with_its_reason() {
        for (written, expected) in [
            ("", BadHost::EmptyPart),
            (".", BadHost::EmptyPart),
            ("*.", BadHost::EmptyPart),
            ("a..example", BadHost::EmptyPart),
            ("a.example..", BadHost::EmptyPart),
            ("*", BadHost::BareWildcard),
            ("*.*.example", BadHost::Wildcard),
            ("a.*", BadHost::Wildcard),
            ("＊.example", BadHost::Wildcard),
            ("http://a.example", BadHost::Scheme),
            ("a.example/app", BadHost::Path),
            ("a.example:80", BadHost::Port),
            ("[::1]", BadHost::Port),
            ("a example", BadHost::Character),
            ("a.example%REQ(x)%", BadHost::Character),
            ("a％example", BadHost::Character),
            ("a\n.example", BadHost::Character),
            ("xn--a\u{fffd}.example", BadHost::Character),
            (&format!("{}.example", "a".repeat(64)), BadHost::TooLong),
            (&format!("{}a", "a.".repeat(127)), BadHost::TooLong),
            (&format!("*.{}a", "a.".repeat(126)), BadHost::TooLong),
        ] {
            assert_eq!(HostPattern::parse(written), Err(expected), "{written:?}");
        }
        for longest in [format!("{}a", "a.".repeat(126)), format!("*.{}a", "a.".repeat(125))] {
            assert!(HostPattern::parse(&longest).is_ok(), "{longest}");
        }
    }

    #[test]
    fn a_guess_drops_scheme_port_and_path() {
        for written in ["http://a.example:80/x?y", "a.example:80", "a.example/", "a.example#x"] {
            let guess = HostPattern::guess(written);
            assert_eq!(guess.as_ref().map(HostPattern::as_str), Some("a.example"), "{written}");
        }
        assert_eq!(HostPattern::guess("[::1]:80"), None);
    }

    #[test]
    fn a_cookie_name_is_a_short_token() {
        for good in ["session", "__Host-id", "a%b", &"a".repeat(64)] {
            assert_eq!(CookieName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a=b", "a;b", "a\"b", "é", "a\n", &"a".repeat(65)] {
            assert_eq!(CookieName::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_parsed_is_safe_and_parses_to_itself(written in r"[*.a-zA-Z0-9_:/%\PC\n-]{0,80}") {
            if let Ok(host) = HostPattern::parse(&written) {
                let name = host.as_str().strip_prefix("*.").unwrap_or(host.as_str());
                prop_assert!(!name.is_empty() && name.len() <= 253);
                prop_assert!(name.bytes().all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.')));
                prop_assert_eq!(HostPattern::parse(host.as_str()), Ok(host.clone()));
            }
        }

        #[test]
        fn whatever_is_a_cookie_name_stays_one(written in r"\PC{0,80}") {
            if let Some(cookie) = CookieName::parse(&written) {
                prop_assert_eq!(cookie.as_str(), written);
            }
        }
    }
}

//! `Set-Cookie` lines: the application's is read as browsers read it (RFC 6265bis, 5.6), ours is
//! written to live exactly where and as long as the application's.

use crate::date;

/// The longest life that browsers give a cookie, in seconds: 400 days (RFC 6265bis, 5.5).
pub const MAX_AGE_LIMIT: u32 = 400 * 24 * 60 * 60;

/// Attributes longer than this are ignored by browsers (RFC 6265bis, 5.6), in bytes.
const ATTRIBUTE_LIMIT: usize = 1024;

/// Browsers refuse a cookie whose name and value are longer (RFC 6265bis, 5.6), in bytes.
const COOKIE_LIMIT: usize = 4096;

/// Where a cookie is sent, and how long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// `None`: the directory of the request's path, found by the browser.
    pub path: Option<String>,
    /// `None`: the request's host alone. In lower case, without a leading dot.
    pub domain: Option<String>,
    /// Over TLS only.
    pub secure: bool,
    /// `None`: the browser's default.
    pub same_site: Option<SameSite>,
    /// In seconds, at most [`MAX_AGE_LIMIT`]. `None`: the browser's session.
    pub max_age: Option<u32>,
}

impl Scope {
    /// Whether a cookie of either scope replaces the other's.
    pub fn is_same_place(&self, other: &Self) -> bool {
        (&self.path, &self.domain) == (&other.path, &other.domain)
    }
}

/// Which requests from other sites carry the cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// None of them.
    Strict,
    /// Top-level navigation.
    Lax,
    /// All.
    None,
}

impl SameSite {
    const ALL: [(Self, &str); 3] =
        [(Self::Strict, "Strict"), (Self::Lax, "Lax"), (Self::None, "None")];

    fn parse(text: &[u8]) -> Option<Self> {
        let found =
            Self::ALL.iter().find(|(_, name)| text.eq_ignore_ascii_case(name.as_bytes()))?;
        Some(found.0)
    }

    fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(value, _)| *value == self).map_or("", |(_, name)| name)
    }
}

/// What a response does with a cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It sets the cookie.
    Sets(Scope),
    /// It ends the cookie's life; `max_age` is 0.
    Deletes(Scope),
}

impl Change {
    /// Where the cookie is changed.
    pub fn scope(&self) -> &Scope {
        let (Self::Sets(scope) | Self::Deletes(scope)) = self;
        scope
    }

    /// What a response's `Set-Cookie` lines say of the cookie of this name (case counts). The last
    /// line that sets it counts; without one, the last that deletes it: applications delete a cookie
    /// at an old place and set it at a new one. `now` is in seconds since 1970.
    pub fn read<'a>(lines: impl Iterator<Item = &'a [u8]>, name: &str, now: u64) -> Option<Self> {
        lines.filter_map(|line| Self::parse(line, name, now)).reduce(|earlier, later| {
            match (&earlier, &later) {
                (Self::Sets(_), Self::Deletes(_)) => earlier,
                _ => later,
            }
        })
    }

    fn parse(line: &[u8], name: &str, now: u64) -> Option<Self> {
        let mut parts = line.split(|&byte| byte == b';');
        let (key, _) = halves(parts.next()?)?;
        if key != name.as_bytes() {
            return None;
        }
        let mut scope = Scope::default();
        let (mut max_age, mut expires) = (None, None);
        for part in parts {
            let (key, value) = halves(part).unwrap_or((part.trim_ascii(), b""));
            if value.len() > ATTRIBUTE_LIMIT {
                continue;
            }
            match key.to_ascii_lowercase().as_slice() {
                b"path" => scope.path = text(value).filter(|path| path.starts_with('/')),
                b"domain" => {
                    let domain = value.strip_prefix(b".").unwrap_or(value);
                    // One that begins so is no host: written by us, browsers would read another.
                    let is_host = !domain.is_empty()
                        && !domain.starts_with(b".")
                        && !domain.starts_with(b" ");
                    scope.domain = text(domain).filter(|_| is_host);
                }
                b"secure" => scope.secure = true,
                b"samesite" => scope.same_site = SameSite::parse(value),
                b"max-age" => max_age = seconds(value).or(max_age),
                b"expires" => expires = date::parse(value).or(expires),
                _ => {}
            }
        }
        scope.domain = scope.domain.map(|domain| domain.to_ascii_lowercase());
        let age = max_age.or_else(|| Some(expires?.saturating_sub(now)));
        scope.max_age = age.map(|age| u32::try_from(age).unwrap_or(u32::MAX).min(MAX_AGE_LIMIT));
        Some(if age == Some(0) { Self::Deletes(scope) } else { Self::Sets(scope) })
    }
}

/// `name=value`, both trimmed.
fn halves(part: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut halves = part.splitn(2, |&byte| byte == b'=');
    Some((halves.next()?.trim_ascii(), halves.next()?.trim_ascii()))
}

/// The value as text, if it is some: Envoy does not check what a filter writes into a response.
fn text(value: &[u8]) -> Option<String> {
    let text = str::from_utf8(value).ok()?;
    (!text.contains(|char: char| char.is_control())).then(|| text.to_owned())
}

/// A `Max-Age`: 0 for all that is below, `None` if it is no number.
fn seconds(value: &[u8]) -> Option<u64> {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let is_positive = digits.len() == value.len();
    is_number.then(|| if is_positive { number(digits) } else { 0 })
}

/// The number that the digits write, or the largest one.
fn number(digits: &[u8]) -> u64 {
    str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(u64::MAX)
}

/// The lines that set another cookie than the one of this name; `None` if all do.
pub fn without(lines: &[&[u8]], name: &str) -> Option<Vec<Vec<u8>>> {
    let sets_it = |line: &[u8]| {
        let pair = line.split(|&byte| byte == b';').next().unwrap_or_default();
        halves(pair).is_some_and(|(key, _)| key == name.as_bytes())
    };
    let kept: Vec<_> = lines.iter().filter(|line| !sets_it(line)).map(|it| it.to_vec()).collect();
    (kept.len() < lines.len()).then_some(kept)
}

/// Our `Set-Cookie` line, or `None` if browsers would refuse its length. It is always `HttpOnly`: no
/// script has a use for it.
pub fn write(name: &str, value: &str, scope: &Scope) -> Option<String> {
    if name.len().saturating_add(value.len()) > COOKIE_LIMIT {
        return None;
    }
    let mut line = format!("{name}={value}");
    let mut attribute = |text: &[&str]| text.iter().for_each(|part| line.push_str(part));
    if let Some(path) = &scope.path {
        attribute(&["; Path=", path]);
    }
    if let Some(domain) = &scope.domain {
        attribute(&["; Domain=", domain]);
    }
    if let Some(max_age) = scope.max_age {
        attribute(&["; Max-Age=", &max_age.to_string()]);
    }
    if scope.secure {
        attribute(&["; Secure"]);
    }
    attribute(&["; HttpOnly"]);
    if let Some(same_site) = scope.same_site {
        attribute(&["; SameSite=", same_site.as_str()]);
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT
    const NOW: u64 = 784_111_777;

    fn read(lines: &[&str]) -> Option<Change> {
        Change::read(lines.iter().map(|line| line.as_bytes()), "s", NOW)
    }

    /// The scope that the lines set.
    fn set(lines: &[&str]) -> Option<Scope> {
        match read(lines)? {
            Change::Sets(scope) => Some(scope),
            Change::Deletes(_) => None,
        }
    }

    fn with_life(max_age: u32) -> Scope {
        Scope { max_age: Some(max_age), ..Scope::default() }
    }

    #[test]
    fn only_the_named_cookie_is_read() {
        for lines in [&[][..], &["", "s", "S=1; Path=/", "ss=1", "a=s; s=1", "s_lb=1", ";s=1"]] {
            assert_eq!(read(lines), None, "{lines:?}");
        }
        assert_eq!(set(&["a=1", "s=1", "b=2"]), Some(Scope::default()));
    }

    #[test]
    fn path_domain_and_flags_are_read_as_browsers_do() {
        let scope = Scope::default;
        let path = |path: &str| Scope { path: Some(path.into()), ..scope() };
        let domain = |domain: &str| Scope { domain: Some(domain.into()), ..scope() };
        let same_site = |same_site| Scope { same_site: Some(same_site), ..scope() };
        let long = format!("s=1; Path=/{}", "x".repeat(1024));
        let cases = [
            (" s = 1 ;PATH = /app ", path("/app")),
            ("s=1; Path=/a; Path=/b", path("/b")),
            ("s=1; Path=app", scope()),
            ("s=1; Path=/a; Path=", scope()),
            ("s=1; Path=/a\u{1}b", scope()),
            (long.as_str(), scope()),
            ("s=1; domain=.Example.COM", domain("example.com")),
            ("s=1; Domain=", scope()),
            ("s=1; Domain=..example.com", scope()),
            ("s=1; Domain=. example.com", scope()),
            ("s=1; secure; HttpOnly; Partitioned", Scope { secure: true, ..scope() }),
            ("s=1; Secure=x", Scope { secure: true, ..scope() }),
            ("s=1; SameSite=strict", same_site(SameSite::Strict)),
            ("s=1; SameSite=LAX", same_site(SameSite::Lax)),
            ("s=1; SameSite=None", same_site(SameSite::None)),
            ("s=1; SameSite=Foo", scope()),
            ("s=\"a=b\"; =; ;;x", scope()),
        ];
        for (line, expected) in cases {
            assert_eq!(set(&[line]), Some(expected), "{line}");
        }
        let expected = Change::Sets(scope());
        let no_text = [b"s=\xff; Path=/\xff".as_slice()];
        assert_eq!(Change::read(no_text.into_iter(), "s", NOW), Some(expected));
    }

    #[test]
    fn the_end_is_max_age_before_expires_within_400_days() {
        let cases = [
            ("s=1; Max-Age=60", with_life(60)),
            ("s=1; Max-Age=060; Max-Age=x", with_life(60)),
            ("s=1; Max-Age=60; Expires=Sun, 06 Nov 1994 08:49:39 GMT", with_life(60)),
            ("s=1; Expires=Sun, 06 Nov 1994 08:49:39 GMT", with_life(2)),
            ("s=1; Expires=Sun, 06-Nov-1994 08:49:39 GMT; Max-Age=1h", with_life(2)),
            ("s=1; Expires=never", Scope::default()),
            ("s=1; Max-Age=34560001", with_life(34_560_000)),
            ("s=1; Max-Age=99999999999999999999999", with_life(34_560_000)),
            ("s=1; Expires=Fri, 31 Dec 9999 23:59:59 GMT", with_life(34_560_000)),
        ];
        for (line, expected) in cases {
            assert_eq!(set(&[line]), Some(expected), "{line}");
        }
    }

    #[test]
    fn an_end_that_is_over_deletes() {
        for end in [
            "Max-Age=0",
            "Max-Age=-1",
            "Max-Age=-99999999999999999999999",
            "Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "Expires=Thu, 01-Jan-1970 00:00:01 GMT",
            "Expires=Sun, 06 Nov 1994 08:49:37 GMT",
            "Expires=Fri, 31 Dec 9999 23:59:59 GMT; Max-Age=0",
        ] {
            let line = format!("s=; Path=/; {end}");
            let expected = Scope { path: Some("/".into()), max_age: Some(0), ..Scope::default() };
            assert_eq!(read(&[&line]), Some(Change::Deletes(expected)), "{line}");
        }
    }

    #[test]
    fn of_several_lines_the_last_that_sets_counts() {
        let (old, new) = ("s=; Max-Age=0; Path=/old", "s=1; Max-Age=5");
        for lines in [&[old, new][..], &[new, old], &["s=1", "x=1", new, old, old]] {
            assert_eq!(set(lines), Some(with_life(5)), "{lines:?}");
        }
        assert!(matches!(read(&[old, old]), Some(Change::Deletes(_))));
    }

    #[test]
    fn lines_that_set_the_named_cookie_are_taken_out() {
        let kept = |lines: &[&str]| -> Option<Vec<String>> {
            let bytes: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
            let kept = without(&bytes, "s_lb")?;
            Some(kept.into_iter().map(|line| String::from_utf8(line).unwrap()).collect())
        };
        for lines in [&[][..], &["s=1", "S_LB=1; Path=/", "s_lb", "a=s_lb=1", "x_lb=1"]] {
            assert_eq!(kept(lines), None, "{lines:?}");
        }
        let lines = ["a=1", " s_lb = x; Path=/", "s=1; s_lb=2", "s_lb="];
        assert_eq!(kept(&lines), Some(vec!["a=1".to_owned(), "s=1; s_lb=2".to_owned()]));
    }

    #[test]
    fn ours_is_written_with_every_attribute_that_it_has() {
        let full = Scope {
            path: Some("/app".into()),
            domain: Some("example.com".into()),
            secure: true,
            same_site: Some(SameSite::None),
            max_age: Some(60),
        };
        let line = "s_lb=v; Path=/app; Domain=example.com; Max-Age=60; Secure; HttpOnly; \
                    SameSite=None";
        assert_eq!(write("s_lb", "v", &full).as_deref(), Some(line));
        let bare = write("s_lb", "v", &Scope::default());
        assert_eq!(bare.as_deref(), Some("s_lb=v; HttpOnly"));
    }

    #[test]
    fn a_cookie_that_browsers_refuse_is_not_written() {
        assert!(write("s_lb", &"v".repeat(4092), &Scope::default()).is_some());
        assert_eq!(write("s_lb", &"v".repeat(4093), &Scope::default()), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            path in prop::option::of("/[ -:<-~é]{0,20}[!-:<-~]"), domain in prop::option::of("[a-z0-9-]{1,20}"),
            secure: bool, life in prop::option::of(1..=MAX_AGE_LIMIT), site in 0..4_usize,
        ) {
            let same_site = SameSite::ALL.get(site).map(|(value, _)| *value);
            let scope = Scope { path, domain, secure, same_site, max_age: life };
            let line = write("s", "v", &scope).unwrap();
            prop_assert_eq!(set(&[&line]), Some(scope));
        }

        #[test]
        fn no_bytes_make_it_panic_or_write_controls(
            name in "(s=)?", attribute in "(Path=/|Domain=|Expires=|Max-Age=|SameSite=)?", tail: Vec<u8>,
        ) {
            let line = [name.as_bytes(), b"; ", attribute.as_bytes(), &tail].concat();
            if let Some(Change::Sets(scope) | Change::Deletes(scope)) =
                Change::read([line.as_slice()].into_iter(), "s", NOW)
            {
                let written = write("s", "v", &scope).unwrap();
                prop_assert!(!written.contains(|char: char| char.is_control()), "{written:?}");
            }
        }
    }
}

//! Path prefixes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::text::text;

/// The beginning of a request's path, whole segments of it: `/`, or `/app`, which stands for `/app`
/// and everything below `/app/`.
///
/// It begins with `/`, ends with none (unless it is the root), and has no empty segment, no `.` or
/// `..`, and only characters that a path has in a request (RFC 3986, 3.3). At most 1,024 of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathPrefix(Arc<str>);

/// Why a text is no [`PathPrefix`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// `app`.
    #[error("a path begins with `/`")]
    NoSlash,
    /// `/app//x`.
    #[error("a part between two slashes is empty")]
    EmptySegment,
    /// `/app/../x`: it is resolved before routes are compared, so it would never match.
    #[error("`.` and `..` are no parts of a path prefix")]
    DotSegment,
    /// `/app?x`.
    #[error("a path prefix has no `?` and no `#`")]
    Query,
    /// Blanks, control characters, letters beyond ASCII, `%` without two hex digits.
    #[error(
        "a path has letters, digits and -._~!$&'()*+,;=:@ only; all else is written as in a URL, \
         such as `%C3%A9`"
    )]
    Character,
    /// More than 1,024 characters.
    #[error("a path prefix has at most 1024 characters")]
    TooLong,
}

impl PathPrefix {
    /// All paths: `/`.
    pub fn root() -> Self {
        Self("/".into())
    }

    /// Takes a path as a user wrote it; slashes at its end are dropped.
    pub fn parse(written: &str) -> Result<Self, BadPath> {
        if !written.starts_with('/') {
            return Err(BadPath::NoSlash);
        }
        if written.contains(['?', '#']) {
            return Err(BadPath::Query);
        }
        let trimmed = written.trim_end_matches('/');
        if trimmed.is_empty() {
            return Ok(Self::root());
        }
        if trimmed.len() > 1024 {
            return Err(BadPath::TooLong);
        }
        for segment in trimmed.split('/').skip(1) {
            match segment {
                "" => return Err(BadPath::EmptySegment),
                "." | ".." => return Err(BadPath::DotSegment),
                _ if !is_plain(segment) => return Err(BadPath::Character),
                _ => {}
            }
        }
        Ok(Self(trimmed.into()))
    }

    /// The prefix, as Envoy's `path_separated_prefix` takes it (but for the root).
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for all paths.
    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    /// Whether everything that the other one stands for is below this one.
    pub fn covers(&self, other: &Self) -> bool {
        let rest = other.0.strip_prefix(&*self.0);
        self.is_root() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

text!(PathPrefix, BadPath);

/// Whether a segment has characters of a path only, and each `%` is followed by two hex digits.
fn is_plain(segment: &str) -> bool {
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let fine = match byte {
            b'%' => [bytes.next(), bytes.next()]
                .iter()
                .all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit())),
            other => other.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&other),
        };
        if !fine {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_is_whole_segments_without_a_slash_at_its_end() {
        for (written, expected) in [
            ("/", "/"),
            ("///", "/"),
            ("/app", "/app"),
            ("/app/", "/app"),
            ("/a/b.c/~d", "/a/b.c/~d"),
            ("/caf%C3%A9", "/caf%C3%A9"),
            ("/...", "/..."),
        ] {
            assert_eq!(PathPrefix::parse(written).unwrap().as_str(), expected);
        }
        for (written, expected) in [
            ("", BadPath::NoSlash),
            ("app", BadPath::NoSlash),
            ("http://a.example/app", BadPath::NoSlash),
            ("/app?x", BadPath::Query),
            ("/app#x", BadPath::Query),
            ("/a//b", BadPath::EmptySegment),
            ("//a", BadPath::EmptySegment),
            ("/a/../b", BadPath::DotSegment),
            ("/.", BadPath::DotSegment),
            ("/a b", BadPath::Character),
            ("/é", BadPath::Character),
            ("/a%2", BadPath::Character),
            ("/a%zz", BadPath::Character),
            ("/a\r\n", BadPath::Character),
            ("/a\\b", BadPath::Character),
            (&format!("/{}", "a".repeat(1024)), BadPath::TooLong),
        ] {
            assert_eq!(PathPrefix::parse(written), Err(expected), "{written:?}");
        }
    }

    #[test]
    fn a_prefix_covers_whole_segments() {
        for (prefix, path, covers) in [
            ("/", "/x", true),
            ("/app", "/app", true),
            ("/app", "/app/x", true),
            ("/app", "/apple", false),
            ("/app/x", "/app", false),
        ] {
            let [prefix, path] = [prefix, path].map(|it| PathPrefix::parse(it).unwrap());
            assert_eq!(prefix.covers(&path), covers, "{prefix} {path}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_parsed_parses_to_itself_and_has_the_shape_that_envoy_asks_for(
            written in r"[/a-z%0-9.\PC]{0,40}",
        ) {
            if let Ok(path) = PathPrefix::parse(&written) {
                prop_assert_eq!(PathPrefix::parse(path.as_str()), Ok(path.clone()));
                prop_assert!(path.is_root() || !path.as_str().ends_with('/'));
                prop_assert!(path.as_str().bytes().all(|c| c.is_ascii_graphic() && c != b'?' && c != b'#'));
            }
        }
    }
}

//! `Cache-Control` of a response that sets our cookie: no shared cache may keep it, or it would give
//! one client's session to others (RFC 9111, 5.2.2).

const SEPARATOR: &[u8] = b", ";

/// The value in place of the response's own lines; `None` if these keep shared caches away already.
pub fn private(lines: &[&[u8]]) -> Option<Vec<u8>> {
    // A quote that its line leaves open may be closed by a later one: caches may read the lines one
    // by one, or joined.
    let joined = lines.join(SEPARATOR);
    let single = || lines.iter().copied().flat_map(directives);
    let keeps_away = |it: &[u8]| is(it, b"private") || is(it, b"no-store");
    let invites = |it: &[u8]| is(it, b"public") || is(name(it), b"s-maxage");
    let is_kept_away = single().any(keeps_away) && directives(&joined).any(keeps_away);
    if is_kept_away && !single().chain(directives(&joined)).any(invites) {
        return None;
    }
    let stays = |it: &&[u8]| !it.is_empty() && !invites(it) && !is(it, b"private");
    let others = single().filter(stays).collect::<Vec<_>>().join(SEPARATOR);
    // First, where no quote that is never closed can swallow it.
    let value = std::iter::once(b"private".as_slice()).chain(directives(&others).filter(stays));
    Some(value.collect::<Vec<_>>().join(SEPARATOR))
}

/// The parts between commas, a comma in quotes aside, trimmed.
fn directives(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    let parts = line.split(move |&byte| {
        is_quoted ^= byte == b'"';
        byte == b',' && !is_quoted
    });
    parts.map(<[u8]>::trim_ascii)
}

fn name(directive: &[u8]) -> &[u8] {
    directive.split(|&byte| byte == b'=').next().unwrap_or_default().trim_ascii()
}

/// `private="…"` is not `private`: it speaks of single headers.
fn is(directive: &[u8], name: &[u8]) -> bool {
    directive.eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_caches_are_kept_away_and_all_else_stays() {
        let cases: [(&[&str], Option<&str>); 16] = [
            (&[], Some("private")),
            (&[""], Some("private")),
            (&["private"], None),
            (&["max-age=60, Private"], None),
            (&["no-store"], None),
            (&["no-cache"], Some("private, no-cache")),
            (&["public"], Some("private")),
            (&["public, max-age=60"], Some("private, max-age=60")),
            (&["max-age=60,s-maxage=600 , Public"], Some("private, max-age=60")),
            (&["S-MaxAge = 1, private"], Some("private")),
            (&["public", "no-store"], Some("private, no-store")),
            (&["max-age=1", "immutable"], Some("private, max-age=1, immutable")),
            (&["x=\"", "\",public,\"", "private"], Some("private, x=\", \", \"")),
            (&["x=\"", "private"], Some("private, x=\"")),
            (&["private=\"a, public\""], Some("private, private=\"a, public\"")),
            (
                &["no-cache=\"set-cookie\", x=\"a,b"],
                Some("private, no-cache=\"set-cookie\", x=\"a,b"),
            ),
        ];
        for (lines, expected) in cases {
            let value = private(&lines.iter().map(|line| line.as_bytes()).collect::<Vec<_>>());
            let value = value.map(|value| String::from_utf8(value).unwrap());
            assert_eq!(value.as_deref(), expected, "{lines:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_made_private_needs_no_more(lines in proptest::collection::vec("[a-z\"=, -]{0,30}|public|private", 0..4)) {
            let made = private(&lines.iter().map(String::as_bytes).collect::<Vec<_>>());
            let once_more = made.and_then(|made| private(&[&made]));
            proptest::prop_assert_eq!(once_more, None);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _value = private(&[&bytes]);
        }
    }
}

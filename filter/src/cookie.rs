//! The request's `Cookie` lines: our tokens are taken out, every other byte stays.
//!
//! Bytes, not text: a client may send anything. HTTP/1.1 clients may send several lines (Envoy keeps
//! them apart); HTTP/2 crumbs come joined by `; `. As in RFC 6265bis a semicolon always ends a pair,
//! within quotes too.

use crate::config::PIN_SUFFIX;

/// How many of a request's tokens are tried: a bound for the work that a client can cause.
pub const TRIED: usize = 4;

/// What [`take`] found.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken<'a> {
    /// The values of our cookie, without surrounding quotes, in order; at most [`TRIED`].
    pub values: Vec<&'a [u8]>,
    /// The lines that stay for the task. `None`: they stay as they are.
    pub rest: Option<Vec<Vec<u8>>>,
}

/// Takes all pairs of our cookie beside the application's of this name (case counts) out of the
/// lines.
pub fn take<'a>(lines: &[&'a [u8]], application: &str) -> Taken<'a> {
    let pieces = lines.iter().flat_map(|line| pieces(line));
    let ours = pieces.filter_map(|piece| value(piece, application));
    let values: Vec<_> = ours.take(TRIED).collect();
    let rest = (!values.is_empty())
        .then(|| lines.iter().filter_map(|line| without(line, application)).collect());
    Taken { values, rest }
}

/// The line without our pairs, or `None` if nothing stays.
fn without(line: &[u8], application: &str) -> Option<Vec<u8>> {
    let mut kept = Vec::with_capacity(line.len());
    let mut is_first = true;
    for (number, piece) in pieces(line).enumerate() {
        if value(piece, application).is_some() {
            continue;
        }
        if !is_first {
            kept.push(b';');
        }
        // What has come to stand first needs no blank before it.
        kept.extend_from_slice(if is_first && number > 0 {
            piece.trim_ascii_start()
        } else {
            piece
        });
        is_first = false;
    }
    kept.iter().any(|byte| !b"; \t".contains(byte)).then_some(kept)
}

fn pieces(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b';')
}

/// The value of the pair if it is ours.
fn value<'a>(pair: &'a [u8], application: &str) -> Option<&'a [u8]> {
    let mut halves = pair.splitn(2, |&byte| byte == b'=');
    let (left, right) = (halves.next()?, halves.next()?.trim_ascii());
    let name = left.trim_ascii().strip_suffix(PIN_SUFFIX.as_bytes())?;
    let unquoted = right.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    (name == application.as_bytes()).then_some(unquoted.unwrap_or(right))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values<'a>(lines: &[&'a str]) -> Vec<&'a [u8]> {
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        take(&lines, "s").values
    }

    fn rest(lines: &[&str]) -> Option<Vec<String>> {
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        let rest = take(&lines, "s").rest?;
        Some(rest.into_iter().map(|line| String::from_utf8(line).unwrap()).collect())
    }

    #[test]
    fn our_values_are_found() {
        let cases: [(&[&str], &[&str]); 15] = [
            (&[], &[]),
            (&["s=1; a=2"], &[]),
            (&["s_lb=x"], &["x"]),
            (&["a=1; s_lb=x; b=2"], &["x"]),
            (&["a=1;s_lb=x;b=2"], &["x"]),
            (&["a=1", "s_lb=x"], &["x"]),
            (&["s_lb=x; s_lb=y", "s_lb=z"], &["x", "y", "z"]),
            (&["s_lb=1;s_lb=2;s_lb=3;s_lb=4;s_lb=5"], &["1", "2", "3", "4"]),
            (&[r#"s_lb="x""#], &["x"]),
            (&["\t s_lb = x \t"], &["x"]),
            (&["s_lb=; s_lb==x"], &["", "=x"]),
            (&["S_LB=x; xs_lb=x; s_lbx=x; s_l=x"], &[]),
            (&["s_lb; ;;=; =s_lb"], &[]),
            // HTTP/2 crumbs that split a pair of ours, as Envoy joins them.
            (&["a=1; s_; lb=x"], &[]),
            (&["a=1; s_lb=x; y"], &["x"]),
        ];
        for (lines, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|value| value.as_bytes()).collect();
            assert_eq!(values(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn lines_without_our_cookie_are_left_alone() {
        for line in ["", ";", "a=1;; b", " a = 1 ;", "s_lb", "s_lbx=1"] {
            assert_eq!(rest(&["s=1", line]), None, "{line}");
        }
    }

    #[test]
    fn our_pairs_are_taken_out_and_nothing_else() {
        let cases: [(&[&str], &[&str]); 11] = [
            (&["s_lb=x"], &[]),
            (&["s_lb=x;"], &[]),
            (&["s_lb=x; a=1"], &["a=1"]),
            (&["a=1; s_lb=x"], &["a=1"]),
            (&["a=1; s_lb=x; b=2"], &["a=1; b=2"]),
            (&["a=1;b=2 ;s_lb=x;;c; d=\"e\""], &["a=1;b=2 ;;c; d=\"e\""]),
            (&["s_lb=1; s_lb=2; s_lb=3; s_lb=4; s_lb=5; s_lb=6; a=1"], &["a=1"]),
            (&["a=1; s_lb=x", "b=2"], &["a=1", "b=2"]),
            (&["b=2", "s_lb=x", " c"], &["b=2", " c"]),
            (&["s=1; s_lb=\"x\"; S_LB=y"], &["s=1; S_LB=y"]),
            (&["a=1; s_lb=x; y"], &["a=1; y"]),
        ];
        for (lines, expected) in cases {
            let expected = expected.iter().map(ToString::to_string).collect();
            assert_eq!(rest(lines), Some(expected), "{lines:?}");
        }
    }

    #[test]
    fn ours_is_found_among_a_thousand_pairs_which_stay_in_order() {
        let others: Vec<_> = (0..1_000).map(|number| format!("c{number}={number}")).collect();
        let mut pairs = others.clone();
        pairs.insert(500, "s_lb=x".to_owned());
        let line = pairs.join("; ");
        assert_eq!(values(&[&line]), [b"x"]);
        assert_eq!(rest(&[&line]), Some(vec![others.join("; ")]));
    }

    #[test]
    fn bytes_that_are_no_text_pass_unchanged() {
        let taken = take(&[b"a=\xff\x80; s_lb=\xfe; b=\0"], "s");
        assert_eq!(taken.values, [b"\xfe"]);
        assert_eq!(taken.rest, Some(vec![b"a=\xff\x80; b=\0".to_vec()]));
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let other = prop::collection::vec(any::<u8>().prop_filter("no end", |&b| b != b';'), 0..9);
        prop_oneof![other, "[ \t]?(s_lb|s|S_lb)[ \t]?=?\"?[a-z=]{0,3}\"?".prop_map(Into::into)]
    }

    proptest! {
        #[test]
        fn the_rest_is_all_pieces_but_ours_in_order(
            lines in prop::collection::vec(prop::collection::vec(piece(), 1..8), 0..4),
        ) {
            let joined: Vec<Vec<u8>> = lines.iter().map(|line| line.join(&b';')).collect();
            let slices: Vec<&[u8]> = joined.iter().map(Vec::as_slice).collect();
            let rest = take(&slices, "s").rest.unwrap_or(joined);
            // Blank pieces aside: a line of nothing else is dropped.
            let told = |lines: &[Vec<u8>]| -> Vec<Vec<u8>> {
                let pieces = lines.iter().flat_map(|line| line.split(|&byte| byte == b';'));
                pieces.map(|p| p.trim_ascii().to_vec()).filter(|p| !p.is_empty()).collect()
            };
            let all: Vec<Vec<u8>> = lines.into_iter().flatten().collect();
            let others: Vec<_> =
                all.into_iter().filter(|piece| value(piece, "s").is_none()).collect();
            prop_assert_eq!(told(&rest), told(&others));
        }
    }
}

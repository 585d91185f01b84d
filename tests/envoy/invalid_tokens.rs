//! Why a token is none shows in nothing but Envoy's counters.

use std::time::Duration;

use waggle_filter::config::InfoHeaders::Shown;
use waggle_filter::opened::Refused;
use waggle_tests::raw::request;
use waggle_tests::tokens::Tokens;

use crate::world::{Answer, World, backend, sticky, tokens};

const DAY: Duration = Duration::from_hours(24);

/// An answer without what differs between any two: an ID, times, and the value of a new token.
fn told(mut answer: Answer) -> Answer {
    assert!(answer.header("x-request-id").is_some(), "{answer:#?}");
    for name in ["x-request-id", "x-upstream-response-time", "date"] {
        answer.headers.remove(name);
    }
    // Where a token was, the task gets its other cookies behind its other headers.
    let mut lines: Vec<_> =
        answer.body.lines().filter(|line| !line.starts_with("x-request-id: ")).collect();
    lines.sort_unstable();
    answer.body = lines.join("\n");
    if let Some(token) = answer.sets("session_lb").map(ToOwned::to_owned) {
        for line in answer.headers.get_mut("set-cookie").into_iter().flatten() {
            *line = line.replace(&token, &format!("{} characters", token.len()));
        }
    }
    answer
}

#[test]
fn any_invalid_token_is_answered_as_none_is_in_every_byte() {
    let task = backend();
    let pools: [(&str, _, &[_]); 2] =
        [("demo", sticky("session"), &[task]), ("other", sticky("session"), &[backend()])];
    let world = World::start(&pools, Shown);
    let ask = |cookies: &[u8]| {
        let line = [b"cookie: ", cookies, b"\r\n"].concat();
        told(world.send(&request("GET /", "demo.local", &line, "")))
    };
    let ours = tokens();
    let valid = ours.make("demo", task, Duration::ZERO).unwrap();
    let with_valid = ask(format!("a=1; session_lb={valid}; b=2").as_bytes());
    let with_none = ask(b"a=1; b=2");
    assert_ne!(with_valid, with_none, "a valid token sets no cookie");

    let flipped = |at: usize| {
        let mut bytes = valid.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        bytes
    };
    let foreign = Tokens::new("Zm9yZWlnbmZvcmVpZ25mb3JlaWduZm9yZWlnbmZvcmU=", "session_lb");
    let another_cookies = Tokens::new(crate::world::SESSION_KEY, "other_lb").unwrap();
    let made = |token: anyhow::Result<String>| token.unwrap().into_bytes();
    let kinds: [(&str, Vec<u8>); 15] = [
        ("empty", vec![]),
        ("no base64", b"!!!".to_vec()),
        ("garbage", b"AAAA".repeat(35)),
        ("long garbage", b"A".repeat(4096)),
        ("bytes", b"\xff".repeat(140)),
        ("cut", valid.as_bytes()[..valid.len() - 4].to_vec()),
        ("longer", format!("{valid}AAAA").into_bytes()),
        ("another nonce", flipped(3)),
        ("another text", flipped(60)),
        ("another tag", flipped(valid.len() - 8)),
        ("another key", made(foreign.unwrap().make("demo", task, Duration::ZERO))),
        ("another cookie's", made(another_cookies.make("demo", task, Duration::ZERO))),
        ("another format", ours.of_another_format(&valid).unwrap().into_bytes()),
        ("another service's", made(ours.make("other", task, Duration::ZERO))),
        ("over", made(ours.make("demo", task, 401 * DAY))),
    ];
    for (kind, value) in kinds {
        let answer = ask(&[b"a=1; session_lb=", value.as_slice(), b"; b=2"].concat());
        assert_eq!(answer, with_none, "{kind}");
    }
    let counted =
        |why: Refused| world.envoy.stat(&format!("wasmcustom.{}", why.counter())).unwrap();
    assert_eq!(Refused::ALL.map(counted), [13, 1, 1]);
}

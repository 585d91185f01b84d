//! What an application says of cookies and caches, beside a session's cookie.

use std::time::Duration;

use waggle_filter::config::InfoHeaders::Shown;

use crate::world::{Answer, World, backend, sticky, tokens};

const HOST: &str = "demo.local";

fn told(world: &World, lines: &str, headers: &str) -> Answer {
    world.ask("GET /", HOST, &format!("answer: HTTP/1.1 200 OK{lines}\r\n{headers}"), "")
}

#[test]
fn a_cookie_of_our_name_that_the_application_sets_is_dropped() {
    let task = backend();
    let world = World::start(&[("demo", sticky("session"), &[task])], Shown);
    let token = tokens().make("demo", task, Duration::ZERO).unwrap();
    let session = format!("cookie: session_lb={token}\r\n");
    for theirs in [
        "session_lb=theirs".to_owned(),
        "session_lb=theirs; Path=/; Secure".to_owned(),
        "session_lb=; Path=/; Max-Age=0".to_owned(),
        "session_lb = theirs; Domain=demo.local".to_owned(),
        " session_lb=\"theirs\"".to_owned(),
        format!("session_lb={token}; Path=/"),
    ] {
        let around = ["a=1; Path=/", "session_lbx=2", "SESSION_LB=3", "b=4"];
        let [before, other, capitals, after] = around.map(|it| format!("|set-cookie: {it}"));
        let theirs = format!("|set-cookie: {theirs}");
        let lines = [before, theirs.clone(), other, capitals, theirs, after].concat();
        let first = told(&world, &lines, "");
        let ours = first.sets("session_lb").unwrap_or_else(|| panic!("no cookie: {first:#?}"));
        assert_eq!(tokens().endpoint(ours), Some(task), "{first:#?}");
        assert_ne!(ours, token, "the application's went out: {first:#?}");
        let others = |answer: &Answer| {
            let lines = answer.values("set-cookie").iter();
            lines.filter(|line| !line.starts_with("session_lb=")).cloned().collect::<Vec<_>>()
        };
        assert_eq!(others(&first), around, "{first:#?}");
        let next = told(&world, &lines, &session);
        assert_eq!(next.values("set-cookie"), around, "{next:#?}");
    }
}

/// The directives of an answer's `Cache-Control` lines, in small letters.
fn directives(answer: &Answer) -> Vec<String> {
    let values = answer.values("cache-control").join(",").to_lowercase();
    values.split(',').map(|it| it.trim().to_owned()).collect()
}

#[test]
fn an_answer_with_a_new_cookie_is_for_no_shared_cache_and_others_are_left_alone() {
    let task = backend();
    let world = World::start(&[("demo", sticky("session"), &[task])], Shown);
    let token = tokens().make("demo", task, Duration::ZERO).unwrap();
    let session = format!("cookie: session_lb={token}\r\n");
    // What the application says, and what of the answer's has to be there.
    let cases: [(&[&str], &[&str]); 12] = [
        (&[], &["private"]),
        (&["private"], &["private"]),
        (&["no-store"], &["no-store"]),
        (&["private, max-age=60"], &["private", "max-age=60"]),
        (&["max-age=60"], &["private", "max-age=60"]),
        (&["no-cache"], &["private", "no-cache"]),
        (&["public"], &["private"]),
        (&["Public, max-age=60"], &["private"]),
        (&["max-age=60, s-maxage=600"], &["private"]),
        (&["S-MaxAge=600,public"], &["private"]),
        (&["max-age=60", "public"], &["private"]),
        (&["private", "public, s-maxage=600"], &["private"]),
    ];
    for (theirs, expected) in cases {
        let lines = theirs.iter().map(|it| ["|cache-control: ", it].concat());
        let lines = lines.collect::<Vec<_>>().concat();
        let answer = told(&world, &lines, "");
        assert!(answer.sets("session_lb").is_some(), "{answer:#?}");
        let found = directives(&answer);
        let is_shared = |it: &String| it == "public" || it.starts_with("s-maxage");
        assert!(!found.iter().any(is_shared), "{theirs:?}: {found:?}");
        let has = |wanted: &&str| found.iter().any(|it| it == wanted);
        assert!(expected.iter().all(has), "{theirs:?}: {found:?}");
        if theirs == expected {
            assert_eq!(answer.values("cache-control"), theirs, "it was fine: {answer:#?}");
        }

        let pinned = told(&world, &lines, &session);
        assert_eq!(pinned.sets("session_lb"), None, "{pinned:#?}");
        // Envoy makes one line of several.
        let left = pinned.values("cache-control").join(",");
        assert_eq!(left, theirs.join(","), "{pinned:#?}");
    }
}

//! Which answers carry a session's cookie, and which task it names.

use std::net::SocketAddr;
use std::time::Duration;

use waggle_filter::config::InfoHeaders::Shown;
use waggle_tests::program::free_address;
use waggle_tests::raw::{Answer, exchange, request};
use waggle_tests::scripted::{crashing_task, nobody};

use crate::world::{SESSION_KEY, World, backend, settings, sticky, tokens};

const HOST: &str = "demo.local";

/// The task that the cookie of an answer names; none if there is no cookie.
fn pinned(answer: &Answer) -> Option<SocketAddr> {
    let token = answer.sets("session_lb")?;
    let endpoint = tokens().endpoint(token);
    assert!(endpoint.is_some(), "a token that does not open in {answer:#?}");
    endpoint
}

/// The `Cookie` line of a session on this task of the service `demo`.
fn session_on(task: SocketAddr) -> String {
    let token = tokens().make("demo", task, Duration::ZERO).unwrap();
    format!("cookie: session_lb={token}\r\n")
}

#[test]
fn every_method_and_status_of_a_task_gets_the_cookie_once() {
    let tasks = [backend(), backend()];
    let world = World::start(&[("demo", sticky("session"), &tasks)], Shown);
    let preflight = "origin: http://other.local\r\naccess-control-request-method: PUT\r\n";
    for (line, status, more) in [
        ("GET /", "200 OK", ""),
        ("HEAD /", "200 OK", ""),
        ("HEAD /", "404 Not Found", ""),
        ("GET /", "204 No Content", ""),
        ("GET /", "304 Not Modified", "if-none-match: \"1\"\r\n"),
        ("OPTIONS /", "200 OK", ""),
        ("OPTIONS /", "204 No Content", preflight),
        ("POST /", "201 Created", ""),
        ("GET /", "302 Found", ""),
        ("GET /", "503 Service Unavailable", ""),
    ] {
        let headers = format!("answer: HTTP/1.1 {status}\r\n{more}");
        let answer = world.ask(line, HOST, &headers, "");
        let case = format!("{line} {status}: {answer:#?}");
        assert!(status.starts_with(&answer.status.to_string()), "{case}");
        let task = pinned(&answer).unwrap_or_else(|| panic!("no cookie: {case}"));
        assert_eq!(answer.header("x-upstream-addr"), Some(task.to_string().as_str()), "{case}");
        for task in tasks {
            let answer = world.ask(line, HOST, &format!("{headers}{}", session_on(task)), "");
            let case = format!("{line} {status} pinned to {task}: {answer:#?}");
            assert_eq!(answer.header("x-upstream-addr"), Some(task.to_string().as_str()), "{case}");
            assert_eq!(pinned(&answer), None, "{case}");
        }
    }
}

#[test]
fn an_interim_answer_carries_no_cookie_and_the_last_one_does() {
    let world = World::start(&[("demo", sticky("session"), &[backend()])], Shown);
    let hints = "answer: HTTP/1.1 103 Early Hints|link: </a.css>; rel=preload||HTTP/1.1 200 OK\r\n";
    for headers in ["expect: 100-continue\r\n", hints] {
        let asked = request("POST /", HOST, headers.as_bytes(), "body");
        let text = exchange(world.http, &asked).unwrap();
        let (first, rest) = text.split_once("\r\n\r\n").unwrap();
        let is_interim = first.starts_with("HTTP/1.1 1");
        assert_eq!(is_interim, headers != hints, "only Envoy's own is told: {text}");
        let last = if is_interim { rest } else { text.as_str() };
        assert!(last.starts_with("HTTP/1.1 200 "), "{text}");
        assert!(!is_interim || !first.to_lowercase().contains("set-cookie"), "{text}");
        assert!(pinned(&Answer::parse(last).unwrap()).is_some(), "{text}");
    }
}

#[test]
fn a_change_of_protocol_carries_the_cookie() {
    let task = backend();
    let world = World::start(&[("demo", sticky("session"), &[task])], Shown);
    let ask = |cookie: &str| {
        let wish = "HTTP/1.1 101 Switching Protocols|connection: upgrade|upgrade: websocket";
        let request = format!(
            "GET / HTTP/1.1\r\nhost: {HOST}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             answer: {wish}\r\n{cookie}\r\n"
        );
        let answer = world.send(request.as_bytes());
        assert_eq!(answer.status, 101, "{answer:#?}");
        answer
    };
    assert_eq!(pinned(&ask("")), Some(task));
    assert_eq!(pinned(&ask(&session_on(task))), None);
}

#[test]
fn a_reply_that_envoy_makes_itself_sets_no_cookie() {
    let (dead, crashing) = (nobody().unwrap(), crashing_task().unwrap());
    let world = World::start(
        &[
            ("empty", sticky("session"), &[]),
            ("dead", sticky("session"), &[dead]),
            ("crashing", sticky("session"), &[crashing]),
            ("demo", sticky("session"), &[backend()]),
        ],
        Shown,
    );
    let long = format!("a: {}\r\n", "x".repeat(61 * 1024));
    let session = |service: &str, task: SocketAddr| {
        let token = tokens().make(service, task, Duration::ZERO).unwrap();
        format!("cookie: session=1; session_lb={token}\r\n")
    };
    for (host, headers, status) in [
        ("empty.local", String::new(), 503),
        ("empty.local", session("empty", dead), 503),
        ("dead.local", String::new(), 503),
        ("dead.local", session("dead", dead), 503),
        ("crashing.local", String::new(), 503),
        ("crashing.local", session("crashing", crashing), 503),
        ("unknown.local", String::new(), 503),
        ("demo.local", long, 431),
        ("demo.local", "transfer-encoding: chunked\r\n".to_owned(), 400),
        ("demo.local", "connection: upgrade\r\nupgrade: other\r\n".to_owned(), 403),
    ] {
        let answer = world.ask("GET /", host, &headers, "");
        assert_eq!(answer.status, status, "{host} {headers:.80}: {answer:#?}");
        assert!(answer.values("set-cookie").is_empty(), "{host} {headers:.80}: {answer:#?}");
        assert!(answer.values("x-waggle-endpoint").is_empty(), "{host}: {answer:#?}");
    }
}

#[test]
fn after_another_try_the_cookie_names_the_task_that_answered() {
    for failing in [nobody().unwrap(), crashing_task().unwrap()] {
        let answering = backend();
        let tasks = [failing, answering];
        let world = World::start(&[("demo", sticky("session"), &tasks)], Shown);
        let mut retries = 0;
        for request in 1..=3 {
            let answer = world.ask("GET /", HOST, &session_on(failing), "");
            assert_eq!(answer.status, 200, "{answer:#?}");
            assert_eq!(pinned(&answer), Some(answering), "{answer:#?}");
            assert_eq!(answer.received("cookie"), None, "{answer:#?}");
            let now = world.envoy.stat("cluster.demo.upstream_rq_retry").unwrap();
            // After three failures it rests: after fewer requests, where the hash of one led to it again.
            let rests =
                world.envoy.stat("cluster.demo.outlier_detection.ejections_active").unwrap();
            assert!(
                now > retries || rests == 1 && request > 1,
                "the pinned task was not tried first"
            );
            retries = now;
        }
        let session = session_on(answering);
        assert_eq!(pinned(&world.ask("GET /", HOST, &session, "")), None, "the new pin holds");
    }
}

#[test]
fn envoys_with_the_same_keys_take_each_others_tokens() {
    let tasks = [backend(), backend(), backend()];
    let pools: [(&str, _, &[_]); 1] = [("demo", sticky("session"), &tasks)];
    let (one, two) = (World::start(&pools, Shown), World::start(&pools, Shown));
    let mut strange = settings(free_address().unwrap().port(), Shown);
    strange.filter.keys = vec![SESSION_KEY.replace("a2V5", "S2V5")];
    let stranger = World::start_with(&pools, &strange);
    for (maker, opener) in [(&one, &two), (&two, &one)] {
        for _ in 0..10 {
            let first = maker.get(HOST);
            let task = pinned(&first);
            let session = format!("cookie: session_lb={}\r\n", first.sets("session_lb").unwrap());
            let next = opener.ask("GET /", HOST, &session, "");
            let answered = next.header("x-upstream-addr").map(|it| it.parse().unwrap());
            assert_eq!(answered, task, "{next:#?}");
            assert_eq!(next.sets("session_lb"), None, "{next:#?}");
            let elsewhere = stranger.ask("GET /", HOST, &session, "");
            assert!(elsewhere.status == 200 && elsewhere.sets("session_lb").is_some());
        }
    }
}

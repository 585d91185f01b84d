//! The internal header, by which the filter names an endpoint to Envoy: nobody else can use it.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use waggle_controller::labels::Affinity;
use waggle_filter::config::InfoHeaders::Shown;
use waggle_filter::config::PIN_HEADER;

use crate::world::{Answer, World, backend, sticky, tokens};

/// Of so many answers without a session, one is from another task than a given one of three.
const TIMES: u32 = 40;

/// What names an endpoint.
fn named(task: SocketAddr) -> String {
    STANDARD.encode(task.to_string())
}

fn answered(answer: &Answer) -> SocketAddr {
    assert_eq!(answer.status, 200, "{answer:#?}");
    answer.header("x-upstream-addr").unwrap().parse().unwrap()
}

/// Fails if each answer is from this task, or if anyone but Envoy learns of the header.
fn is_not_led(ask: impl Fn() -> Answer, task: SocketAddr, case: &str) {
    let mut others = (0..TIMES).map(|_| {
        let answer = ask();
        let seen = answer.body.to_lowercase().replace('_', "-");
        assert!(!seen.contains("waggle-endpoint"), "{case}: the task saw {}", answer.body);
        assert_eq!(answer.header(PIN_HEADER), None, "{case}: {answer:#?}");
        answered(&answer)
    });
    assert!(others.any(|other| other != task), "{case}: each of {TIMES} went to the named task");
}

#[test]
fn a_client_that_names_a_task_does_not_get_there() {
    let tasks = [backend(), backend(), backend()];
    let pools: [(&str, _, &[_]); 2] =
        [("sticky", sticky("session"), &tasks), ("plain", Affinity::None, &tasks)];
    let world = World::start(&pools, Shown);
    let [task, other, _] = tasks;
    let (name, value) = (PIN_HEADER, named(task));
    let headers = [
        format!("{name}: {value}\r\n"),
        format!("{}: {value}\r\n", name.to_uppercase()),
        format!("X-Waggle-Endpoint: {value}\r\nx-waggle-ENDPOINT: {value}\r\n"),
        format!("{name}: {}\r\n{name}: {value}\r\n", named(other)),
        format!("{name}:\r\n{name}: {value}\r\n"),
        format!("{name}: {value}, {value}\r\n"),
        format!("{name}: {task}\r\n"),
        format!("{}: {value}\r\n", name.replace('-', "_")),
        format!("x-waggle_endpoint: {value}\r\nx_waggle-endpoint: {value}\r\n"),
        format!("connection: {name}\r\n{name}: {value}\r\n"),
        format!("{name}: {value}\r\ncookie: session_lb={value}\r\n"),
        format!("x-envoy-original-dst-host: {task}\r\nx-envoy-upstream-alt-stat-name: {name}\r\n"),
    ];
    for host in ["sticky.local", "plain.local"] {
        for lines in &headers {
            let ask = || world.ask("GET /", host, lines, "");
            is_not_led(ask, task, &format!("{host} {lines}"));
        }
        let head = format!("POST / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
        let body = format!("2\r\nhi\r\n0\r\n{name}: {value}\r\n\r\n");
        let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{body}");
        let ask = || world.send(chunked.as_bytes());
        is_not_led(ask, task, &format!("{host} in a trailer"));
    }
}

#[test]
fn a_session_stays_where_its_token_says_whatever_the_header_does() {
    let tasks = [backend(), backend(), backend()];
    let world = World::start(&[("demo", sticky("session"), &tasks)], Shown);
    for task in tasks {
        let token = tokens().make("demo", task, Duration::ZERO).unwrap();
        for other in tasks {
            let lines = format!(
                "{PIN_HEADER}: {0}\r\ncookie: session_lb={token}\r\n{PIN_HEADER}: {0}\r\n",
                named(other)
            );
            let answer = world.ask("GET /", "demo.local", &lines, "");
            assert_eq!(answered(&answer), task, "{other} was named: {answer:#?}");
            assert_eq!(answer.sets("session_lb"), None, "{answer:#?}");
        }
    }
}

#[test]
fn a_malformed_spelling_is_refused() {
    let task = backend();
    let world = World::start(&[("demo", sticky("session"), &[task])], Shown);
    for spelling in ["x-waggle-endpoint ", "x-waggle-endpoint\t", "x-waggle\0-endpoint", ""] {
        let lines = format!("{spelling}: {}\r\n", named(task));
        let answer = world.ask("GET /", "demo.local", &lines, "");
        assert_eq!(answer.status, 400, "{spelling:?}: {answer:#?}");
    }
}

#[test]
fn a_task_that_names_another_changes_nothing() {
    let tasks = [backend(), backend(), backend()];
    let world = World::start(&[("demo", sticky("session"), &tasks)], Shown);
    for other in tasks {
        let value = named(other);
        let upper = PIN_HEADER.to_uppercase();
        for wish in [
            format!("200 OK|{PIN_HEADER}: {value}"),
            format!("200 OK|{upper}: {value}|X-Waggle-Endpoint: {value}|{PIN_HEADER}:"),
            format!("404 Not Found|{PIN_HEADER}: {value}|x_waggle_endpoint: no"),
        ] {
            let wish = format!("answer: HTTP/1.1 {wish}\r\n");
            let first = world.ask("GET /", "demo.local", &wish, "");
            let task = first.header("x-upstream-addr").unwrap().parse().unwrap();
            assert_eq!(tokens().endpoint(first.sets("session_lb").unwrap()), Some(task));
            let token = tokens().make("demo", task, Duration::ZERO).unwrap();
            let again = format!("{wish}cookie: session_lb={token}\r\n");
            let again = world.ask("GET /", "demo.local", &again, "");
            assert_eq!(again.header("x-upstream-addr"), Some(task.to_string().as_str()));
            assert_eq!(again.sets("session_lb"), None, "{wish}: {again:#?}");
            for answer in [first, again] {
                assert_eq!(answer.header(PIN_HEADER), None, "{wish}: {answer:#?}");
            }
        }
    }
}

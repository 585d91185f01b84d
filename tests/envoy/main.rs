//! What a real Envoy does with our resources, in the small: no Swarm, one routing made by hand.

mod answers;
mod applications;
mod internal_header;
mod invalid_tokens;
mod mutual_tls;
mod new_settings;
mod panics;
mod world;

use std::collections::BTreeSet;

use waggle_controller::labels::Affinity;
use waggle_filter::config::InfoHeaders::{Hidden, Shown};
use waggle_tests::scripted::{crashing_task, nobody};
use world::{SESSION_KEY, World, backend, sticky};

const DEBUG_HEADERS: [&str; 5] =
    ["x-request-id", "x-proxy-id", "x-server-info", "x-upstream-addr", "x-upstream-response-time"];

#[test]
fn a_response_of_a_task_carries_all_debug_headers_once() {
    let task = backend();
    let world = World::start(&[("demo", Affinity::None, &[task])], Shown);
    for status in ["200 OK", "404 Not Found", "500 Internal Server Error"] {
        // The task sends them too: ours take their place.
        let forged = DEBUG_HEADERS.map(|name| format!("|{name}: forged")).concat();
        let wish = format!("answer: HTTP/1.1 {status}{forged}|server: task\r\n");
        let answer = world.ask("GET /", "demo.local", &wish, "");
        assert_eq!(answer.header("x-request-id"), answer.received("x-request-id"), "{answer:#?}");
        assert_eq!(answer.header("x-server-info"), Some("waggle/test (100%)"));
        assert_eq!(answer.header("x-upstream-addr"), Some(task.to_string().as_str()));
        let proxy = answer.header("x-proxy-id").unwrap();
        assert!(!proxy.is_empty() && proxy != "forged", "{answer:#?}");
        let time = answer.header("x-upstream-response-time").unwrap();
        assert!(time.starts_with("0.") && time.len() == 5, "{time}");
        assert_eq!(answer.header("server"), Some("task"));
        assert!(!answer.headers.keys().any(|name| name.starts_with("x-envoy-")), "{answer:#?}");
    }
}

#[test]
fn envoys_own_replies_carry_the_debug_headers_that_make_sense() {
    let dead = nobody().unwrap();
    let pools: [(&str, _, &[_]); 2] =
        [("empty", Affinity::None, &[]), ("dead", Affinity::None, &[dead])];
    let world = World::start(&pools, Shown);
    let dead = dead.to_string();
    for (host, again, upstream) in [
        ("empty.local", Some("1"), None),
        ("dead.local", Some("1"), Some(dead.as_str())),
        ("unknown.local", None, None),
    ] {
        let answer = world.get(host);
        assert_eq!(answer.status, 503, "{host}");
        assert_eq!(answer.header("retry-after"), again, "{host}");
        assert_eq!(answer.header("x-upstream-addr"), upstream, "{host}");
        assert_eq!(answer.header("x-upstream-response-time").is_some(), upstream.is_some());
        assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()));
        assert!(answer.header("x-proxy-id").is_some_and(|id| !id.is_empty()));
        assert_eq!(answer.header("x-server-info"), Some("waggle/test (100%)"));
    }
    let answer = world.send(b"this is not HTTP\r\n\r\n");
    assert_eq!(answer.status, 400);
    let shown = DEBUG_HEADERS.map(|name| answer.header(name).is_some());
    assert_eq!(shown, [false, true, true, false, false], "{answer:#?}");
}

#[test]
fn hidden_debug_headers_leave_the_tasks_own_alone() {
    let pools: [(&str, _, &[_]); 2] =
        [("plain", Affinity::None, &[backend()]), ("sticky", sticky("session"), &[backend()])];
    let world = World::start(&pools, Hidden);
    for host in ["plain.local", "sticky.local"] {
        let own = DEBUG_HEADERS.map(|name| format!("|{name}: the-tasks")).concat();
        let wish = format!("answer: HTTP/1.1 200 OK{own}\r\n");
        let answer = world.ask("GET /", host, &wish, "");
        assert_eq!(DEBUG_HEADERS.map(|name| answer.header(name)), [Some("the-tasks"); 5], "{host}");
        let answer = world.get(host);
        assert_eq!(DEBUG_HEADERS.map(|name| answer.header(name)), [None; 5], "{host}");
    }
    let answer = world.get("unknown.local");
    assert_eq!(DEBUG_HEADERS.map(|name| answer.header(name)), [None; 5]);
}

#[test]
fn a_client_cannot_set_our_headers() {
    let world = World::start(&[("demo", sticky("session"), &[backend()])], Shown);
    let forged = "x-upstream-addr: f\r\nx-upstream-response-time: f\r\nx-proxy-id: f\r\n\
         x-server-info: f\r\nx-waggle-endpoint: MTI3LjAuMC4xOjE=\r\nx-real-ip: f\r\n\
         x-forwarded-host: f\r\nx-forwarded-port: 1\r\nx-forwarded-proto: f\r\nX_Proxy_Id: f\r\n";
    let answer = world.ask("GET /", "demo.local:8080", forged, "");
    assert_eq!(answer.status, 200);
    let ours = [
        "x-upstream-addr",
        "x-upstream-response-time",
        "x-proxy-id",
        "x-server-info",
        "x_proxy_id",
    ];
    for name in ours.into_iter().chain(["x-waggle-endpoint"]) {
        assert_eq!(answer.received(name), None, "{name}");
    }
    assert_eq!(answer.header("x-waggle-endpoint"), None);
    assert_eq!(answer.received("host"), Some("demo.local:8080"));
    assert_eq!(answer.received("x-forwarded-host"), Some("demo.local:8080"));
    assert_eq!(answer.received("x-forwarded-proto"), Some("http"));
    assert_eq!(answer.received("x-real-ip"), Some("127.0.0.1"));
    assert!(answer.received("x-forwarded-port").is_some_and(|port| port != "1"));
    assert!(answer.received("x-forwarded-for").is_some());
}

#[test]
fn a_well_formed_request_id_is_kept_and_any_other_replaced() {
    let world = World::start(&[("demo", Affinity::None, &[backend()])], Shown);
    let longest = "a".repeat(128);
    // With the nibble of a trace's reason, which Envoy would rewrite.
    let uuid = "4fe0ed0c-6f6a-9e4c-8f5a-000000000000";
    for id in ["A-1.z_9", longest.as_str(), uuid] {
        let answer = world.ask("GET /", "demo.local", &format!("x-request-id: {id}\r\n"), "");
        assert_eq!(answer.header("x-request-id"), Some(id));
        assert_eq!(answer.received("x-request-id"), Some(id));
    }
    let too_long = format!("x-request-id: {longest}a\r\n");
    let twice = "x-request-id: a\r\nx-request-id: b\r\n";
    let mut seen = BTreeSet::new();
    for lines in
        ["", "x-request-id:\r\n", "x-request-id: a b\r\n", "x-request-id: ü\r\n", &too_long, twice]
    {
        let answer = world.ask("GET /", "demo.local", lines, "");
        let id = answer.header("x-request-id").unwrap();
        assert_eq!(id.len(), 36, "{lines}: {id}");
        assert_eq!(answer.received("x-request-id"), Some(id));
        assert!(seen.insert(id.to_owned()), "{lines}");
    }
}

#[test]
fn a_request_that_no_task_has_seen_is_tried_elsewhere() {
    let tasks = [nobody().unwrap(), backend()];
    let world = World::start(&[("demo", Affinity::None, &tasks)], Shown);
    let upload = "x".repeat(200 * 1024);
    for _ in 0..20 {
        assert_eq!(world.get("demo.local").status, 200);
        assert_eq!(world.ask("POST /", "demo.local", "", &upload).status, 200);
    }
    assert!(world.envoy.stat("cluster.demo.upstream_rq_retry").unwrap() > 0);
}

#[test]
fn a_request_that_a_task_may_have_seen_is_tried_elsewhere_if_it_is_idempotent() {
    let tasks = [crashing_task().unwrap(), backend()];
    let world = World::start(&[("demo", Affinity::None, &tasks)], Shown);
    for method in ["GET", "PUT", "DELETE"] {
        for _ in 0..6 {
            let answer = world.ask(&format!("{method} /"), "demo.local", "", "");
            assert_eq!(answer.status, 200, "{method}");
        }
    }
    let statuses: BTreeSet<_> =
        (0..6).map(|_| world.ask("POST /", "demo.local", "", "").status).collect();
    assert_eq!(statuses, BTreeSet::from([200, 503]));
}

#[test]
fn a_session_stays_on_its_task() {
    let tasks = [backend(), backend(), backend()];
    let world = World::start(&[("demo", sticky("session"), &tasks)], Shown);
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        let first = world.get("demo.local");
        let task = first.header("x-upstream-addr").unwrap();
        let cookie = first.header("set-cookie").unwrap().split(';').next().unwrap();
        assert!(cookie.starts_with("session_lb="), "{cookie}");
        for _ in 0..5 {
            let next = world.ask("GET /", "demo.local", &format!("cookie: a=b; {cookie}\r\n"), "");
            assert_eq!(next.header("x-upstream-addr"), Some(task));
            assert_eq!(next.header("set-cookie"), None);
            assert_eq!(next.received("cookie"), Some("a=b"));
        }
        seen.insert(task.to_owned());
    }
    assert_eq!(seen.len(), 3, "new sessions spread over the tasks");
}

#[test]
fn a_client_with_the_applications_cookie_alone_comes_back_to_its_task() {
    let tasks = [backend(), backend(), backend()];
    let world = World::start(&[("demo", sticky("session"), &tasks)], Shown);
    let task = |session: u32| {
        let cookie = format!("cookie: session={session}\r\n");
        let answer = world.ask("GET /", "demo.local", &cookie, "");
        answer.header("x-upstream-addr").unwrap().to_owned()
    };
    let once: Vec<_> = (0..20).map(task).collect();
    let again: Vec<_> = (0..20).map(task).collect();
    assert_eq!(once, again);
    assert_eq!(once.into_iter().collect::<BTreeSet<_>>().len(), 3);
}

#[test]
fn a_websocket_passes() {
    let world = World::start(&[("demo", sticky("session"), &[backend()])], Shown);
    let wish = "answer: HTTP/1.1 101 Switching Protocols|connection: upgrade|upgrade: websocket";
    let request = format!(
        "GET / HTTP/1.1\r\nhost: demo.local\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         origin: http://other.local\r\n{wish}\r\n\r\n"
    );
    let answer = world.send(request.as_bytes());
    assert_eq!(answer.status, 101);
}

#[test]
fn http_1_0_and_a_dot_behind_the_host_are_understood() {
    let world = World::start(&[("demo", Affinity::None, &[backend()])], Shown);
    let answer = world.send(b"GET / HTTP/1.0\r\nhost: demo.local.\r\n\r\n");
    assert_eq!(answer.status, 200);
}

#[test]
fn nothing_is_refused_and_no_key_shows() {
    let world = World::start(&[("demo", sticky("session"), &[backend()])], Shown);
    assert_eq!(world.get("demo.local").status, 200);
    let stats = world.envoy.stats().unwrap();
    let refused: Vec<_> =
        stats.iter().filter(|(name, count)| name.ends_with("_rejected") && **count > 0).collect();
    assert!(refused.is_empty(), "{refused:?}");
    let dump = world.envoy.config_dump().unwrap().to_string();
    let base64 = ["W3JlZGFjdGVkXQ==", "eyJrZXlzIjpb"]; // `[redacted]`, `{"keys":[`
    assert!(dump.contains(base64[0]) && !dump.contains(base64[1]) && !dump.contains(SESSION_KEY));
    assert!(!world.envoy.log().contains(SESSION_KEY));
}

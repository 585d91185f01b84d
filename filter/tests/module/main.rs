//! The module that Envoy loads, driven through its ABI. Build it first: `cargo wasm`.

#![cfg(not(target_family = "wasm"))]

mod host;
mod interface;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use host::{Calls, Headers, ROOT, Vm};
use waggle_filter::config::{
    InfoHeaders, PIN_HEADER, PluginConfig, ROUTE_HEADER, RouteConfig, Schemes, Sessions,
};
use waggle_filter::info::NONE;
use waggle_filter::opened::Refused;

const HERE: &str = "10.0.1.4:8080";
const ELSEWHERE: &str = "10.0.1.5:8080";
/// When requests come, in nanoseconds since 1970.
const START: u64 = 1_700_000_000_000_000_000;
const TIME: &str = "x-upstream-response-time";

fn config(info_headers: InfoHeaders) -> Vec<u8> {
    let keys = vec!["AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=".to_owned()];
    PluginConfig { keys, info_headers, ..PluginConfig::default() }.encode().unwrap()
}

/// A configured VM on a sticky route, whose requests are answered by [`HERE`].
fn vm() -> Vm {
    let mut vm = Vm::start();
    assert!(vm.configure(ROOT, &config(InfoHeaders::Shown)));
    vm.state().clock = START;
    vm.state().properties.extend([
        ("upstream.address", HERE.into()),
        ("xds.upstream_host_metadata.filter_metadata.waggle.service", b"demo".to_vec()),
        ("response.code_details", b"via_upstream".to_vec()),
    ]);
    vm
}

fn headers<V: AsRef<[u8]>>(lines: &[(&str, V)]) -> Headers {
    lines.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_ref().to_vec())).collect()
}

fn values(headers: &Headers, name: &str) -> Vec<String> {
    let lines = headers.iter().filter(|(key, _)| key == name.as_bytes());
    lines.map(|(_, value)| value.escape_ascii().to_string()).collect()
}

/// One request with these headers and its response with those.
fn visit(vm: &mut Vm, request: Headers, response: Headers) -> (Headers, Headers) {
    let stream = vm.create_context(ROOT);
    let request = vm.request(stream, on_route(request));
    vm.state().clock += 12_345_678;
    let response = answer(vm, &request, response);
    let response = vm.response(stream, response);
    vm.delete(stream);
    (request.into_iter().filter(|(name, _)| name != ROUTE_HEADER.as_bytes()).collect(), response)
}

/// A request on a sticky route, as Envoy's `header_mutation` tells the filter.
fn on_route(mut request: Headers) -> Headers {
    let route = RouteConfig::pack("session", "/", Schemes::One, ["demo"]);
    request.push((ROUTE_HEADER.into(), route.into_bytes()));
    request
}

/// What Envoy puts into a response before the filter sees it: `stateful_session` names the endpoint,
/// if it is not the pinned one.
fn answer(vm: &mut Vm, request: &Headers, mut response: Headers) -> Headers {
    let endpoint = vm.state().properties.get("upstream.address").map(|it| STANDARD.encode(it));
    if let Some(endpoint) = endpoint.filter(|it| !values(request, PIN_HEADER).contains(it)) {
        response.push((PIN_HEADER.into(), endpoint.into_bytes()));
    }
    response
}

/// The cookie of a first visit.
fn pin(vm: &mut Vm) -> String {
    let (_, response) = visit(vm, vec![], vec![]);
    let [line] = &values(&response, "set-cookie")[..] else { panic!("{response:?}") };
    line.split(';').next().unwrap().to_owned()
}

#[test]
fn a_bad_configuration_is_refused_and_told() {
    let without_keys = PluginConfig::default().encode().unwrap();
    let bad_key = PluginConfig { keys: vec!["s3cret".into()], ..PluginConfig::default() };
    let cases = [
        (b"".as_slice(), "no inline_bytes"),
        (b"\xff\xff", "not a GenericSecret"),
        (&without_keys, "no session key"),
        (&bad_key.encode().unwrap(), "session key 0 is not"),
    ];
    for (configuration, expected) in cases {
        let mut vm = Vm::start();
        assert!(!vm.configure(ROOT, configuration), "{expected}");
        let log = &vm.state().log;
        assert!(log.contains(expected), "{log}");
        assert!(!log.contains("s3cret"), "{log}");
    }
}

#[test]
fn a_request_without_cookies_is_not_pinned_and_its_response_pins() {
    let mut vm = vm();
    let lines = headers(&[(":path", "/"), ("accept", "*/*")]);
    let (request, response) = visit(&mut vm, lines.clone(), headers(&[(":status", "200")]));
    assert_eq!(request, lines);
    let [line] = &values(&response, "set-cookie")[..] else { panic!("{response:?}") };
    assert!(line.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{line}");
}

#[test]
fn a_request_over_tls_gets_a_secure_cookie() {
    let (_, response) =
        visit(&mut vm(), headers(&[(":scheme", "http"), ("x-forwarded-proto", "https")]), vec![]);
    let [line] = &values(&response, "set-cookie")[..] else { panic!("{response:?}") };
    assert!(line.contains("; Secure"), "{line}");
}

#[test]
fn a_token_pins_and_does_not_reach_the_task() {
    let mut vm = vm();
    let cookie = format!("a=1; {}; session=x", pin(&mut vm));
    let (request, response) = visit(&mut vm, headers(&[("cookie", cookie)]), vec![]);
    assert_eq!(values(&request, PIN_HEADER), ["MTAuMC4xLjQ6ODA4MA=="]);
    assert_eq!(values(&request, "cookie"), ["a=1; session=x"]);
    assert_eq!(values(&response, "set-cookie"), [""; 0]);
}

#[test]
fn a_token_on_one_of_several_lines_pins_and_the_lines_stay() {
    let mut vm = vm();
    let token = format!("{}; b=2", pin(&mut vm));
    let lines = [("cookie", "a=1"), ("cookie", &token), ("x", "y"), ("cookie", "c=3")];
    let (request, _) = visit(&mut vm, headers(&lines), vec![]);
    assert_eq!(values(&request, PIN_HEADER).len(), 1);
    assert_eq!(values(&request, "cookie"), ["a=1", "b=2", "c=3"]);
}

#[test]
fn a_client_cannot_pin_itself() {
    let lines = [("cookie", "session_lb=MTAuMC4xLjQ6ODA4MA=="), (PIN_HEADER, "x")];
    let (request, _) = visit(&mut vm(), headers(&lines), vec![]);
    assert_eq!(values(&request, PIN_HEADER), [""; 0]);
}

#[test]
fn what_leads_nowhere_is_counted_by_its_reason() {
    let mut vm = vm();
    let ours = pin(&mut vm);
    let service = "xds.upstream_host_metadata.filter_metadata.waggle.service";
    vm.state().properties.insert(service, b"other".to_vec());
    let elsewhere = pin(&mut vm);
    let counted = |vm: &mut Vm, cookies: &str| {
        visit(vm, headers(&[("cookie", cookies)]), vec![]);
        let counters = vm.state().counters.iter();
        counters.map(|(name, count)| (name.clone(), *count)).collect::<BTreeMap<_, _>>()
    };
    let expected = |counts: [i64; 3]| {
        let names = Refused::ALL.map(|it| it.counter().to_owned());
        names.into_iter().zip(counts).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(counted(&mut vm, &ours), expected([0, 0, 0]));
    assert_eq!(
        counted(&mut vm, &format!("session_lb=x; session_lb=; {ours}")),
        expected([2, 0, 0])
    );
    assert_eq!(counted(&mut vm, &elsewhere), expected([2, 0, 1]));
    vm.state().clock += 401 * 86_400 * 1_000_000_000;
    assert_eq!(counted(&mut vm, &ours), expected([2, 1, 1]));
}

#[test]
fn a_forgery_makes_the_same_work_wherever_it_is_wrong() {
    let ours = pin(&mut vm());
    let changed_at = |from_end: usize| {
        let (before, rest) = ours.split_at(ours.len() - from_end);
        let other = if rest.starts_with('A') { "B" } else { "A" };
        [before, other, &rest[1..]].concat()
    };
    let work_of = |cookie: &String| {
        let mut vm = vm();
        let stream = vm.create_context(ROOT);
        let before = vm.work();
        let request = vm.request(stream, on_route(headers(&[("cookie", cookie)])));
        assert_eq!(values(&request, PIN_HEADER), [""; 0], "{cookie}");
        vm.work() - before
    };
    // All of the token: nonce, text and tag, but for the last letter, of which not all bits count.
    let forgeries: Vec<String> = (2..=ours.len() - "session_lb=".len()).map(changed_at).collect();
    // The interpreter translates what is run for the first time.
    work_of(&forgeries[0]);
    let work: BTreeSet<u64> = forgeries.iter().map(work_of).collect();
    assert_eq!(work.len(), 1, "{work:?}");
}

#[test]
fn a_route_that_is_not_sticky_is_left_alone() {
    for route in [None, Some(""), Some("some other text")] {
        let mut vm = vm();
        let stream = vm.create_context(ROOT);
        let route = route.map(|route| (ROUTE_HEADER, route));
        let cookie = [("cookie", "session_lb=x; a=1")];
        let lines = headers(&cookie.into_iter().chain(route).collect::<Vec<_>>());
        assert_eq!(vm.request(stream, lines.clone()), lines);
        let response = vm.response(stream, headers(&[("set-cookie", "a=1")]));
        assert_eq!(values(&response, "set-cookie"), ["a=1"]);
        vm.delete(stream);
    }
}

#[test]
fn no_cookie_ends_the_vm() {
    let mut vm = vm();
    let long = format!("session_lb={}", "A".repeat(60 * 1024));
    let many = "session_lb=; ".repeat(5000);
    let cases: [(&[u8], &[&str]); 6] = [
        (b"a=\xff\xfe; b=1", &[r"a=\xff\xfe; b=1"]),
        (b"session_lb=\xff; a=\xff", &[r"a=\xff"]),
        (b"session_lb=\"", &[]),
        (b"\0;=;;session_lb", &[r"\x00;=;;session_lb"]),
        (long.as_bytes(), &[]),
        (many.as_bytes(), &[]),
    ];
    for (cookie, expected) in cases {
        let (request, response) = visit(&mut vm, headers(&[("cookie", cookie)]), vec![]);
        assert_eq!(values(&request, "cookie"), expected);
        assert_eq!(values(&response, "set-cookie").len(), 1, "{}", cookie.escape_ascii());
    }
}

#[test]
fn no_header_name_ends_the_vm() {
    let mut vm = vm();
    let cookie = pin(&mut vm);
    let odd = || (b"x-\xff".to_vec(), b"1".to_vec());
    let request = [headers(&[("cookie", cookie)]), vec![odd()]].concat();
    let (request, response) = visit(&mut vm, request, vec![odd()]);
    assert_eq!(values(&request, PIN_HEADER).len(), 1);
    assert!(request.contains(&odd()) && response.contains(&odd()), "{request:?} {response:?}");
}

#[test]
fn bodies_and_trailers_pass() {
    let mut vm = vm();
    let stream = vm.create_context(ROOT);
    vm.request(stream, on_route(vec![]));
    vm.body_and_trailers("request", stream);
    let response = answer(&mut vm, &vec![], vec![]);
    assert_eq!(values(&vm.response(stream, response), "set-cookie").len(), 1);
    vm.body_and_trailers("response", stream);
    vm.delete(stream);
}

#[test]
fn another_endpoint_pins_anew_and_envoys_cue_goes_no_further() {
    let mut vm = vm();
    let cookie = pin(&mut vm);
    vm.state().properties.insert("upstream.address", ELSEWHERE.into());
    let cue = headers(&[(PIN_HEADER, "MTAuMC4xLjU6ODA4MA==")]);
    let (_, response) = visit(&mut vm, headers(&[("cookie", cookie)]), cue);
    assert_eq!(values(&response, "set-cookie").len(), 1);
    assert_eq!(values(&response, PIN_HEADER), [""; 0]);
}

#[test]
fn a_task_cannot_choose_the_endpoint_of_a_token() {
    let mut vm = vm();
    let cookie = headers(&[("cookie", pin(&mut vm))]);
    let (_, response) = visit(&mut vm, cookie, headers(&[(PIN_HEADER, "MTAuMC4xLjU6ODA4MA==")]));
    assert_eq!(values(&response, "set-cookie"), [""; 0]);
    assert_eq!(values(&response, PIN_HEADER), [""; 0]);
}

#[test]
fn the_applications_set_cookie_lines_stay_and_ours_follows() {
    let mut vm = vm();
    let lines = ["a=\u{ff}", "session=1; Path=/app; Max-Age=60", "b=2"];
    let response = headers(&lines.map(|line| ("set-cookie", line)));
    let (_, response) = visit(&mut vm, vec![], response);
    let lines = values(&response, "set-cookie");
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(lines[1], "session=1; Path=/app; Max-Age=60");
    assert!(lines[3].ends_with("; Path=/app; Max-Age=60; HttpOnly"), "{}", lines[3]);
}

#[test]
fn envoys_own_reply_sets_no_cookie_and_tells_how_long_an_endpoint_was_tried() {
    let mut vm = vm();
    let details = b"upstream_reset_before_response_started".to_vec();
    vm.state().properties.insert("response.code_details", details);
    for mark in [&[][..], &[(TIME, NONE)]] {
        let (_, response) = visit(&mut vm, vec![], headers(mark));
        assert_eq!(response, headers(&[(TIME, "0.012")]));
    }
    vm.state().properties.remove("upstream.address");
    let (_, response) = visit(&mut vm, vec![], headers(&[(":status", "503"), (TIME, NONE)]));
    assert_eq!(response, headers(&[(":status", "503")]));
}

#[test]
fn where_no_sessions_are_kept_the_time_is_told_and_nothing_else_done() {
    let keys = Vec::new();
    let headers_only = PluginConfig { keys, sessions: Sessions::Left, ..PluginConfig::default() };
    let mut vm = vm();
    assert!(vm.configure(ROOT, &headers_only.encode().unwrap()));
    let stream = vm.create_context(ROOT);
    let lines = on_route(headers(&[("cookie", "session_lb=x"), (PIN_HEADER, "x")]));
    assert_eq!(vm.request(stream, lines.clone()), lines);
    vm.state().clock += 12_345_678;
    let response = vm.response(stream, headers(&[("set-cookie", "session=1"), (TIME, "forged")]));
    assert_eq!(response, headers(&[("set-cookie", "session=1"), (TIME, "0.012")]));
}

#[test]
fn hidden_debug_headers_are_not_set() {
    let mut vm = vm();
    assert!(vm.configure(ROOT, &config(InfoHeaders::Hidden)));
    let (_, response) = visit(&mut vm, vec![], vec![]);
    assert_eq!(values(&response, "set-cookie").len(), 1);
    assert_eq!(values(&response, TIME), [""; 0]);
}

#[test]
fn without_randomness_no_token_is_issued() {
    let mut vm = vm();
    vm.state().calls = Calls::WorkWithoutRandomness;
    let (_, response) = visit(&mut vm, vec![], vec![]);
    assert_eq!(values(&response, "set-cookie"), [""; 0]);
    assert_eq!(values(&response, TIME), ["0.012"]);
}

#[test]
fn no_failed_call_of_envoy_ends_the_vm() {
    let mut vm = vm();
    let cookie = headers(&[("cookie", pin(&mut vm))]);
    vm.state().calls = Calls::Fail;
    visit(&mut vm, cookie.clone(), vec![]);
    assert!(!vm.configure(ROOT, &config(InfoHeaders::Shown)));
    vm.state().calls = Calls::Work;
    let (request, _) = visit(&mut vm, cookie, vec![]);
    assert_eq!(values(&request, PIN_HEADER).len(), 1);
}

#[test]
fn a_response_without_its_request_ends_no_vm() {
    let mut vm = vm();
    let stream = vm.create_context(ROOT);
    let lines = headers(&[(PIN_HEADER, "x"), (TIME, "forged")]);
    assert_eq!(vm.response(stream, lines), headers(&[(PIN_HEADER, "x")]));
    vm.delete(stream);
}

#[test]
fn a_root_without_a_configuration_does_nothing() {
    let mut vm = Vm::start();
    let stream = vm.create_context(ROOT);
    assert_eq!(vm.request(stream, headers(&[("cookie", "a=1")])), headers(&[("cookie", "a=1")]));
    assert_eq!(vm.response(stream, vec![]), vec![]);
    vm.delete(stream);
}

#[test]
fn a_new_configuration_leaves_streams_of_the_old_one_alone() {
    let mut vm = vm();
    let old = vm.create_context(ROOT);
    vm.request(old, vec![]);
    let new_root = vm.create_context(0);
    assert!(vm.configure(new_root, &config(InfoHeaders::Hidden)));
    vm.delete(ROOT);
    let new = vm.create_context(new_root);
    vm.request(new, vec![]);
    assert_eq!(values(&vm.response(old, vec![]), TIME), ["0.000"]);
    assert_eq!(values(&vm.response(new, vec![]), TIME), [""; 0]);
}

#[test]
fn requests_leave_no_memory_behind() {
    let mut vm = vm();
    let cookie = format!("a={}; {}", "x".repeat(2_000), pin(&mut vm));
    let mut visits = |count| {
        for _ in 0..count {
            visit(
                &mut vm,
                headers(&[("cookie", &cookie)]),
                headers(&[("set-cookie", "session=1")]),
            );
        }
        vm.memory_size()
    };
    let warm = visits(50);
    assert_eq!(visits(1_000), warm);
}

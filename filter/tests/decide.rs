//! The rules of sticky sessions in `docs/labels.md`, rule by rule, from a request's cookies to the
//! response's. The same tests run natively and as 32-bit WebAssembly under Node
//! (`cargo test --package waggle-filter --test decide --target wasm32-unknown-unknown`).

use std::net::SocketAddr;

use waggle_filter::config::{RouteConfig, Schemes};
use waggle_filter::opened::Opener;
use waggle_filter::pin::{Edits, Evidence, Response, Session, Transport};
use waggle_filter::token::KeyRing;
use wasm_bindgen_test::wasm_bindgen_test;

const NOW: u64 = 1_700_000_000;
const HERE: &str = "10.0.1.4:8080";
const ELSEWHERE: &str = "10.0.1.5:8080";
const DELETED: &str = "session_lb=; Path=/app; Max-Age=0; HttpOnly; SameSite=Lax";

/// A request on a sticky route and its response.
struct Visit {
    cookie: String,
    path: String,
    schemes: Schemes,
    services: Vec<String>,
    transport: Transport,
    cookies: Vec<String>,
    endpoint: SocketAddr,
    set_cookies: Vec<String>,
    cache_control: Vec<String>,
    now: u64,
    evidence: Evidence,
}

/// A first visit, answered by [`HERE`].
fn visit() -> Visit {
    Visit {
        cookie: "session".into(),
        path: "/app".into(),
        schemes: Schemes::One,
        services: vec!["demo".into(), "canary".into()],
        transport: Transport::Plain,
        cookies: Vec::new(),
        endpoint: HERE.parse().unwrap(),
        set_cookies: Vec::new(),
        cache_control: Vec::new(),
        now: NOW,
        evidence: Evidence {
            code_details: Some(b"via_upstream".to_vec()),
            service: Some(b"demo".to_vec()),
            nonce: Some([7; 24]),
        },
    }
}

impl Visit {
    fn with_cookies(mut self, lines: &[&str]) -> Self {
        self.cookies = lines.iter().map(ToString::to_string).collect();
        self
    }

    fn with(self, cookie: &str) -> Self {
        self.with_cookies(&[cookie])
    }

    fn answered_by(mut self, endpoint: &str) -> Self {
        self.endpoint = endpoint.parse().unwrap();
        self
    }

    fn setting(mut self, lines: &[&str]) -> Self {
        self.set_cookies = lines.iter().map(ToString::to_string).collect();
        self
    }

    fn cached_by(mut self, cache_control: &str) -> Self {
        self.cache_control = vec![cache_control.to_owned()];
        self
    }

    fn after(mut self, seconds: u64) -> Self {
        self.now += seconds;
        self
    }

    fn open(&self) -> (Session, Option<Vec<Vec<u8>>>) {
        let services = self.services.iter().map(String::as_str);
        let route = RouteConfig::pack(&self.cookie, &self.path, self.schemes, services);
        let cookies: Vec<&[u8]> = self.cookies.iter().map(String::as_bytes).collect();
        let mut opener = Opener::new(keys());
        Session::open(route.as_bytes(), self.transport, &cookies, &mut opener, self.now).unwrap()
    }

    /// Where the request is pinned to.
    fn pin(&self) -> Option<String> {
        self.open().0.pin().map(ToOwned::to_owned)
    }

    /// What changes in the response.
    fn edits(&self) -> Edits {
        let lines = |lines: &'_ [String]| -> Vec<Vec<u8>> {
            lines.iter().map(|line| line.as_bytes().to_vec()).collect()
        };
        let (set_cookies, cache_control) = (lines(&self.set_cookies), lines(&self.cache_control));
        let response = Response {
            set_cookies: set_cookies.iter().map(Vec::as_slice).collect(),
            cache_control: cache_control.iter().map(Vec::as_slice).collect(),
        };
        let evidence = || self.evidence.clone();
        self.open().0.respond(Some(self.endpoint), &response, &keys(), self.now, evidence)
    }

    /// Our `Set-Cookie` lines.
    fn lines(&self) -> Vec<String> {
        self.edits().added
    }

    /// Our only `Set-Cookie` line, as cookie (`name=value`) and attributes.
    fn issued(&self) -> (String, String) {
        let [line] = &self.lines()[..] else { panic!("not one line: {:?}", self.lines()) };
        let (cookie, attributes) = line.split_once("; ").unwrap();
        (cookie.to_owned(), attributes.to_owned())
    }

    /// The cookie that the response sets.
    fn cookie(&self) -> String {
        self.issued().0
    }
}

fn keys() -> KeyRing {
    KeyRing::new(&["AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=".to_owned()]).unwrap()
}

/// Base64 of [`HERE`].
const PINNED_HERE: &str = "MTAuMC4xLjQ6ODA4MA==";

#[wasm_bindgen_test(unsupported = test)]
fn a_request_goes_to_the_endpoint_that_its_token_names() {
    assert_eq!(visit().pin(), None);
    assert_eq!(visit().with("session=1").pin(), None);
    assert_eq!(visit().with(&visit().cookie()).pin().as_deref(), Some(PINNED_HERE));
    let quoted = visit().cookie().replace('=', "=\"") + "\"";
    assert_eq!(visit().with(&quoted).pin().as_deref(), Some(PINNED_HERE));
    let ipv6 = visit().answered_by("[fd00::1]:80").cookie();
    assert_eq!(visit().with(&ipv6).pin().as_deref(), Some("W2ZkMDA6OjFdOjgw"));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_first_response_pins() {
    let (cookie, attributes) = visit().issued();
    assert!(cookie.starts_with("session_lb="), "{cookie}");
    assert_eq!(attributes, "Path=/app; HttpOnly; SameSite=Lax");
}

#[wasm_bindgen_test(unsupported = test)]
fn a_response_of_the_pinned_endpoint_sets_nothing() {
    let cookie = visit().cookie();
    assert_eq!(visit().with(&cookie).lines(), [""; 0]);
    assert_eq!(visit().with(&cookie).setting(&["other=1; Path=/"]).lines(), [""; 0]);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_response_of_another_endpoint_pins_anew() {
    let moved = visit().with(&visit().cookie()).answered_by(ELSEWHERE);
    assert_eq!(moved.issued().1, "Path=/app; HttpOnly; SameSite=Lax");
    assert_eq!(visit().with(&moved.cookie()).answered_by(ELSEWHERE).lines(), [""; 0]);
}

#[wasm_bindgen_test(unsupported = test)]
fn any_invalid_token_is_the_same_as_none() {
    let good = visit().cookie();
    let tampered = format!("{}A", &good[..good.len() - 1]);
    let other_name = good.replace("session_lb", "session2_lb");
    let cases = ["session_lb=", "session_lb=MTAuMC4xLjQ6ODA4MA==", "session_lb", &tampered];
    for cookie in cases.into_iter().chain([other_name.as_str()]) {
        assert_eq!(visit().with(cookie).pin(), None, "{cookie}");
        assert_eq!(visit().with(cookie).lines(), visit().lines(), "{cookie}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_token_of_another_service_is_none_and_a_canarys_is_not() {
    let cookie = visit().cookie();
    let mut stranger = visit().with(&cookie);
    stranger.services = vec!["other".into()];
    assert_eq!(stranger.pin(), None);
    for services in [&["demo"][..], &["canary", "demo"]] {
        let mut routed = visit().with(&cookie);
        routed.services = services.iter().map(ToString::to_string).collect();
        assert_eq!(routed.pin().as_deref(), Some(PINNED_HERE), "{services:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn of_several_tokens_the_first_that_opens_counts() {
    let (here, elsewhere) = (visit().cookie(), visit().answered_by(ELSEWHERE).cookie());
    let bad = "session_lb=x";
    for lines in [
        &[bad, &here, &elsewhere][..],
        &[&format!("{bad}; {bad}; {bad}; {here}; {elsewhere}")],
        &["a=1", &here, &elsewhere],
    ] {
        let visit = visit().with_cookies(lines);
        assert_eq!(visit.pin().as_deref(), Some(PINNED_HERE), "{lines:?}");
    }
    let fifth = format!("{bad}; {bad}; {bad}; {bad}; {here}");
    assert_eq!(visit().with(&fifth).pin(), None);
}

#[wasm_bindgen_test(unsupported = test)]
fn nothing_is_set_on_a_reply_that_envoy_made() {
    let pinned = visit().cookie();
    for details in [None, Some(b"upstream_reset_before_response_started".to_vec())] {
        for visit in [
            visit(),
            visit().with(&pinned).answered_by(ELSEWHERE),
            visit().with(&pinned).setting(&["session=1; Path=/"]),
            visit().with(&pinned).setting(&["session=; Max-Age=0"]),
        ] {
            let evidence = Evidence { code_details: details.clone(), ..visit.evidence.clone() };
            assert_eq!(Visit { evidence, ..visit }.lines(), [""; 0], "{details:?}");
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn nothing_is_set_without_randomness_or_owner() {
    let evidence = visit().evidence;
    for evidence in [
        Evidence { nonce: None, ..evidence.clone() },
        Evidence { service: None, ..evidence.clone() },
        Evidence { service: Some(b"\xff".to_vec()), ..evidence },
    ] {
        assert_eq!(Visit { evidence, ..visit() }.lines(), [""; 0]);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn the_applications_attributes_are_copied() {
    let cases = [
        ("session=1", "HttpOnly"),
        ("session=1; Path=/; HttpOnly", "Path=/; HttpOnly"),
        ("session=1; Path=/; Domain=.Example.com", "Path=/; Domain=example.com; HttpOnly"),
        ("session=1; Secure; SameSite=none", "Secure; HttpOnly; SameSite=None"),
        ("session=1; Max-Age=60", "Max-Age=60; HttpOnly"),
        ("session=1; Expires=Tue, 14 Nov 2023 22:14:20 GMT", "Max-Age=60; HttpOnly"),
    ];
    for (line, expected) in cases {
        for visit in [visit(), visit().with(&visit().with("session=0").cookie())] {
            let lines = visit.setting(&["a=1", line, "b=2"]).lines();
            let line = lines.last().unwrap();
            assert_eq!(line.split_once("; ").unwrap().1, expected, "{lines:?}");
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn an_applications_cookie_that_the_token_covers_sets_nothing() {
    let session = &["session=1; Path=/; Secure; SameSite=Strict"][..];
    let cookie = visit().setting(session).cookie();
    assert_eq!(visit().with(&cookie).setting(session).after(9).lines(), [""; 0]);

    let cookie = visit().setting(&["session=1; Max-Age=60"]).cookie();
    let again = |line, seconds| visit().with(&cookie).setting(&[line]).after(seconds).lines();
    assert_eq!(again("session=2; Max-Age=60", 0), [""; 0]);
    assert_eq!(again("session=2; Max-Age=50", 10), [""; 0]);
    assert_eq!(again("session=2; Max-Age=60", 1).len(), 1, "its end is later");
    assert_eq!(again("session=2", 1).len(), 1, "it ends with the browser's session");
}

#[wasm_bindgen_test(unsupported = test)]
fn a_change_of_any_attribute_sets_the_cookie_anew() {
    let cookie = visit().setting(&["session=1; Path=/app; SameSite=Lax"]).cookie();
    for line in [
        "session=1; Path=/app",
        "session=1; Path=/app; SameSite=Strict",
        "session=1; Path=/app; SameSite=Lax; Secure",
        "session=1; Path=/app; SameSite=Lax; Max-Age=60",
    ] {
        assert_eq!(visit().with(&cookie).setting(&[line]).lines().len(), 1, "{line}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_cookie_at_another_place_is_ended_before_the_new_one_is_set() {
    for line in ["session=1; Path=/", "session=1; Path=/app; Domain=example.com", "session=1"] {
        let lines = visit().with(&visit().cookie()).setting(&[line]).lines();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(lines[0], DELETED, "{line}");
        let (cookie, _) = lines[1].split_once("; ").unwrap();
        assert_eq!(visit().with(cookie).pin().as_deref(), Some(PINNED_HERE));
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn our_cookie_is_deleted_with_the_applications() {
    let delete = &["session=; Path=/app; SameSite=Lax; Expires=Thu, 01 Jan 1970 00:00:00 GMT"][..];
    assert_eq!(visit().setting(delete).lines(), [DELETED]);
    assert_eq!(visit().with(&visit().cookie()).setting(delete).lines(), [DELETED]);

    let elsewhere = visit().with(&visit().cookie()).setting(&["session=; Path=/; Max-Age=0"]);
    assert_eq!(elsewhere.lines(), [DELETED, "session_lb=; Path=/; Max-Age=0; HttpOnly"]);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_token_that_moves_keeps_the_applications_scope_and_end() {
    let app = &["session=1; Path=/; Domain=example.com; Max-Age=60"][..];
    let cookie = visit().setting(app).cookie();
    let moved = visit().with(&cookie).answered_by(ELSEWHERE).after(20);
    assert_eq!(moved.issued().1, "Path=/; Domain=example.com; Max-Age=40; HttpOnly");
    assert_eq!(visit().with(&moved.cookie()).after(60).pin(), None);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_token_is_not_used_after_its_end() {
    let cookie = visit().setting(&["session=1; Max-Age=60"]).cookie();
    assert!(visit().with(&cookie).after(59).pin().is_some());
    assert_eq!(visit().with(&cookie).after(60).pin(), None);
    assert_eq!(visit().with(&cookie).after(60).lines().len(), 1);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_clock_that_is_set_back_puts_no_end_off() {
    let cookie = visit().setting(&["session=1; Max-Age=60"]).cookie();
    let earlier = Visit { now: NOW - 3_600, ..visit() };
    let moved = earlier.with(&cookie).answered_by(ELSEWHERE).cookie();
    assert!(visit().with(&moved).after(59).pin().is_some());
    assert_eq!(visit().with(&moved).after(60).pin(), None);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_token_of_an_envoy_whose_clock_differs_holds() {
    for now in [NOW - 60, NOW + 60] {
        let elsewhere = Visit { now, ..visit() };
        let visit = visit().with(&elsewhere.cookie());
        assert_eq!(visit.pin().as_deref(), Some(PINNED_HERE), "{now}");
        assert_eq!(visit.lines(), [""; 0], "{now}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn an_address_that_another_task_of_the_pool_got_keeps_the_session() {
    let mut later = visit().with(&visit().cookie());
    later.evidence.service = Some(b"canary".to_vec());
    assert_eq!(later.pin().as_deref(), Some(PINNED_HERE));
    assert_eq!(later.lines(), [""; 0]);
}

#[wasm_bindgen_test(unsupported = test)]
fn browsers_accept_our_cookie_without_the_applications() {
    let attributes = |cookie: &str, path: &str, transport| {
        let (cookie, path) = (cookie.into(), path.into());
        Visit { cookie, path, transport, ..visit() }.issued().1
    };
    let (tls, plain) = (Transport::Tls, Transport::Plain);
    let too_long = format!("/{}", "x".repeat(1024));
    let cases = [
        ("s", "/app", plain, "Path=/app; HttpOnly; SameSite=Lax"),
        ("s", "/app", tls, "Path=/app; Secure; HttpOnly; SameSite=Lax"),
        ("s", "/a;b", plain, "Path=/; HttpOnly; SameSite=Lax"),
        ("s", too_long.as_str(), plain, "Path=/; HttpOnly; SameSite=Lax"),
        ("__Host-s", "/app", plain, "Path=/; Secure; HttpOnly; SameSite=Lax"),
        ("__Secure-s", "/app", plain, "Path=/app; Secure; HttpOnly; SameSite=Lax"),
    ];
    for (cookie, path, transport, expected) in cases {
        assert_eq!(attributes(cookie, path, transport), expected, "{cookie} {path}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn our_cookie_never_reaches_the_task_and_others_do() {
    let ours = visit().cookie();
    let rest = |lines: &[&str]| -> Option<Vec<String>> {
        let lines = visit().with_cookies(lines).open().1?;
        Some(lines.into_iter().map(|line| String::from_utf8(line).unwrap()).collect())
    };
    assert_eq!(rest(&["session=1; a=2", "b=3"]), None);
    assert_eq!(rest(&[&ours]), Some(vec![]));
    let kept = vec!["session=1; b=2".to_owned(), "c=3".to_owned()];
    assert_eq!(rest(&[&format!("session=1; {ours}; b=2; session_lb=x"), "c=3"]), Some(kept));
}

#[wasm_bindgen_test(unsupported = test)]
fn the_name_of_our_cookie_is_ours_on_responses_too() {
    let theirs = ["a=1", "session_lb=theirs; Path=/", "session=1"];
    let edits = visit().setting(&theirs).edits();
    assert_eq!(edits.kept, Some(vec![b"a=1".to_vec(), b"session=1".to_vec()]));
    assert_eq!(edits.added.len(), 1, "{edits:?}");
    let pinned = visit().with(&visit().cookie()).setting(&["session_lb=theirs"]).edits();
    assert_eq!(pinned, Edits { kept: Some(vec![]), ..Edits::default() });
    assert_eq!(visit().setting(&["a=1"]).edits().kept, None);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_response_with_a_new_cookie_is_kept_by_no_shared_cache() {
    let made = |visit: Visit| visit.edits().cache_control.map(|it| String::from_utf8(it).unwrap());
    assert_eq!(made(visit()).as_deref(), Some("private"));
    let public = visit().cached_by("public, max-age=60");
    assert_eq!(made(public).as_deref(), Some("private, max-age=60"));
    assert_eq!(made(visit().cached_by("no-store")), None);
    assert_eq!(made(visit().with(&visit().cookie()).cached_by("public")), None);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_plain_response_does_not_set_in_vain_what_tls_has_set() {
    let both = || Visit { schemes: Schemes::Both, ..visit() };
    assert_eq!(both().lines(), [""; 0]);
    assert_eq!(both().with("session=1").lines(), [""; 0]);
    assert_eq!(Visit { transport: Transport::Tls, ..both() }.lines().len(), 1);
    let set = both().setting(&["session=1"]);
    assert_eq!(set.lines().len(), 1, "browsers take ours if they take the application's");
    let moved = both().with(&set.cookie()).answered_by(ELSEWHERE);
    assert_eq!(moved.lines().len(), 1, "it was sent, so it can be replaced");
}

#[wasm_bindgen_test(unsupported = test)]
fn only_a_cue_or_a_set_cookie_make_work_of_a_response() {
    let some = Some(b"x".as_slice());
    assert!(Session::is_settled(None, None));
    assert!(!Session::is_settled(some, None));
    assert!(!Session::is_settled(None, some));
}

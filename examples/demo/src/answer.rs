//! What the application answers: a pure function of the request's head and the time.

use std::convert::Infallible;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::header::{CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use serde::Serialize;

/// The longest that `/sleep/MS` waits.
const LONGEST_SLEEP: Duration = Duration::from_mins(1);
/// How long a new `session` cookie lives.
const SESSION_AGE: Duration = Duration::from_hours(24);
/// The proxy's debug headers; `/forge` pretends to be the proxy.
const FORGED: [&str; 6] = [
    "x-upstream-addr",
    "x-proxy-id",
    "x-server-info",
    "x-request-id",
    "x-upstream-response-time",
    "x-waggle-endpoint",
];

/// Who answers.
pub(crate) struct Identity {
    /// The replica's name.
    pub(crate) instance: String,
    /// The application's version.
    pub(crate) version: String,
    /// Free text, left out when empty.
    pub(crate) metadata: String,
}

#[derive(Serialize)]
struct Ping<'a> {
    instance: &'a str,
    version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_id: &'a str,
}

#[derive(Serialize)]
struct Echo<'a> {
    instance: &'a str,
    method: &'a str,
    path: &'a str,
    protocol: String,
    headers: Vec<(&'a str, String)>,
    body_bytes: usize,
}

/// A response; some have trailers.
pub(crate) type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// What a request makes of the application from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// Every request gets this status.
    Break(StatusCode),
    /// Requests are answered again.
    Mend,
}

impl Command {
    /// The command that a request gives, if it gives one.
    pub(crate) fn of(head: &Parts) -> Option<Self> {
        let path = Some(head.uri.path()).filter(|_| head.method == Method::POST)?;
        match path {
            "/mend" => Some(Self::Mend),
            _ => final_status(number_after(path, "/break/")?).map(Self::Break),
        }
    }
}

/// The response to a request with a body of so many bytes, and how long to wait before it is sent.
pub(crate) fn answer(
    head: &Parts,
    body_bytes: usize,
    identity: &Identity,
    now: SystemTime,
) -> (Duration, Reply) {
    let path = head.uri.path();
    if is_grpc(&head.headers) {
        return (Duration::ZERO, grpc(path));
    }
    let reply = match path {
        "/ping" => ping(&head.headers, identity, now),
        "/headers" => typed("application/json", headers_as_json(&head.headers)),
        "/forge" => forge(),
        _ => {
            if let Some(delay) = number_after(path, "/sleep/") {
                let delay = Duration::from_millis(delay).min(LONGEST_SLEEP);
                return (delay, text(format!("slept {} ms\n", delay.as_millis())));
            }
            match number_after(path, "/status/") {
                Some(code) => status(final_status(code).unwrap_or(StatusCode::BAD_REQUEST)),
                None => echo(head, body_bytes, identity),
            }
        }
    };
    (Duration::ZERO, reply)
}

fn ping(headers: &HeaderMap, identity: &Identity, now: SystemTime) -> Reply {
    let request_id = headers.get("x-request-id").and_then(|id| id.to_str().ok());
    let mut reply = json(&Ping {
        instance: &identity.instance,
        version: &identity.version,
        metadata: &identity.metadata,
        request_id: request_id.unwrap_or_default(),
    });
    let cookie = match session(headers) {
        Some(value) => HeaderValue::from_bytes(&[b"session=", value].concat()),
        None => HeaderValue::try_from(format!(
            "session={}; Path=/; Expires={}; Max-Age={}",
            now.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos(),
            httpdate::fmt_http_date(now + SESSION_AGE),
            SESSION_AGE.as_secs(),
        )),
    };
    if let Ok(cookie) = cookie {
        reply.headers_mut().insert(SET_COOKIE, cookie);
    }
    reply
}

/// The value of the first cookie named `session`, whatever bytes it has.
fn session(headers: &HeaderMap) -> Option<&[u8]> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .find_map(|pair| pair.trim_ascii().strip_prefix(b"session="))
}

/// Everything that came.
fn echo(head: &Parts, body_bytes: usize, identity: &Identity) -> Reply {
    json(&Echo {
        instance: &identity.instance,
        method: head.method.as_str(),
        path: head.uri.path_and_query().map_or("", |it| it.as_str()),
        protocol: format!("{:?}", head.version),
        headers: pairs(&head.headers),
        body_bytes,
    })
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|it| it.as_bytes().starts_with(b"application/grpc"))
}

/// gRPC's health check says "serving"; any other call is not implemented. The status of a call comes
/// after the message, in the trailers.
fn grpc(path: &str) -> Reply {
    let status = |code| {
        HeaderMap::from_iter([(
            HeaderName::from_static("grpc-status"),
            HeaderValue::from_static(code),
        )])
    };
    // Not compressed, two bytes long: field 1, status SERVING (1).
    let message = Frame::data(Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]));
    let mut reply = if path == "/grpc.health.v1.Health/Check" {
        let frames = [message, Frame::trailers(status("0"))];
        Response::new(StreamBody::new(stream::iter(frames.map(Ok))).boxed_unsync())
    } else {
        let mut reply = Response::new(Full::default().boxed_unsync());
        *reply.headers_mut() = status("12");
        reply
    };
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    reply
}

/// All headers as a JSON list of `[name, value]`.
pub(crate) fn headers_as_json(headers: &HeaderMap) -> String {
    json_line(&pairs(headers))
}

/// Headers in the order of their first line, repeated ones together. A value that is not UTF-8 is
/// written with its bytes escaped (`\xff`).
fn pairs(headers: &HeaderMap) -> Vec<(&str, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            let bytes = value.as_bytes();
            let written =
                str::from_utf8(bytes).map_or_else(|_| bytes.escape_ascii().to_string(), Into::into);
            (name.as_str(), written)
        })
        .collect()
}

fn forge() -> Reply {
    let mut reply = text("forged\n".into());
    for name in FORGED {
        reply.headers_mut().insert(name, HeaderValue::from_static("forged"));
    }
    reply
}

fn number_after<N: std::str::FromStr>(path: &str, prefix: &str) -> Option<N> {
    path.strip_prefix(prefix)?.parse().ok()
}

/// The status of this number, if it can be the final one of a response.
fn final_status(code: u16) -> Option<StatusCode> {
    StatusCode::from_u16(code).ok().filter(|code| !code.is_informational())
}

/// A response of this status that says no more.
pub(crate) fn status(code: StatusCode) -> Reply {
    let mut reply = text(format!("{code}\n"));
    *reply.status_mut() = code;
    reply
}

/// A text for people.
pub(crate) fn text(body: String) -> Reply {
    typed("text/plain; charset=utf-8", body)
}

fn json(value: &impl Serialize) -> Reply {
    typed("application/json", json_line(value))
}

fn json_line(value: &impl Serialize) -> String {
    // Strings, numbers and lists of them always serialise.
    serde_json::to_string(value).unwrap_or_default() + "\n"
}

fn typed(content_type: &'static str, body: String) -> Reply {
    let mut reply = Response::new(Full::from(body).boxed_unsync());
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, path: &str, headers: &[(&str, &[u8])]) -> Parts {
        let mut request = hyper::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn get(path: &str, headers: &[(&str, &[u8])]) -> (Duration, Reply) {
        ask(&head("GET", path, headers), 0)
    }

    fn ask(head: &Parts, body_bytes: usize) -> (Duration, Reply) {
        let identity = Identity {
            instance: "9c67a943ffce".into(),
            version: "0.1".into(),
            metadata: "demo-sticky".into(),
        };
        let now = UNIX_EPOCH + Duration::from_nanos(1_510_171_444_496_686_286);
        answer(head, body_bytes, &identity, now)
    }

    fn body(reply: Reply) -> String {
        let collected = run(reply.into_body().collect()).unwrap();
        String::from_utf8(collected.to_bytes().into()).unwrap()
    }

    fn run<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn ping_tells_who_answered_and_the_request_id() {
        let (_, reply) = get("/ping", &[("x-request-id", b"3014728b")]);
        assert_eq!(
            body(reply),
            "{\"instance\":\"9c67a943ffce\",\"version\":\"0.1\",\"metadata\":\"demo-sticky\",\
             \"request_id\":\"3014728b\"}\n"
        );
    }

    #[test]
    fn ping_makes_a_session_for_a_day_when_there_is_none() {
        let (_, reply) = get("/ping", &[("cookie", b"other=1; xsession=2")]);
        assert_eq!(
            reply.headers()[SET_COOKIE],
            "session=1510171444496686286; Path=/; Expires=Thu, 09 Nov 2017 20:04:04 GMT; Max-Age=86400"
        );
    }

    #[test]
    fn ping_echoes_the_bare_session_of_any_cookie_line_and_any_bytes() {
        let (_, reply) = get("/ping", &[("cookie", b"a=1"), ("cookie", b"b=2;  session=x\xffy ")]);
        assert_eq!(reply.headers()[SET_COOKIE].as_bytes(), b"session=x\xffy");
    }

    #[test]
    fn headers_keep_duplicates_and_escape_bytes_that_are_not_utf8() {
        let (_, reply) = get("/headers", &[("b", b"1"), ("a", b"\xff"), ("b", b"2")]);
        assert_eq!(body(reply), "[[\"b\",\"1\"],[\"b\",\"2\"],[\"a\",\"\\\\xff\"]]\n");
    }

    #[test]
    fn status_answers_the_code_asked_for_if_it_is_a_final_one() {
        for (path, code) in [
            ("/status/500", 500),
            ("/status/204", 204),
            ("/status/101", 400),
            ("/status/9", 400),
            ("/status/x", 200),
            ("/elsewhere", 200),
        ] {
            assert_eq!(get(path, &[]).1.status().as_u16(), code, "{path}");
        }
    }

    #[test]
    fn any_other_path_tells_what_came() {
        let (_, reply) = ask(&head("PUT", "/a%2Fb//c.js?d=e&f", &[("b", b"1")]), 3);
        assert_eq!(
            body(reply),
            "{\"instance\":\"9c67a943ffce\",\"method\":\"PUT\",\"path\":\"/a%2Fb//c.js?d=e&f\",\
             \"protocol\":\"HTTP/1.1\",\"headers\":[[\"b\",\"1\"]],\"body_bytes\":3}\n"
        );
    }

    #[test]
    fn a_post_breaks_or_mends() {
        for (method, path, command) in [
            ("POST", "/break/503", Some(Command::Break(StatusCode::SERVICE_UNAVAILABLE))),
            ("POST", "/mend", Some(Command::Mend)),
            ("GET", "/break/503", None),
            ("POST", "/break/101", None),
            ("POST", "/break/x", None),
        ] {
            assert_eq!(Command::of(&head(method, path, &[])), command, "{method} {path}");
        }
    }

    #[test]
    fn a_health_check_of_grpc_says_serving_and_other_calls_are_not_implemented() {
        let kind: (&str, &[u8]) = ("content-type", b"application/grpc+proto");
        let (_, reply) = get("/grpc.health.v1.Health/Check", &[kind]);
        let collected = run(reply.into_body().collect()).unwrap();
        assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(*collected.to_bytes(), [0, 0, 0, 0, 2, 8, 1]);
        assert_eq!(get("/ping", &[kind]).1.headers()["grpc-status"], "12");
    }

    #[test]
    fn sleep_is_bounded() {
        assert_eq!(get("/sleep/20", &[]).0, Duration::from_millis(20));
        assert_eq!(get("/sleep/99999999999", &[]).0, LONGEST_SLEEP);
    }

    #[test]
    fn forge_carries_every_debug_header() {
        let (_, reply) = get("/forge", &[]);
        assert!(FORGED.iter().all(|name| reply.headers().contains_key(*name)));
    }
}

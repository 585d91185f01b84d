//! What the application answers: a pure function of the request's head and the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
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

type Reply = Response<Full<Bytes>>;

/// The response to a request, and how long to wait before it is sent.
pub(crate) fn answer(head: &Parts, identity: &Identity, now: SystemTime) -> (Duration, Reply) {
    let path = head.uri.path();
    let reply = match path {
        "/" => text(format!("Hello from {}, version {}.\n", identity.instance, identity.version)),
        "/ping" => ping(&head.headers, identity, now),
        "/headers" => json(&pairs(&head.headers)),
        "/forge" => forge(),
        _ => {
            if let Some(delay) = number_after(path, "/sleep/") {
                let delay = Duration::from_millis(delay).min(LONGEST_SLEEP);
                return (delay, text(format!("slept {} ms\n", delay.as_millis())));
            }
            number_after(path, "/status/").map_or_else(|| status(StatusCode::NOT_FOUND), wanted)
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

/// The status asked for, if it can be the final one of a response.
fn wanted(code: u16) -> Reply {
    let final_status = StatusCode::from_u16(code).ok().filter(|code| !code.is_informational());
    status(final_status.unwrap_or(StatusCode::BAD_REQUEST))
}

fn status(code: StatusCode) -> Reply {
    let mut reply = text(format!("{code}\n"));
    *reply.status_mut() = code;
    reply
}

fn text(body: String) -> Reply {
    typed("text/plain; charset=utf-8", body)
}

fn json(value: &impl Serialize) -> Reply {
    // Strings and lists of strings always serialise.
    typed("application/json", serde_json::to_string(value).unwrap_or_default() + "\n")
}

fn typed(content_type: &'static str, body: String) -> Reply {
    let mut reply = Response::new(Full::from(body));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn get(path: &str, headers: &[(&str, &[u8])]) -> (Duration, Reply) {
        let mut request = hyper::Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let identity = Identity {
            instance: "9c67a943ffce".into(),
            version: "0.1".into(),
            metadata: "demo-sticky".into(),
        };
        let now = UNIX_EPOCH + Duration::from_nanos(1_510_171_444_496_686_286);
        answer(&request.body(()).unwrap().into_parts().0, &identity, now)
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
            ("/status/x", 404),
            ("/elsewhere", 404),
        ] {
            assert_eq!(get(path, &[]).1.status().as_u16(), code, "{path}");
        }
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

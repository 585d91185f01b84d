//! Which request is of which kind: all kinds in turn, in fixed shares.

use std::cell::RefCell;
use std::fmt;

use hyper::header::HeaderMap;

use crate::client::Jar;

/// How many sessions there are to a host.
const SESSIONS: u32 = 16;

/// On what connection a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// HTTP/1.1, kept.
    Kept,
    /// HTTP/1.1, a connection for this request alone.
    Fresh,
    /// HTTP/2, kept and shared.
    Shared,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A `GET`.
    Get,
    /// A `POST` of 64 KiB.
    Post,
}

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Its connection.
    pub wire: Wire,
    /// Its method.
    pub method: Method,
    /// Which session's cookies it has; none if it has none.
    pub session: Option<u32>,
}

impl Kind {
    /// The kind of the request of this number: of each five, three on kept connections, one on a
    /// fresh one, one on HTTP/2; one of ten is a `POST`; every other one belongs to a session.
    pub(super) fn of(number: u32) -> Self {
        // Not in step with each other: each wire has both methods, with and without session.
        let wire = match number % 5 {
            0..=2 => Wire::Kept,
            3 => Wire::Fresh,
            _ => Wire::Shared,
        };
        let method = if (number / 5) % 10 == number % 5 { Method::Post } else { Method::Get };
        let (turn, round) = (number / 50 % 2, number / 3);
        let session = (round % 2 == turn).then_some(round / 2 % SESSIONS);
        Self { wire, method, session }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wire = match self.wire {
            Wire::Kept => "HTTP/1.1",
            Wire::Fresh => "HTTP/1.1, close",
            Wire::Shared => "HTTP/2",
        };
        let method = match self.method {
            Method::Get => "GET",
            Method::Post => "POST",
        };
        let session = if self.session.is_some() { ", pinned" } else { "" };
        write!(out, "{method} ({wire}{session})")
    }
}

/// A host that is asked, with its clients' cookies.
pub(super) struct Site {
    pub(super) host: String,
    /// What an answer has to hold.
    pub(super) sign: String,
    jars: RefCell<Vec<Jar>>,
}

impl Site {
    pub(super) fn new(site: &super::Site) -> Self {
        let sign = format!("\"metadata\":\"{}\"", site.service);
        let jars = (0..SESSIONS).map(|_| Jar::default()).collect();
        Self { host: site.host.clone(), sign, jars: RefCell::new(jars) }
    }

    /// The `Cookie` line of a request; empty where it has none.
    pub(super) fn cookies(&self, session: Option<u32>) -> String {
        let jars = self.jars.borrow();
        jar(session).and_then(|index| jars.get(index)).map(Jar::line).unwrap_or_default()
    }

    /// Takes the cookies of an answer.
    pub(super) fn take(&self, session: Option<u32>, headers: &HeaderMap) {
        let mut jars = self.jars.borrow_mut();
        if let Some(jar) = jar(session).and_then(|index| jars.get_mut(index)) {
            jar.take_lines(headers);
        }
    }
}

fn jar(session: Option<u32>) -> Option<usize> {
    usize::try_from(session?).ok()
}

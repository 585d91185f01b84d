//! The ways to do the job, and what is expected of each.

use anyhow::{Context, Result};
use waggle_controller::labels::{Affinity, CookieName};
use waggle_filter::config::InfoHeaders;

/// A way to do the job, or not to do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// Waggle's listener without the filter.
    Plain,
    /// The same once more: how far two equal ones are apart.
    PlainAgain,
    /// Envoy with its defaults, nothing of Waggle's listener.
    Bare,
    /// The same job by Envoy's own filters and formatters.
    Native,
    /// A Rust filter that does nothing.
    Noop,
    /// One that makes a call of Envoy twenty times in each request.
    Probe(&'static str),
    /// A route that needs nothing of the filter.
    Nothing,
    /// Five debug headers.
    Headers,
    /// A sticky route, debug headers hidden, a client without our cookie.
    New,
    /// The same, a client with it.
    Pinned,
    /// Debug headers and stickiness, a client without our cookie.
    HeadersNew,
    /// The same, a client with it.
    HeadersPinned,
    /// The same, more such clients than the filter remembers tokens.
    HeadersMany,
}

impl Case {
    pub(crate) const ALL: [Self; 12] = [
        Self::Plain,
        Self::PlainAgain,
        Self::Bare,
        Self::Native,
        Self::Noop,
        Self::Nothing,
        Self::Headers,
        Self::New,
        Self::Pinned,
        Self::HeadersNew,
        Self::HeadersPinned,
        Self::HeadersMany,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain: Waggle's listener, no filter",
            Self::PlainAgain => "the same again",
            Self::Bare => "Envoy's defaults",
            Self::Native => "Envoy's own session cookie and formatters",
            Self::Noop => "a Wasm filter that does nothing",
            Self::Probe(call) => call,
            Self::Nothing => "Waggle: a route that needs nothing",
            Self::Headers => "Waggle: debug headers",
            Self::New => "Waggle: sticky, new client",
            Self::Pinned => "Waggle: sticky, pinned client",
            Self::HeadersNew => "Waggle: both, new client",
            Self::HeadersPinned => "Waggle: both, pinned client",
            Self::HeadersMany => "Waggle: both, 8,000 pinned clients in turn",
        }
    }

    /// How many clients ask in turn.
    pub(crate) fn clients(self) -> usize {
        if self == Self::HeadersMany { 8_000 } else { 1 }
    }

    /// Whether the client brings the cookie of an earlier answer.
    pub(crate) fn is_of_known_client(self) -> bool {
        matches!(self, Self::Native | Self::Pinned | Self::HeadersPinned | Self::HeadersMany)
    }

    /// Whether each answer sets a cookie.
    pub(crate) fn sets_cookie(self) -> bool {
        matches!(self, Self::New | Self::HeadersNew)
    }

    /// What each answer must carry.
    pub(crate) fn headers(self) -> &'static [&'static str] {
        match self {
            Self::Native
            | Self::Headers
            | Self::HeadersNew
            | Self::HeadersPinned
            | Self::HeadersMany => &[
                "x-request-id",
                "x-proxy-id",
                "x-server-info",
                "x-upstream-addr",
                "x-upstream-response-time",
            ],
            _ => &[],
        }
    }

    pub(crate) fn info_headers(self) -> InfoHeaders {
        match self {
            Self::Headers | Self::HeadersNew | Self::HeadersPinned | Self::HeadersMany => {
                InfoHeaders::Shown
            }
            _ => InfoHeaders::Hidden,
        }
    }

    pub(crate) fn affinity(self) -> Result<Affinity> {
        Ok(match self {
            Self::New
            | Self::Pinned
            | Self::HeadersNew
            | Self::HeadersPinned
            | Self::HeadersMany => {
                Affinity::Cookie(CookieName::parse("session").context("a cookie name")?)
            }
            _ => Affinity::None,
        })
    }
}

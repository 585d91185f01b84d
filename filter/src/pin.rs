//! The decisions: where a request is pinned to, and what its response does with our cookie.
//!
//! These are the rules of sticky sessions in `docs/labels.md`.

use std::net::SocketAddr;
use std::rc::Rc;

use crate::cache_control;
use crate::config::{RouteConfig, Schemes};
use crate::cookie::{self, Taken};
use crate::opened::{Opened, Opener, Refused};
use crate::set_cookie::{self, Change, SameSite, Scope};
use crate::token::{KeyRing, Nonce, Token};

/// What a request on a sticky route told, kept for its response.
#[derive(Debug)]
pub struct Session {
    /// A packed [`RouteConfig`].
    route: Vec<u8>,
    opened: Option<Rc<Opened>>,
    refused: Vec<Refused>,
    transport: Transport,
}

/// How the client reached us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// With TLS.
    Tls,
    /// Without.
    Plain,
}

/// What of a response costs Envoy a look-up each. It is asked for only if our cookie may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Envoy's `response.code_details`: who made the reply.
    pub code_details: Option<Vec<u8>>,
    /// The ID of the service that owns the endpoint, from the endpoint's metadata.
    pub service: Option<Vec<u8>>,
    /// `None` if there is no randomness.
    pub nonce: Option<Nonce>,
}

/// Envoy's `response.code_details` of a reply that it did not make itself.
const VIA_UPSTREAM: &[u8] = b"via_upstream";

/// A response's headers, as far as they matter here.
#[derive(Debug, Clone)]
pub struct Response<'a> {
    /// The application's own `Set-Cookie` lines.
    pub set_cookies: Vec<&'a [u8]>,
    /// Its `Cache-Control` lines.
    pub cache_control: Vec<&'a [u8]>,
}

/// What changes in a response's headers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// What stays of the application's `Set-Cookie` lines; `None` if all do.
    pub kept: Option<Vec<Vec<u8>>>,
    /// Our `Set-Cookie` lines, to add.
    pub added: Vec<String>,
    /// The `Cache-Control` line in place of all others; `None` if these stay.
    pub cache_control: Option<Vec<u8>>,
}

impl Session {
    /// Reads a request's `Cookie` lines; the second half is the lines that stay for the task, `None`
    /// if all stay as they are. No session where the route, packed as a [`RouteConfig`], is not
    /// sticky. `now` is in seconds since 1970.
    pub fn open(
        route: &[u8],
        transport: Transport,
        cookies: &[&[u8]],
        opener: &mut Opener,
        now: u64,
    ) -> Option<(Self, Option<Vec<Vec<u8>>>)> {
        let sticky = RouteConfig::unpack(route)?;
        let Taken { values, rest } = cookie::take(cookies, sticky.cookie);
        let mut refused = Vec::new();
        let found = values.iter().find_map(|value| {
            let why = match opener.open(sticky.cookie, value, now) {
                Ok(found) if sticky.has_service(&found.token.service) => return Some(found),
                Ok(_) => Refused::Elsewhere,
                Err(why) => why,
            };
            refused.push(why);
            None
        });
        Some((Self { route: route.to_vec(), opened: found, refused, transport }, rest))
    }

    /// What Envoy's `stateful_session` reads: base64 of the endpoint's `ip:port`.
    pub fn pin(&self) -> Option<&str> {
        self.opened.as_ref().map(|opened| opened.pin.as_str())
    }

    /// Why the cookies of ours that were tried before lead nowhere.
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// Whether there is nothing to do for a response, by the two headers that tell: the one in which
    /// `stateful_session` names an endpoint that is not the pinned one, and any `Set-Cookie`.
    pub fn is_settled(cue: Option<&[u8]>, set_cookie: Option<&[u8]>) -> bool {
        cue.is_none() && set_cookie.is_none()
    }

    /// What changes in a response of the endpoint; of no endpoint where Envoy could choose none.
    /// `now` is in seconds since 1970.
    pub fn respond(
        &self,
        endpoint: Option<SocketAddr>,
        response: &Response<'_>,
        keys: &KeyRing,
        now: u64,
        evidence: impl FnOnce() -> Evidence,
    ) -> Edits {
        let Some(route) = RouteConfig::unpack(&self.route) else { return Edits::default() };
        let kept = set_cookie::without(&response.set_cookies, &route.pin_cookie());
        let added = endpoint.map(|it| self.lines(&route, it, response, keys, now, evidence));
        let added = added.unwrap_or_default();
        let cache_control =
            (!added.is_empty()).then(|| cache_control::private(&response.cache_control)).flatten();
        Edits { kept, added, cache_control }
    }

    /// Our `Set-Cookie` lines.
    fn lines(
        &self,
        route: &RouteConfig<'_>,
        endpoint: SocketAddr,
        response: &Response<'_>,
        keys: &KeyRing,
        now: u64,
        evidence: impl FnOnce() -> Evidence,
    ) -> Vec<String> {
        let application = Change::read(response.set_cookies.iter().copied(), route.cookie, now);
        let Some(change) = self.change(route, endpoint, application, now) else { return vec![] };
        let evidence = evidence();
        if evidence.code_details.as_deref() != Some(VIA_UPSTREAM) {
            return vec![];
        }
        let line = match &change {
            Change::Deletes(scope) => set_cookie::write(&route.pin_cookie(), "", scope),
            Change::Sets(scope) => issue(route, endpoint, scope.clone(), keys, now, &evidence),
        };
        // The old cookie goes first: a browser may understand both places as the same.
        let stale = self.stale(route, change.scope()).filter(|_| line.is_some());
        stale.into_iter().chain(line).collect()
    }

    fn token(&self) -> Option<&Token> {
        self.opened.as_ref().map(|opened| &opened.token)
    }

    /// What the response does with our cookie, given what it does with the application's.
    fn change(
        &self,
        route: &RouteConfig<'_>,
        endpoint: SocketAddr,
        application: Option<Change>,
        now: u64,
    ) -> Option<Change> {
        let scope = match (application, self.token()) {
            (Some(deletes @ Change::Deletes(_)), _) => return Some(deletes),
            (Some(Change::Sets(scope)), Some(token))
                if token.endpoint == endpoint && covers(token, &scope, now) =>
            {
                return None;
            }
            (Some(Change::Sets(scope)), _) => scope,
            (None, Some(token)) if token.endpoint == endpoint => return None,
            (None, Some(token)) => remaining(token, now),
            (None, None) if self.is_refused(route) => return None,
            (None, None) => self.default_scope(route),
        };
        Some(Change::Sets(scope))
    }

    /// Whether browsers would refuse a cookie of ours: they hide one that was set over TLS from plain
    /// requests, and do not let these replace it ("Leave Secure Cookies Alone", RFC 6265bis, 5.7).
    /// Then each plain response would set one in vain. The application's own cookie decides.
    fn is_refused(&self, route: &RouteConfig<'_>) -> bool {
        self.transport == Transport::Plain && route.schemes == Schemes::Both
    }

    /// The end of the request's own cookie if a cookie of the new scope would not replace it: the
    /// browser would go on sending it, and it might come first.
    fn stale(&self, route: &RouteConfig<'_>, new: &Scope) -> Option<String> {
        let old = &self.token()?.scope;
        let ended = Scope { max_age: Some(0), ..old.clone() };
        let stays = !old.is_same_place(new);
        stays.then(|| set_cookie::write(&route.pin_cookie(), "", &ended))?
    }

    /// The scope of our cookie where the application's own is not known.
    fn default_scope(&self, route: &RouteConfig<'_>) -> Scope {
        // Browsers refuse names with these prefixes unless the attributes fit (RFC 6265bis, 4.1.3).
        let is_host = route.cookie.starts_with("__Host-");
        let is_secure = is_host || route.cookie.starts_with("__Secure-");
        let is_whole_site = is_host || !is_cookie_path(route.path);
        let path = if is_whole_site { "/" } else { route.path };
        Scope {
            path: Some(path.to_owned()),
            domain: None,
            secure: is_secure || self.transport == Transport::Tls,
            same_site: Some(SameSite::Lax),
            max_age: None,
        }
    }
}

fn issue(
    route: &RouteConfig<'_>,
    endpoint: SocketAddr,
    scope: Scope,
    keys: &KeyRing,
    now: u64,
    evidence: &Evidence,
) -> Option<String> {
    let service = str::from_utf8(evidence.service.as_deref()?).ok()?.to_owned();
    let token = Token { service, endpoint, issued_at: now, scope };
    let value = token.seal(keys, route.cookie, evidence.nonce?)?;
    set_cookie::write(&route.pin_cookie(), &value, &token.scope)
}

/// Whether the token lives where the application's cookie does, and at least as long.
fn covers(token: &Token, scope: &Scope, now: u64) -> bool {
    let lives_on = match (token.scope.max_age, scope.max_age) {
        (None, None) => true,
        (Some(_), Some(life)) => token.end() >= now.saturating_add(life.into()),
        _ => false,
    };
    lives_on && token.scope == Scope { max_age: token.scope.max_age, ..scope.clone() }
}

/// The scope of a token that takes this one's place: the session moves, its end does not.
fn remaining(token: &Token, now: u64) -> Scope {
    let life = u32::try_from(token.end().saturating_sub(now)).unwrap_or(u32::MAX);
    Scope { max_age: token.scope.max_age.map(|_| life), ..token.scope.clone() }
}

/// Whether a cookie's path can say this: an attribute ends at a semicolon, and has a length limit.
fn is_cookie_path(path: &str) -> bool {
    path.len() <= 1024 && !path.contains(|char: char| char == ';' || char.is_control())
}

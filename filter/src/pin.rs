//! The decisions: where a request is pinned to, and what its response does with our cookie.
//!
//! These are the rules of sticky sessions in `docs/labels.md`.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::RouteConfig;
use crate::cookie::{self, Taken};
use crate::set_cookie::{self, Change, SameSite, Scope};
use crate::token::{KeyRing, Nonce, Token};

/// What a request on a sticky route told, kept for its response.
#[derive(Debug)]
pub struct Session {
    route: RouteConfig,
    token: Option<Token>,
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

impl Session {
    /// Reads a request's `Cookie` lines; the second half is the lines that stay for the task, `None`
    /// if all stay as they are. `now` is in seconds since 1970.
    pub fn open<'a>(
        route: RouteConfig,
        transport: Transport,
        cookies: impl IntoIterator<Item = &'a [u8]> + Clone,
        keys: &KeyRing,
        now: u64,
    ) -> (Self, Option<Vec<Vec<u8>>>) {
        let name = route.pin_cookie();
        let Taken { values, rest } = cookie::take(cookies, &name);
        let token = values
            .iter()
            .filter_map(|value| Token::open(keys, &name, value, now))
            .find(|token| route.services.contains(&token.service));
        (Self { route, token, transport }, rest)
    }

    /// What Envoy's `stateful_session` reads: base64 of the endpoint's `ip:port`.
    pub fn pin(&self) -> Option<String> {
        self.token.as_ref().map(|token| STANDARD.encode(token.endpoint.to_string()))
    }

    /// Our `Set-Cookie` lines for a response of the endpoint, given the application's own. `now` is
    /// in seconds since 1970.
    pub fn respond<'a>(
        &self,
        endpoint: SocketAddr,
        set_cookies: impl Iterator<Item = &'a [u8]>,
        keys: &KeyRing,
        now: u64,
        evidence: impl FnOnce() -> Evidence,
    ) -> Vec<String> {
        let application = Change::read(set_cookies, &self.route.cookie, now);
        let Some(change) = self.change(endpoint, application, now) else { return Vec::new() };
        let evidence = evidence();
        if evidence.code_details.as_deref() != Some(VIA_UPSTREAM) {
            return Vec::new();
        }
        let line = match &change {
            Change::Deletes(scope) => set_cookie::write(&self.route.pin_cookie(), "", scope),
            Change::Sets(scope) => self.issue(endpoint, scope.clone(), keys, now, &evidence),
        };
        // The old cookie goes first: a browser may understand both places as the same.
        self.stale(change.scope()).filter(|_| line.is_some()).into_iter().chain(line).collect()
    }

    /// What the response does with our cookie, given what it does with the application's.
    fn change(
        &self,
        endpoint: SocketAddr,
        application: Option<Change>,
        now: u64,
    ) -> Option<Change> {
        let scope = match (application, &self.token) {
            (Some(deletes @ Change::Deletes(_)), _) => return Some(deletes),
            (Some(Change::Sets(scope)), Some(token))
                if token.endpoint == endpoint && covers(token, &scope, now) =>
            {
                return None;
            }
            (Some(Change::Sets(scope)), _) => scope,
            (None, Some(token)) if token.endpoint == endpoint => return None,
            (None, Some(token)) => remaining(token, now),
            (None, None) => self.default_scope(),
        };
        Some(Change::Sets(scope))
    }

    fn issue(
        &self,
        endpoint: SocketAddr,
        scope: Scope,
        keys: &KeyRing,
        now: u64,
        evidence: &Evidence,
    ) -> Option<String> {
        let name = self.route.pin_cookie();
        let service = str::from_utf8(evidence.service.as_deref()?).ok()?.to_owned();
        let token = Token { service, endpoint, issued_at: now, scope };
        let value = token.seal(keys, &name, evidence.nonce?)?;
        set_cookie::write(&name, &value, &token.scope)
    }

    /// The end of the request's own cookie if a cookie of the new scope would not replace it: the
    /// browser would go on sending it, and it might come first.
    fn stale(&self, new: &Scope) -> Option<String> {
        let old = &self.token.as_ref()?.scope;
        let ended = Scope { max_age: Some(0), ..old.clone() };
        let stays = !old.is_same_place(new);
        stays.then(|| set_cookie::write(&self.route.pin_cookie(), "", &ended))?
    }

    /// The scope of our cookie where the application's own is not known.
    fn default_scope(&self) -> Scope {
        // Browsers refuse names with these prefixes unless the attributes fit (RFC 6265bis, 4.1.3).
        let is_host = self.route.cookie.starts_with("__Host-");
        let is_secure = is_host || self.route.cookie.starts_with("__Secure-");
        let is_whole_site = is_host || !is_cookie_path(&self.route.path);
        let path = if is_whole_site { "/" } else { self.route.path.as_str() };
        Scope {
            path: Some(path.to_owned()),
            domain: None,
            secure: is_secure || self.transport == Transport::Tls,
            same_site: Some(SameSite::Lax),
            max_age: None,
        }
    }
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

//! One host → its virtual host: redirects, and which pool answers which path.

use std::cmp::Reverse;
use std::collections::HashMap;

use envoy_types::pb::envoy::config::common::mutation_rules::v3::{HeaderMutation, header_mutation};
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::route::v3 as route;
use envoy_types::pb::envoy::extensions::filters::http::header_mutation::v3::{
    HeaderMutationPerRoute, Mutations,
};
use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use envoy_types::pb::envoy::r#type::matcher::v3::{
    RegexMatchAndSubstitute, RegexMatcher, StringMatcher, string_matcher::MatchPattern,
};
use envoy_types::pb::envoy::r#type::v3::Int64Range;
use envoy_types::pb::google::protobuf::{Any, UInt64Value};
use envoy_types::util::pack_any;
use waggle_filter::config::{
    FILTER_NAME, HEADERS_FILTER_NAME, InfoHeaders, PIN_HEADER, ROUTE_HEADER, RouteConfig, Schemes,
};

use super::limits::BodySize;
use super::{Settings, header, number, seconds};
use crate::labels::{Affinity, CookieName, Host, PathPrefix, Plain, Redirect, Rewrite, Scheme};
use crate::routing::{Pool, Route, Routes, SiteRoutes, SiteTls};

/// Envoy's pattern for every host.
pub(super) const ANY_HOST: &str = "*";

/// The port that an `https` URL need not name.
const HTTPS_PORT: u16 = 443;

/// The name of the filter that tells ours of its route.
pub(super) const ROUTE_TOLD: &str = "envoy.filters.http.header_mutation";

/// The name of the filter that sends a request to the endpoint that our filter names.
pub(super) const STATEFUL_SESSION: &str = "envoy.filters.http.stateful_session";

/// Methods that may be tried again although the first try may have had an effect (RFC 9110, 9.2.2).
const IDEMPOTENT: &str = "GET|HEAD|OPTIONS|TRACE|PUT|DELETE";

/// How much of a request's body is kept for another try, in bytes: a longer request has one only. By
/// default it would be what a connection buffers, and every larger upload to a task that just died
/// would fail.
const REPEATABLE_BODY: u64 = 256 * 1024;

/// Failures before the task can have seen the request.
const UNSEEN: &str = "connect-failure,refused-stream,reset-before-request";

/// These, and a connection that ends before the response begins.
const UNANSWERED: &str = "connect-failure,refused-stream,reset";

/// A host, as it answers requests of a scheme. Its name is told with the routes that it belongs to.
pub(super) fn virtual_host(
    host: &Host,
    site: &SiteRoutes,
    routes: &Routes,
    settings: &Settings,
    scheme: Scheme,
) -> route::VirtualHost {
    let redirect = match scheme {
        Scheme::Http => &site.http_redirect,
        Scheme::Https => &site.https_redirect,
    };
    let plain = scheme == Scheme::Http;
    let ways = match (redirect, &site.tls) {
        (Some(redirect), _) => vec![moved(redirect)],
        (None, SiteTls::None) => to_pools(site, routes, Schemes::One),
        (None, tls) => {
            let to_https = (plain && site.plain == Plain::ToHttps)
                .then(|| to_https(host, settings.public_https_port));
            let served = match tls {
                SiteTls::Passthrough(_) if plain => vec![tls_only()],
                _ if plain => to_pools(site, routes, Schemes::Both),
                _ => to_pools(site, routes, Schemes::One),
            };
            to_https.into_iter().flatten().chain(served).collect()
        }
    };
    let too_long = too_long(settings.limits.max_body_size);
    let pools = site.paths.values().filter_map(|route| routes.pools.get(&route.pool));
    let mut sticky = pools.filter(|pool| matches!(pool.options.affinity, Affinity::Cookie(_)));
    let filter = match (sticky.next(), settings.filter.info_headers) {
        (Some(_), _) => Some(FILTER_NAME),
        (None, InfoHeaders::Shown) => Some(HEADERS_FILTER_NAME),
        (None, InfoHeaders::Hidden) => None,
    };
    // Envoy answers some by itself: there the filter has nothing to tell.
    let mut ways: Vec<route::Route> = too_long.into_iter().chain(ways).collect();
    if let Some(filter) = filter {
        let answers =
            |way: &&mut route::Route| !matches!(way.action, Some(route::route::Action::Route(_)));
        for way in ways.iter_mut().filter(answers) {
            way.typed_per_filter_config = switch_off(filter);
        }
    }
    route::VirtualHost {
        domains: vec![host.to_string()],
        routes: ways,
        retry_policy: Some(retry(UNSEEN)),
        request_body_buffer_limit: Some(UInt64Value { value: REPEATABLE_BODY }),
        typed_per_filter_config: filter.map(switch_on).unwrap_or_default(),
        ..Default::default()
    }
}

/// How long a connection under a path may stand still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// As long as anywhere.
    Usual,
    /// For ever (`websocket_endpoints`).
    Endless,
}

/// All ways to pools: the longest prefix first, as Envoy takes the first that matches. Each way is
/// two routes, which differ in what is tried again.
fn to_pools(site: &SiteRoutes, routes: &Routes, schemes: Schemes) -> Vec<route::Route> {
    let mut ways: Vec<(&PathPrefix, &PathPrefix, &Route, Patience)> = Vec::new();
    for (root, way) in &site.paths {
        let endless = |path: &&PathPrefix| {
            // A longer context root below this one has its own say.
            let nearest =
                site.paths.keys().filter(|it| it.covers(path)).max_by_key(|it| it.as_str().len());
            nearest == Some(root)
        };
        let long_lived: Vec<_> = way.options.long_lived.iter().filter(endless).collect();
        if !long_lived.contains(&root) {
            ways.push((root, root, way, Patience::Usual));
        }
        ways.extend(long_lived.into_iter().map(|path| (path, root, way, Patience::Endless)));
    }
    ways.sort_by_key(|(path, ..)| (Reverse(path.as_str().len()), *path));
    ways.into_iter()
        .filter_map(|(path, root, way, patience)| {
            let pool = routes.pools.get(&way.pool)?;
            Some(to_pool(path, root, (way, pool), patience, schemes))
        })
        .flatten()
        .collect()
}

fn to_pool(
    path: &PathPrefix,
    root: &PathPrefix,
    (way, pool): (&Route, &Pool),
    patience: Patience,
    schemes: Schemes,
) -> [route::Route; 2] {
    let action = action(root, way, pool, patience);
    let forwarded_prefix = (action.regex_rewrite.is_some())
        .then(|| header::set(header::FORWARDED_PREFIX, &root.as_str().replace('%', "%%")));
    let any_method = route::Route {
        r#match: Some(under(path)),
        action: Some(route::route::Action::Route(action.clone())),
        request_headers_to_add: forwarded_prefix.into_iter().collect(),
        ..Default::default()
    };
    let any_method = match &pool.options.affinity {
        Affinity::None | Affinity::ClientAddress => any_method,
        Affinity::Cookie(cookie) => route::Route {
            typed_per_filter_config: sorted(&[
                (ROUTE_TOLD.to_owned(), for_filter(cookie, root, pool, schemes)),
                (STATEFUL_SESSION.to_owned(), on()),
            ]),
            ..any_method
        },
    };
    let idempotent = route::Route {
        r#match: Some(route::RouteMatch { headers: vec![idempotent()], ..under(path) }),
        action: Some(route::route::Action::Route(route::RouteAction {
            retry_policy: Some(retry(UNANSWERED)),
            ..action
        })),
        ..any_method.clone()
    };
    [idempotent, any_method]
}

/// Tells the filter of its route, by a header. Trailers with the names of internal headers lead
/// nowhere, and go no further either.
fn for_filter(cookie: &CookieName, root: &PathPrefix, pool: &Pool, schemes: Schemes) -> Any {
    let services: Vec<String> = pool.services.iter().map(ToString::to_string).collect();
    let services = services.iter().map(String::as_str);
    let packed = RouteConfig::pack(cookie.as_str(), root.as_str(), schemes, services);
    let told = header::set(ROUTE_HEADER, &packed.replace('%', "%%"));
    let mutation = |action| HeaderMutation { action: Some(action) };
    let internal = || {
        let names = [PIN_HEADER, ROUTE_HEADER].into_iter();
        names.map(|it| mutation(header_mutation::Action::Remove(it.to_owned()))).collect()
    };
    pack_any(HeaderMutationPerRoute {
        mutations: Some(Mutations {
            request_mutations: vec![mutation(header_mutation::Action::Append(told))],
            request_trailers_mutations: internal(),
            response_trailers_mutations: internal(),
            ..Default::default()
        }),
    })
}

/// A response takes as long as it takes: the end of a stream that stands still is the listener's.
fn action(root: &PathPrefix, way: &Route, pool: &Pool, patience: Patience) -> route::RouteAction {
    use route::route_action::{ClusterSpecifier, HashPolicy, hash_policy};
    let hash_by = match &pool.options.affinity {
        Affinity::None => None,
        Affinity::Cookie(cookie) => {
            Some(hash_policy::PolicySpecifier::Cookie(hash_policy::Cookie {
                name: cookie.as_str().to_owned(),
                ..Default::default()
            }))
        }
        Affinity::ClientAddress => Some(hash_policy::PolicySpecifier::ConnectionProperties(
            hash_policy::ConnectionProperties { source_ip: true },
        )),
    };
    let hash_policy = hash_by
        .map(|by| HashPolicy { policy_specifier: Some(by), ..Default::default() })
        .into_iter()
        .collect();
    route::RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(way.pool.as_str().to_owned())),
        hash_policy,
        timeout: Some(seconds(0)),
        idle_timeout: match patience {
            Patience::Usual => None,
            Patience::Endless => Some(seconds(0)),
        },
        regex_rewrite: match way.options.rewrite {
            Rewrite::Strip if !root.is_root() => Some(without(root)),
            Rewrite::Strip | Rewrite::Keep => None,
        },
        ..Default::default()
    }
}

/// Takes a prefix away, up to a segment's end: `/app` becomes `/`, and `/app/x` becomes `/x`.
fn without(root: &PathPrefix) -> RegexMatchAndSubstitute {
    let mut regex = String::from("^");
    for character in root.as_str().chars() {
        if !character.is_ascii_alphanumeric() {
            regex.push('\\');
        }
        regex.push(character);
    }
    regex.push_str("(?:/|$)");
    RegexMatchAndSubstitute {
        pattern: Some(RegexMatcher { regex, ..Default::default() }),
        substitution: "/".to_owned(),
    }
}

fn under(path: &PathPrefix) -> route::RouteMatch {
    use route::route_match::PathSpecifier;
    let prefix = path.as_str().to_owned();
    route::RouteMatch {
        path_specifier: Some(if path.is_root() {
            PathSpecifier::Prefix(prefix)
        } else {
            PathSpecifier::PathSeparatedPrefix(prefix)
        }),
        ..Default::default()
    }
}

fn any_path() -> route::RouteMatch {
    under(&PathPrefix::root())
}

/// Path and query go on to the new place.
fn moved(to: &Redirect) -> route::Route {
    use route::redirect_action::{PathRewriteSpecifier, SchemeRewriteSpecifier};
    let before =
        (!to.path.is_root()).then(|| PathRewriteSpecifier::PrefixRewrite(format!("{}/", to.path)));
    redirect(
        any_path(),
        route::RedirectAction {
            scheme_rewrite_specifier: Some(SchemeRewriteSpecifier::SchemeRedirect(
                to.scheme.as_str().to_owned(),
            )),
            host_redirect: to.host.to_string(),
            port_redirect: to.port.map_or(0, |port| port.get().into()),
            path_rewrite_specifier: before,
            response_code: route::redirect_action::RedirectResponseCode::Found.into(),
            ..Default::default()
        },
    )
}

/// The way to HTTPS, unless a proxy in front that may be believed has taken it already.
fn to_https(host: &Host, public_port: u16) -> Vec<route::Route> {
    use route::redirect_action::{RedirectResponseCode, SchemeRewriteSpecifier};
    let way = |matches: Vec<route::HeaderMatcher>, host_redirect: String, port: u16| {
        let mut headers = vec![route::HeaderMatcher {
            invert_match: true,
            ..header_is("x-forwarded-proto", MatchPattern::Exact("https".to_owned()))
        }];
        headers.extend(matches);
        redirect(
            route::RouteMatch { headers, ..any_path() },
            route::RedirectAction {
                scheme_rewrite_specifier: Some(SchemeRewriteSpecifier::HttpsRedirect(true)),
                host_redirect,
                port_redirect: port.into(),
                response_code: RedirectResponseCode::MovedPermanently.into(),
                ..Default::default()
            },
        )
    };
    let port = if public_port == HTTPS_PORT { 0 } else { public_port };
    match host.named().filter(|host| !host.is_wildcard()) {
        Some(host) => vec![way(vec![], host.to_string(), port)],
        // Envoy keeps the port of the request, where it has one, unless it is told another.
        None if port == 0 => {
            let with_port = header_is(":authority", regex(".*:[0-9]+"));
            vec![way(vec![with_port], String::new(), HTTPS_PORT), way(vec![], String::new(), 0)]
        }
        None => vec![way(vec![], String::new(), port)],
    }
}

fn redirect(to: route::RouteMatch, action: route::RedirectAction) -> route::Route {
    route::Route {
        r#match: Some(to),
        action: Some(route::route::Action::Redirect(action)),
        ..Default::default()
    }
}

/// The answer to a plain request for a host that is passed through.
fn tls_only() -> route::Route {
    answer(503, "This host answers over TLS only.\n")
}

/// The answer to a request that tells that its body is over the limit. A body of unknown length is
/// not measured: to do that, Envoy would have to hold all of it.
fn too_long(limit: BodySize) -> Option<route::Route> {
    use route::header_matcher::HeaderMatchSpecifier;
    let BodySize::AtMost(most) = limit else { return None };
    let longer = Int64Range { start: most.get().saturating_add(1).cast_signed(), end: i64::MAX };
    let header = route::HeaderMatcher {
        name: "content-length".to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::RangeMatch(longer)),
        ..Default::default()
    };
    let matches = route::RouteMatch { headers: vec![header], ..any_path() };
    let refusal = answer(413, "The request's body is too long.\n");
    Some(route::Route { r#match: Some(matches), ..refusal })
}

fn answer(status: u32, body: &str) -> route::Route {
    route::Route {
        r#match: Some(any_path()),
        action: Some(route::route::Action::DirectResponse(route::DirectResponseAction {
            status,
            body: Some(core::DataSource {
                specifier: Some(core::data_source::Specifier::InlineString(body.to_owned())),
                ..Default::default()
            }),
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// The answer to a request for a host that nobody claims.
pub(super) fn nobody() -> route::VirtualHost {
    route::VirtualHost {
        domains: vec![ANY_HOST.to_owned()],
        routes: vec![answer(503, "No service answers for this host.\n")],
        ..Default::default()
    }
}

/// The answer on a connection whose certificate is for other hosts than these (RFC 9110, 15.5.20).
pub(super) fn misdirected(domains: Vec<String>) -> route::VirtualHost {
    route::VirtualHost {
        domains,
        routes: vec![answer(421, "This connection's certificate is for another host.\n")],
        ..Default::default()
    }
}

/// Two more tries, each on an endpoint that was not tried yet, if there is one.
fn retry(on: &str) -> route::RetryPolicy {
    use route::retry_policy::{RetryHostPredicate, retry_host_predicate::ConfigType};
    route::RetryPolicy {
        retry_on: on.to_owned(),
        num_retries: Some(number(2)),
        retry_host_predicate: vec![RetryHostPredicate {
            // Any name would do, and this one is in each host twice.
            name: "previous_hosts".to_owned(),
            config_type: Some(ConfigType::TypedConfig(pack_any(PreviousHostsPredicate {}))),
        }],
        host_selection_retry_max_attempts: 5,
        ..Default::default()
    }
}

fn idempotent() -> route::HeaderMatcher {
    header_is(":method", regex(IDEMPOTENT))
}

fn header_is(name: &str, pattern: MatchPattern) -> route::HeaderMatcher {
    use route::header_matcher::HeaderMatchSpecifier;
    let matcher = StringMatcher { match_pattern: Some(pattern), ..Default::default() };
    route::HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(matcher)),
        ..Default::default()
    }
}

fn regex(regex: &str) -> MatchPattern {
    MatchPattern::SafeRegex(RegexMatcher { regex: regex.to_owned(), ..Default::default() })
}

/// Runs a filter that is off by default.
fn switch_on(filter: &str) -> HashMap<String, Any> {
    HashMap::from([(filter.to_owned(), on())])
}

/// Its configuration has to be there, and empty.
fn on() -> Any {
    pack_any(route::FilterConfig { config: Some(Any::default()), ..Default::default() })
}

fn switch_off(filter: &str) -> HashMap<String, Any> {
    let off = pack_any(route::FilterConfig { disabled: true, ..Default::default() });
    HashMap::from([(filter.to_owned(), off)])
}

/// A map that is encoded in the order of its keys: each new one has an order of its own, and one of a
/// few entries soon has this one. Resources are versioned by their bytes.
fn sorted<const N: usize>(entries: &[(String, Any); N]) -> HashMap<String, Any> {
    loop {
        let map: HashMap<_, _> = entries.iter().cloned().collect();
        if map.keys().is_sorted() {
            return map;
        }
    }
}

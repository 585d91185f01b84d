//! The routing's routes → one route configuration, a virtual host a claim.
//!
//! One bad domain or value makes Envoy refuse the whole of it, so nothing gets in here that is not a
//! type that cannot be wrong.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::route::v3 as route;
use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use envoy_types::pb::google::protobuf::{Any, UInt64Value};
use envoy_types::util::pack_any;
use waggle_filter::config::{FILTER_NAME, InfoHeaders, PIN_HEADER, ROUTE_KEY, RouteConfig};

use super::{Kind, Resource, Settings, header, metadata, number, seconds};
use crate::labels::{Affinity, Claim, CookieName};
use crate::routing::{Pool, PoolName, Routing};

/// The name of the one route configuration.
pub(super) const ROUTES: &str = "http";

/// The name of the filter that sends a request to the endpoint that our filter names.
pub(super) const STATEFUL_SESSION: &str = "envoy.filters.http.stateful_session";

/// Envoy's pattern for every host, and its virtual host's name.
const ANY_HOST: &str = "*";

/// Methods that may be tried again although the first try may have had an effect (RFC 9110, 9.2.2).
const IDEMPOTENT: &str = "GET|HEAD|OPTIONS|TRACE|PUT|DELETE";

/// How much of a request's body is kept for another try, in bytes: a longer request has one only. By
/// default it would be what a connection buffers, and every larger upload to a task that just died
/// would fail.
const REPEATABLE_BODY: u64 = 256 * 1024;

/// Failures before the task can have seen the request.
const UNSEEN: &str = "connect-failure,refused-stream";

/// These, and a connection that ends before the response begins.
const UNANSWERED: &str = "connect-failure,refused-stream,reset";

pub(super) fn resource(routing: &Routing, settings: &Settings) -> Resource {
    let claimed = routing.routes.iter().filter_map(|(claim, name)| {
        let pool = routing.pools.get(name)?;
        Some(virtual_host(domain(claim), name, pool, settings))
    });
    let unclaimed = (!routing.routes.contains_key(&Claim::AnyOther)).then(nobody);
    let message = route::RouteConfiguration {
        name: ROUTES.to_owned(),
        virtual_hosts: claimed.chain(unclaimed).collect(),
        ignore_port_in_host_matching: true,
        internal_only_headers: vec![PIN_HEADER.to_owned()],
        request_headers_to_add: header::to_task(settings),
        request_headers_to_remove: vec![PIN_HEADER.to_owned()],
        response_headers_to_add: header::to_client(settings),
        response_headers_to_remove: vec![PIN_HEADER.to_owned()],
        ..Default::default()
    };
    Resource::new(Kind::Routes, ROUTES, &message)
}

fn domain(claim: &Claim) -> &str {
    match claim {
        Claim::Host(host) => host.as_str(),
        Claim::AnyOther => ANY_HOST,
    }
}

/// Two routes to the pool, which differ in what is tried again. The two filters are switched on at
/// different levels, so that no map has two entries.
fn virtual_host(
    domain: &str,
    name: &PoolName,
    pool: &Pool,
    settings: &Settings,
) -> route::VirtualHost {
    let needs_filter =
        pool.affinity != Affinity::None || settings.filter.info_headers == InfoHeaders::Shown;
    let to_pool = to_pool(name, pool);
    let idempotent = route::Route {
        r#match: Some(route::RouteMatch { headers: vec![idempotent()], ..any_path() }),
        action: Some(route::route::Action::Route(route::RouteAction {
            retry_policy: Some(retry(UNANSWERED)),
            ..action(name, pool)
        })),
        ..to_pool.clone()
    };
    route::VirtualHost {
        name: domain.to_owned(),
        domains: vec![domain.to_owned()],
        routes: vec![idempotent, to_pool],
        retry_policy: Some(retry(UNSEEN)),
        request_body_buffer_limit: Some(UInt64Value { value: REPEATABLE_BODY }),
        typed_per_filter_config: if needs_filter { switch_on(FILTER_NAME) } else { HashMap::new() },
        ..Default::default()
    }
}

fn to_pool(name: &PoolName, pool: &Pool) -> route::Route {
    let plain = route::Route {
        r#match: Some(any_path()),
        action: Some(route::route::Action::Route(action(name, pool))),
        ..Default::default()
    };
    match &pool.affinity {
        Affinity::None => plain,
        Affinity::Cookie(cookie) => route::Route {
            metadata: Some(metadata(ROUTE_KEY, &for_filter(cookie, pool))),
            typed_per_filter_config: switch_on(STATEFUL_SESSION),
            ..plain
        },
    }
}

fn for_filter(cookie: &CookieName, pool: &Pool) -> String {
    RouteConfig {
        cookie: cookie.as_str().to_owned(),
        path: "/".to_owned(),
        services: pool.services.iter().map(ToString::to_string).collect(),
    }
    .pack()
}

/// A response takes as long as it takes: the end of a stream that stands still is the listener's.
fn action(name: &PoolName, pool: &Pool) -> route::RouteAction {
    use route::route_action::{ClusterSpecifier, HashPolicy, hash_policy};
    let hash_policy = match &pool.affinity {
        Affinity::None => vec![],
        Affinity::Cookie(cookie) => vec![HashPolicy {
            policy_specifier: Some(hash_policy::PolicySpecifier::Cookie(hash_policy::Cookie {
                name: cookie.as_str().to_owned(),
                ..Default::default()
            })),
            ..Default::default()
        }],
    };
    route::RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(name.as_str().to_owned())),
        hash_policy,
        timeout: Some(seconds(0)),
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
            name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
            config_type: Some(ConfigType::TypedConfig(pack_any(PreviousHostsPredicate {}))),
        }],
        host_selection_retry_max_attempts: 5,
        ..Default::default()
    }
}

fn any_path() -> route::RouteMatch {
    route::RouteMatch {
        path_specifier: Some(route::route_match::PathSpecifier::Prefix("/".to_owned())),
        ..Default::default()
    }
}

fn idempotent() -> route::HeaderMatcher {
    let regex = RegexMatcher { regex: IDEMPOTENT.to_owned(), ..Default::default() };
    let matcher =
        StringMatcher { match_pattern: Some(MatchPattern::SafeRegex(regex)), ..Default::default() };
    route::HeaderMatcher {
        name: ":method".to_owned(),
        header_match_specifier: Some(route::header_matcher::HeaderMatchSpecifier::StringMatch(
            matcher,
        )),
        ..Default::default()
    }
}

/// Runs a filter that is off by default. Its configuration has to be there, and empty.
fn switch_on(filter: &str) -> HashMap<String, Any> {
    let config = route::FilterConfig { config: Some(Any::default()), ..Default::default() };
    HashMap::from([(filter.to_owned(), pack_any(config))])
}

/// The answer to a request for a host that nobody claims.
fn nobody() -> route::VirtualHost {
    let body = "No service answers for this host.\n".to_owned();
    route::VirtualHost {
        name: ANY_HOST.to_owned(),
        domains: vec![ANY_HOST.to_owned()],
        routes: vec![route::Route {
            r#match: Some(any_path()),
            action: Some(route::route::Action::DirectResponse(route::DirectResponseAction {
                status: 503,
                body: Some(core::DataSource {
                    specifier: Some(core::data_source::Specifier::InlineString(body)),
                    ..Default::default()
                }),
                ..Default::default()
            })),
            ..Default::default()
        }],
        ..Default::default()
    }
}

//! Headers that Envoy sets or removes: who may say what to whom.

use envoy_types::pb::envoy::config::common::mutation_rules::v3::{HeaderMutation, header_mutation};
use envoy_types::pb::envoy::config::core::v3::{
    HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction,
};
use waggle_filter::config::{InfoHeaders, PIN_HEADER, ROUTE_HEADER};
use waggle_filter::info;

use super::Settings;
use crate::labels::Scheme;

/// Tells a task which context root was stripped.
pub(super) const FORWARDED_PREFIX: &str = "x-forwarded-prefix";

/// The debug headers that tell of the endpoint.
const UPSTREAM_HEADERS: [&str; 2] = [info::UPSTREAM_ADDR, info::UPSTREAM_RESPONSE_TIME];

/// The debug headers that are the same on every response.
const PROXY_HEADERS: [&str; 2] = ["x-proxy-id", "x-server-info"];

/// Keeps a client's request ID where it is well-formed, and makes another where it is not. Where there
/// is none the expression is empty and changes nothing: Envoy makes one later. That is looked at first,
/// since most requests have none, and a look-up that fails costs twice the rest. The look-up of the
/// header without a name does fail, and that is "not well-formed": Envoy would print a `null`.
const REQUEST_ID: &str = r#"%COALESCE({"operators":[{"command":"CEL","param":"!('id' in request) ? '' : size(request.id) <= 128 && request.id.matches('^[0-9A-Za-z._-]+$') ? request.id : request.headers['']"},"UNIQUE_ID"]})%"#;

/// What happens to a request's headers before any filter sees them.
pub(super) fn early_mutations(settings: &Settings) -> Vec<HeaderMutation> {
    // What a client has to say of prefixes is for a proxy in front that may be believed.
    let forged = (settings.trusted_hops == 0).then_some(FORWARDED_PREFIX);
    let ours = [PIN_HEADER, ROUTE_HEADER]
        .into_iter()
        .chain(UPSTREAM_HEADERS)
        .chain(PROXY_HEADERS)
        .chain(forged);
    let request_id = HeaderValueOption {
        append_action: HeaderAppendAction::OverwriteIfExists.into(),
        ..set("x-request-id", REQUEST_ID)
    };
    ours.map(|name| header_mutation::Action::Remove(name.to_owned()))
        .chain([header_mutation::Action::Append(request_id)])
        .map(|action| HeaderMutation { action: Some(action) })
        .collect()
}

/// What a task is told about the client, beside what Envoy tells by itself (`X-Forwarded-For` and
/// `-Proto`). A proxy in front that may be believed knows better.
pub(super) fn to_task(settings: &Settings, scheme: Scheme) -> Vec<HeaderValueOption> {
    let forwarded = |name: &str, value: &str| HeaderValueOption {
        append_action: match settings.trusted_hops {
            0 => HeaderAppendAction::OverwriteIfExistsOrAdd,
            _ => HeaderAppendAction::AddIfAbsent,
        }
        .into(),
        ..set(name, value)
    };
    let port = match scheme {
        Scheme::Http => settings.public_http_port,
        Scheme::Https => settings.public_https_port,
    };
    vec![
        set("x-real-ip", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
        forwarded("x-forwarded-host", "%REQ(:AUTHORITY)%"),
        forwarded("x-forwarded-port", &port.to_string()),
    ]
}

/// The debug headers of responses, but `x-request-id`, which Envoy has a switch for, and the time that
/// an endpoint took, which the filter tells.
pub(super) fn to_client(settings: &Settings) -> Vec<HeaderValueOption> {
    let [proxy_id, server_info] = PROXY_HEADERS;
    match settings.filter.info_headers {
        InfoHeaders::Shown => vec![
            set(proxy_id, "%HOSTNAME%"),
            set(server_info, &settings.server_info.replace('%', "%%")),
            set(info::UPSTREAM_ADDR, "%UPSTREAM_HOST%"),
        ],
        InfoHeaders::Hidden => vec![],
    }
}

/// Whether a request may have come to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    /// It may have.
    Yes,
    /// It has not, but for an earlier try.
    No,
}

/// The debug headers of replies that Envoy makes itself, with the mark for the filter.
pub(super) fn of_own_replies(settings: &Settings, tried: Tried) -> Vec<HeaderValueOption> {
    let is_marked = tried == Tried::No && settings.filter.info_headers == InfoHeaders::Shown;
    let mark = is_marked.then(|| set(info::UPSTREAM_RESPONSE_TIME, info::NONE));
    to_client(settings).into_iter().chain(mark).collect()
}

/// Sets a header to what a formatter makes; not at all where that is nothing.
pub(super) fn set(name: &str, value: &str) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue {
            key: name.to_owned(),
            value: value.to_owned(),
            ..Default::default()
        }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..Default::default()
    }
}

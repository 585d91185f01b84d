//! HTTP at the edge: how requests are taken, hardened.
//!
//! The list of settings is Envoy's ("Configuring Envoy as an edge proxy"), save what breaks existing
//! applications: HTTP/1.0 is taken, headers with underscores are dropped as NGINX does, and `%2F` and
//! `//` in paths stay as they are.

use envoy_types::pb::envoy::config::accesslog::v3 as accesslog;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::access_loggers::stream::v3::{
    StdoutAccessLog, stdout_access_log,
};
use envoy_types::pb::envoy::extensions::filters::http::header_mutation::v3::HeaderMutation;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::http::stateful_session::v3::StatefulSession;
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use envoy_types::pb::envoy::extensions::http::early_header_mutation::header_mutation::v3::HeaderMutation as EarlyHeaderMutation;
use envoy_types::pb::envoy::extensions::http::stateful_session::header::v3::HeaderBasedSessionState;
use envoy_types::pb::envoy::extensions::request_id::uuid::v3::UuidRequestIdConfig;
use envoy_types::util::pack_any;
use prost::Name;
use waggle_filter::config::{FILTER_NAME, HEADERS_FILTER_NAME, InfoHeaders, PIN_HEADER};

use super::header::{self, Tried};
use super::limits::{AccessLog, Underscores};
use super::virtual_host::{ROUTE_TOLD, STATEFUL_SESSION};
use super::{OFF, ON, Settings, duration, number, over_ads, seconds};

/// Time, client, request, answer and how Envoy came to it, then what else helps to find a fault.
const ACCESS_LOG: &str = concat!(
    r#"%START_TIME% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %REQ(:AUTHORITY)% "#,
    r#""%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% "#,
    r#"%RESPONSE_CODE_DETAILS% in=%BYTES_RECEIVED% out=%BYTES_SENT% ms=%DURATION% "#,
    r#"upstream=%UPSTREAM_HOST% pool=%UPSTREAM_CLUSTER% tries=%UPSTREAM_REQUEST_ATTEMPT_COUNT% "#,
    r#"id=%REQ(X-REQUEST-ID)% agent="%REQ(USER-AGENT)%""#,
    "\n"
);

/// Takes requests by the routes of a name.
pub(super) fn of(routes: &str, settings: &Settings) -> hcm::HttpConnectionManager {
    use hcm::http_connection_manager as manager;
    let limits = &settings.limits;
    hcm::HttpConnectionManager {
        // One prefix for each certificate would make statistics without end.
        stat_prefix: routes.split('/').next().unwrap_or_default().to_owned(),
        route_specifier: Some(manager::RouteSpecifier::Rds(hcm::Rds {
            config_source: Some(awaited()),
            route_config_name: routes.to_owned(),
        })),
        http_filters: http_filters(settings.filter.info_headers),
        access_log: access_log(settings),
        upgrade_configs: vec![manager::UpgradeConfig {
            upgrade_type: "websocket".to_owned(),
            ..Default::default()
        }],
        use_remote_address: Some(ON),
        xff_num_trusted_hops: settings.trusted_hops,
        early_header_mutation_extensions: vec![core::TypedExtensionConfig {
            name: "waggle.request_headers".to_owned(),
            typed_config: Some(pack_any(EarlyHeaderMutation {
                mutations: header::early_mutations(settings),
            })),
        }],
        // A client's own ID is kept as it is; `header::early_mutations` saw that it is well-formed.
        preserve_external_request_id: true,
        request_id_extension: Some(hcm::RequestIdExtension {
            typed_config: Some(pack_any(UuidRequestIdConfig {
                pack_trace_reason: Some(OFF),
                use_request_id_for_trace_sampling: None,
            })),
        }),
        always_set_request_id_in_response: settings.filter.info_headers == InfoHeaders::Shown,
        server_header_transformation: manager::ServerHeaderTransformation::PassThrough.into(),
        local_reply_config: Some(own_replies(settings)),
        normalize_path: Some(ON),
        strip_trailing_host_dot: true,
        common_http_protocol_options: Some(core::HttpProtocolOptions {
            headers_with_underscores_action: underscores(limits.underscores_in_headers).into(),
            idle_timeout: Some(duration(limits.keepalive_timeout.get())),
            ..Default::default()
        }),
        http_protocol_options: Some(core::Http1ProtocolOptions {
            accept_http_10: true,
            ..Default::default()
        }),
        http2_protocol_options: Some(core::Http2ProtocolOptions {
            max_concurrent_streams: Some(number(100)),
            initial_stream_window_size: Some(number(64 * 1024)),
            initial_connection_window_size: Some(number(1024 * 1024)),
            ..Default::default()
        }),
        max_request_headers_kb: Some(number(limits.max_headers_size.kib())),
        request_headers_timeout: Some(duration(limits.headers_timeout.get())),
        request_timeout: Some(duration(limits.request_timeout.get())),
        stream_idle_timeout: Some(duration(limits.idle_timeout.get())),
        ..Default::default()
    }
}

fn underscores(
    underscores: Underscores,
) -> core::http_protocol_options::HeadersWithUnderscoresAction {
    use core::http_protocol_options::HeadersWithUnderscoresAction;
    match underscores {
        Underscores::Drop => HeadersWithUnderscoresAction::DropHeader,
        Underscores::Allow => HeadersWithUnderscoresAction::Allow,
    }
}

/// A listener is not ready before it has what it asks for here.
fn awaited() -> core::ConfigSource {
    core::ConfigSource { initial_fetch_timeout: Some(seconds(0)), ..over_ads() }
}

/// `header_mutation` tells ours of the route, ours names the endpoint, `stateful_session` takes it
/// there. Hosts and routes switch them on.
fn http_filters(info_headers: InfoHeaders) -> Vec<hcm::HttpFilter> {
    use hcm::http_filter::ConfigType;
    let ours = || {
        ConfigType::ConfigDiscovery(core::ExtensionConfigSource {
            config_source: Some(awaited()),
            type_urls: vec![Wasm::type_url()],
            ..Default::default()
        })
    };
    let pin = ConfigType::TypedConfig(pack_any(StatefulSession {
        session_state: Some(core::TypedExtensionConfig {
            name: "envoy.http.stateful_session.header".to_owned(),
            typed_config: Some(pack_any(HeaderBasedSessionState { name: PIN_HEADER.to_owned() })),
        }),
        ..Default::default()
    }));
    // Nothing of Envoy's own (`x-envoy-…`) is added to requests and responses.
    let router = ConfigType::TypedConfig(pack_any(Router {
        suppress_envoy_headers: true,
        ..Default::default()
    }));
    let route_told = ConfigType::TypedConfig(pack_any(HeaderMutation::default()));
    let filter = |name: &str, config| hcm::HttpFilter {
        name: name.to_owned(),
        config_type: Some(config),
        ..Default::default()
    };
    let headers_only =
        (info_headers == InfoHeaders::Shown).then(|| filter(HEADERS_FILTER_NAME, ours()));
    let switched_on = [filter(ROUTE_TOLD, route_told), filter(FILTER_NAME, ours())]
        .into_iter()
        .chain(headers_only)
        .chain([filter(STATEFUL_SESSION, pin)]);
    switched_on
        .map(|filter| hcm::HttpFilter { disabled: true, ..filter })
        .chain([filter("envoy.filters.http.router", router)])
        .collect()
}

/// Replies that Envoy makes itself carry the debug headers; where no endpoint could be reached, also
/// when to come again. The first mapper whose filter holds is taken.
fn own_replies(settings: &Settings) -> hcm::LocalReplyConfig {
    use accesslog::access_log_filter::FilterSpecifier;
    let mapper = |filter, headers_to_add| hcm::ResponseMapper {
        filter: Some(accesslog::AccessLogFilter { filter_specifier: Some(filter) }),
        headers_to_add,
        ..Default::default()
    };
    let flags = |flags: &[&str]| {
        FilterSpecifier::ResponseFlagFilter(accesslog::ResponseFlagFilter {
            flags: flags.iter().map(ToString::to_string).collect(),
        })
    };
    let any = FilterSpecifier::StatusCodeFilter(accesslog::StatusCodeFilter {
        comparison: Some(accesslog::ComparisonFilter {
            op: accesslog::comparison_filter::Op::Ge.into(),
            value: Some(core::RuntimeUInt32 {
                default_value: 0,
                runtime_key: "waggle.own_replies_from_status".to_owned(),
            }),
        }),
    });
    let again = |endpoint| {
        let mut headers = header::of_own_replies(settings, endpoint);
        headers.push(header::set("retry-after", "1"));
        headers
    };
    hcm::LocalReplyConfig {
        mappers: vec![
            // No healthy endpoint, too many requests, no such pool; then: no connection.
            mapper(flags(&["UH", "UO", "NC"]), again(Tried::No)),
            mapper(flags(&["UF"]), again(Tried::Yes)),
            mapper(any, header::of_own_replies(settings, Tried::Yes)),
        ],
        body_format: None,
    }
}

pub(super) fn access_log(settings: &Settings) -> Vec<accesslog::AccessLog> {
    if settings.limits.access_log == AccessLog::Off {
        return Vec::new();
    }
    let format = core::SubstitutionFormatString {
        format: Some(core::substitution_format_string::Format::TextFormatSource(
            core::DataSource {
                specifier: Some(core::data_source::Specifier::InlineString(ACCESS_LOG.to_owned())),
                ..Default::default()
            },
        )),
        ..Default::default()
    };
    vec![accesslog::AccessLog {
        name: "envoy.access_loggers.stdout".to_owned(),
        config_type: Some(accesslog::access_log::ConfigType::TypedConfig(pack_any(
            StdoutAccessLog {
                access_log_format: Some(stdout_access_log::AccessLogFormat::LogFormat(format)),
            },
        ))),
        ..Default::default()
    }]
}

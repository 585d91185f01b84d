//! The filter: its code and its configuration.

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::wasm::v3 as wasm;
use envoy_types::pb::google::protobuf::Any;
use envoy_types::util::pack_any;
use prost::Message;
use waggle_filter::config::{
    CAPABILITIES, FILTER_NAME, HEADERS_FILTER_NAME, InfoHeaders, PLUGIN_CONFIG_TYPE, PluginConfig,
    Sessions,
};

use super::{FilterCode, Kind, Resource, Settings, millis};

/// One for routes with sessions, and one that does no more than debug headers where there are any.
/// They differ in their configuration only, so that they share a VM.
pub(super) fn resources(settings: &Settings) -> impl Iterator<Item = Resource> {
    let headers_only = PluginConfig {
        keys: Vec::new(),
        sessions: Sessions::Left,
        info_headers: settings.filter.info_headers,
    };
    let with_headers = settings.filter.info_headers == InfoHeaders::Shown;
    let headers_only = with_headers.then_some((HEADERS_FILTER_NAME, headers_only));
    [(FILTER_NAME, settings.filter.clone())]
        .into_iter()
        .chain(headers_only)
        .map(|(name, filter)| resource(name, &filter, &settings.filter_code))
}

fn resource(name: &str, filter: &PluginConfig, filter_code: &FilterCode) -> Resource {
    let plugin = wasm::PluginConfig {
        name: FILTER_NAME.to_owned(),
        configuration: Some(configuration(filter)),
        failure_policy: wasm::FailurePolicy::FailReload.into(),
        // A crashed filter is back after this time. 1 ms crashes Envoy (SIGFPE).
        reload_config: Some(wasm::ReloadConfig {
            backoff: Some(core::BackoffStrategy {
                base_interval: Some(millis(10)),
                max_interval: None,
            }),
        }),
        vm: Some(vm(wasm::VmConfig {
            vm_id: FILTER_NAME.to_owned(),
            runtime: "envoy.wasm.runtime.v8".to_owned(),
            code: Some(code(filter_code)),
            ..Default::default()
        })),
        ..Default::default()
    };
    let mut any = pack_any(Wasm { config: Some(plugin) });
    // A map with more than one entry would be encoded in any order. Encoded messages that stand one
    // behind the other are merged.
    CAPABILITIES.iter().for_each(|name| any.value.extend(allowed(name).encode_to_vec()));
    let message = core::TypedExtensionConfig { name: name.to_owned(), typed_config: Some(any) };
    Resource::new(Kind::Extension, name, &message)
}

/// A plugin's configuration that does nothing but allow this.
fn allowed(capability: &str) -> Wasm {
    let restriction = wasm::CapabilityRestrictionConfig {
        allowed_capabilities: [(capability.to_owned(), wasm::SanitizationConfig {})].into(),
    };
    let vm = vm(wasm::VmConfig {
        capability_restriction_config: Some(restriction),
        ..Default::default()
    });
    Wasm { config: Some(wasm::PluginConfig { vm: Some(vm), ..Default::default() }) }
}

fn vm(config: wasm::VmConfig) -> wasm::plugin_config::Vm {
    wasm::plugin_config::Vm::VmConfig(config)
}

/// As a secret, so that Envoy's `/config_dump` prints `[redacted]`: the session keys are in it.
fn configuration(filter: &PluginConfig) -> Any {
    let value = filter.encode().expect("strings and an enum always make JSON");
    Any { type_url: PLUGIN_CONFIG_TYPE.to_owned(), value }
}

fn code(code: &FilterCode) -> core::AsyncDataSource {
    let specifier = match code {
        FilterCode::Inline(bytes) => core::data_source::Specifier::InlineBytes(bytes.clone()),
        FilterCode::InEnvoy(path) => {
            core::data_source::Specifier::Filename(path.to_string_lossy().into_owned())
        }
    };
    core::AsyncDataSource {
        specifier: Some(core::async_data_source::Specifier::Local(core::DataSource {
            specifier: Some(specifier),
            ..Default::default()
        })),
    }
}

//! The filter: its code and its configuration.

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::wasm::v3 as wasm;
use envoy_types::pb::google::protobuf::Any;
use envoy_types::util::pack_any;
use waggle_filter::config::{FILTER_NAME, PLUGIN_CONFIG_TYPE, PluginConfig};

use super::{FilterCode, Kind, Resource, Settings, millis};

pub(super) fn resource(settings: &Settings) -> Resource {
    let message = core::TypedExtensionConfig {
        name: FILTER_NAME.to_owned(),
        typed_config: Some(pack_any(Wasm {
            config: Some(wasm::PluginConfig {
                name: FILTER_NAME.to_owned(),
                configuration: Some(configuration(&settings.filter)),
                failure_policy: wasm::FailurePolicy::FailReload.into(),
                // A crashed filter is back after this time. 1 ms crashes Envoy (SIGFPE).
                reload_config: Some(wasm::ReloadConfig {
                    backoff: Some(core::BackoffStrategy {
                        base_interval: Some(millis(10)),
                        max_interval: None,
                    }),
                }),
                vm: Some(wasm::plugin_config::Vm::VmConfig(wasm::VmConfig {
                    vm_id: FILTER_NAME.to_owned(),
                    runtime: "envoy.wasm.runtime.v8".to_owned(),
                    code: Some(code(&settings.filter_code)),
                    ..Default::default()
                })),
                ..Default::default()
            }),
        })),
    };
    Resource::new(Kind::Extension, FILTER_NAME, &message)
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

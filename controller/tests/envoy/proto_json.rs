//! Resources as canonical proto JSON, by the `.proto` files that `envoy-types` ships.

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use prost_reflect::prost_types::DescriptorProto;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;
use waggle_controller::envoy::Resource;

/// The files that define what we send; their imports come along.
const FILES: [&str; 20] = [
    "envoy/config/bootstrap/v3/bootstrap.proto",
    "envoy/config/cluster/v3/cluster.proto",
    "envoy/config/endpoint/v3/endpoint.proto",
    "envoy/config/listener/v3/listener.proto",
    "envoy/config/route/v3/route.proto",
    "envoy/extensions/access_loggers/stream/v3/stream.proto",
    "envoy/extensions/filters/http/header_mutation/v3/header_mutation.proto",
    "envoy/extensions/filters/http/router/v3/router.proto",
    "envoy/extensions/filters/http/stateful_session/v3/stateful_session.proto",
    "envoy/extensions/filters/http/wasm/v3/wasm.proto",
    "envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.proto",
    "envoy/extensions/filters/network/connection_limit/v3/connection_limit.proto",
    "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto",
    "envoy/extensions/http/early_header_mutation/header_mutation/v3/header_mutation.proto",
    "envoy/extensions/http/stateful_session/header/v3/header.proto",
    "envoy/extensions/request_id/uuid/v3/uuid.proto",
    "envoy/extensions/retry/host/previous_hosts/v3/previous_hosts.proto",
    "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.proto",
    "envoy/extensions/transport_sockets/tls/v3/tls.proto",
    "envoy/extensions/upstreams/http/v3/http_protocol_options.proto",
];

static DESCRIPTORS: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let protos = protos();
    let roots = ["data-plane-api", "xds", "protoc-gen-validate", "googleapis", "cel-spec"];
    let mut files = protox::compile(FILES, roots.map(|root| protos.join(root))).unwrap();
    let messages = files.file.iter_mut().flat_map(|file| &mut file.message_type);
    messages.for_each(let_config_be_empty);
    DescriptorPool::from_file_descriptor_set(files).unwrap()
});

/// An `Any` of no type, which switches a filter on, has no JSON. To say that it is some other message
/// changes nothing on the wire where it is empty.
fn let_config_be_empty(message: &mut DescriptorProto) {
    if message.name() == "FilterConfig" {
        let config = message.field.iter_mut().find(|field| field.name() == "config").unwrap();
        config.type_name = Some(".envoy.config.route.v3.FilterConfig".to_owned());
    }
}

/// Where Cargo keeps the sources of `envoy-types`. Of other platforms it may know less.
fn protos() -> PathBuf {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let metadata = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version=1",
            "--locked",
            "--offline",
            "--filter-platform",
            &platform,
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let package = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .find(|package| package["name"] == "envoy-types")
        .unwrap();
    PathBuf::from(package["manifest_path"].as_str().unwrap()).with_file_name("proto")
}

/// The resource's message, with everything that is packed in it unpacked.
pub(crate) fn print(resource: &Resource) -> Value {
    let name = resource.kind.type_url();
    let name = name.rsplit('/').next().unwrap();
    let message = DESCRIPTORS.get_message_by_name(name).unwrap();
    let message = DynamicMessage::decode(message, resource.body().message()).unwrap();
    let options = prost_reflect::SerializeOptions::new().use_proto_field_name(true);
    message.serialize_with_options(serde_json::value::Serializer, &options).unwrap()
}

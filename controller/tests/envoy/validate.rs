//! `envoy --mode validate`: what the real Envoy says of a configuration.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use serde_json::{Value, json};
use waggle_controller::envoy::{Kind, Resource};

use crate::printed;

static ENVOY: LazyLock<String> = LazyLock::new(|| {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tools.sh");
    let tools = Command::new(script).arg("envoy").output().unwrap();
    assert!(tools.status.success(), "{}", String::from_utf8_lossy(&tools.stderr));
    String::from_utf8(tools.stdout).unwrap().trim().to_owned()
});

/// Panics with Envoy's words if it refuses a configuration file, such as a bootstrap.
pub(crate) fn accepts_file(contents: &str, suffix: &str) {
    let mut file = tempfile::Builder::new().suffix(suffix).tempfile().unwrap();
    file.write_all(contents.as_bytes()).unwrap();
    let run = Command::new(&*ENVOY)
        .args(["--mode", "validate", "--log-level", "error"])
        .args(["--service-node", "test", "--service-cluster", "test", "--config-path"])
        .arg(file.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}\n{contents}");
}

/// Panics with Envoy's words if it refuses the resources, put together to one static configuration.
pub(crate) fn accepts(resources: &[Resource]) {
    accepts_file(&static_bootstrap(resources).to_string(), ".json");
}

/// What refers to another resource holds it instead. The filter's code is left out: to run it is not
/// the question here.
fn static_bootstrap(resources: &[Resource]) -> Value {
    let endpoints = printed(resources, Kind::Endpoints);
    let mut clusters = printed(resources, Kind::Cluster);
    for (name, cluster) in &mut clusters {
        cluster["type"] = "STATIC".into();
        cluster["eds_cluster_config"] = Value::Null;
        cluster["load_assignment"] = endpoints[name].clone();
    }
    let routes = printed(resources, Kind::WholeRoutes);
    let mut listeners = printed(resources, Kind::Listener);
    for listener in listeners.values_mut() {
        for pointer in ["/filter_chains", "/default_filter_chain"] {
            match listener.pointer_mut(pointer) {
                Some(Value::Array(chains)) => chains.iter_mut().for_each(|it| inline(it, &routes)),
                Some(chain) => inline(chain, &routes),
                None => {}
            }
        }
    }
    let secrets = printed(resources, Kind::Secret).into_values().map(with_content);
    let mut config = json!({
        "static_resources": {
            "clusters": clusters.into_values().collect::<Vec<_>>(),
            "listeners": listeners.into_values().collect::<Vec<_>>(),
            "secrets": secrets.collect::<Vec<_>>(),
        },
    });
    take_secrets_by_name(&mut config);
    config
}

/// A secret that holds something in place of naming a file.
fn with_content(mut secret: Value) -> Value {
    let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    for (pointer, content) in [
        ("/tls_certificate/certificate_chain", &certificate),
        ("/tls_certificate/private_key", &key),
        ("/validation_context/trusted_ca", &certificate),
    ] {
        if let Some(source) = secret.pointer_mut(pointer) {
            assert!(source["filename"].as_str().unwrap().starts_with('/'), "{source}");
            *source = json!({ "inline_string": content });
        }
    }
    secret
}

/// A secret that is not asked for anywhere is taken from the static ones.
fn take_secrets_by_name(config: &mut Value) {
    match config {
        Value::Object(fields) => {
            fields.remove("sds_config");
            fields.values_mut().for_each(take_secrets_by_name);
        }
        Value::Array(items) => items.iter_mut().for_each(take_secrets_by_name),
        _ => {}
    }
}

/// Puts a chain's routes into the chain.
fn inline(chain: &mut Value, routes: &BTreeMap<&str, Value>) {
    let last = chain["filters"].as_array().unwrap().len() - 1;
    let manager = &mut chain["filters"][last]["typed_config"];
    if let Some(named) = manager["rds"]["route_config_name"].as_str().map(ToOwned::to_owned) {
        manager["rds"] = Value::Null;
        manager["route_config"] = routes[named.as_str()].clone();
    }
}

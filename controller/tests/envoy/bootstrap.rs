//! What `waggle bootstrap` prints, and what the real Envoy says of it.

use clap::Parser;
use waggle_controller::bootstrap::{BootstrapArgs, bootstrap};

use crate::validate;
use crate::world::labelled;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: BootstrapArgs,
}

fn printed(flags: &[&str]) -> Result<String, clap::Error> {
    let flags = ["bootstrap"].iter().chain(flags);
    Command::try_parse_from(flags).map(|command| bootstrap(&command.args))
}

#[test]
fn the_file_in_the_repository_is_the_default() {
    let file = include_str!("../../../envoy/bootstrap.yaml");
    assert_eq!(printed(&[]).unwrap(), file);
    validate::accepts_file(file, ".yaml");
}

/// Envoy ignores a cluster that is told under such a name.
#[test]
fn no_pool_has_the_name_of_a_cluster_of_the_bootstrap() {
    let yaml = printed(&[]).unwrap();
    let names = yaml.lines().filter_map(|line| line.trim().strip_prefix("cluster_name: "));
    let names: Vec<_> = names.collect();
    assert!(!names.is_empty(), "{yaml}");
    for name in names {
        let routes = labelled(&[(name, &[("hosts", "a.example"), ("port", "80")])]);
        assert!(routes.pools.keys().all(|pool| pool.as_str() != name), "{name}");
    }
}

#[test]
fn other_addresses_take_the_place_of_the_defaults() {
    let addresses = ["--admin", "127.0.0.2:4321", "--health", "127.0.0.3:5432"];
    let yaml = printed(&[["--controller", "[::1]:1234"].as_slice(), &addresses].concat()).unwrap();
    assert!(yaml.contains(r#"{ address: "::1", port_value: 1234 }"#), "{yaml}");
    assert!(yaml.contains("{ address: 127.0.0.2, port_value: 4321 }"), "{yaml}");
    assert!(yaml.contains("{ address: 127.0.0.3, port_value: 5432 }"), "{yaml}");
    for default in ["waggle-controller", "18000", "127.0.0.1", "9901", "0.0.0.0", "9902"] {
        assert!(!yaml.contains(default), "{default} in\n{yaml}");
    }
    validate::accepts_file(&yaml, ".yaml");
}

#[test]
fn mutual_tls_proves_the_controllers_name() {
    let folder = tempfile::tempdir().unwrap();
    let identity = rcgen::generate_simple_self_signed(["waggle-controller".to_owned()]).unwrap();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(&cert, identity.cert.pem()).unwrap();
    std::fs::write(&key, identity.signing_key.serialize_pem()).unwrap();
    let [cert, key] = [&cert, &key].map(|path| path.to_str().unwrap());
    for (controller, san) in [
        ("waggle-controller:18000", r#"san_type: DNS, matcher: { exact: "waggle-controller" }"#),
        ("10.0.0.2:18000", r#"san_type: IP_ADDRESS, matcher: { exact: "10.0.0.2" }"#),
    ] {
        let tls = ["--xds-ca", cert, "--xds-cert", cert, "--xds-key", key];
        let yaml = printed(&[["--controller", controller].as_slice(), &tls].concat()).unwrap();
        assert!(yaml.contains(san), "{yaml}");
        validate::accepts_file(&yaml, ".yaml");
    }
}

#[test]
fn the_files_of_mutual_tls_come_together() {
    let error = printed(&["--xds-ca", "ca.pem"]).unwrap_err().to_string();
    assert!(error.contains("--xds-cert") && error.contains("--xds-key"), "{error}");
}

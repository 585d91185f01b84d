//! The limits of the proxy, as Envoy gets them.

use serde_json::json;
use waggle_controller::envoy::{Kind, Limits, resources};

use crate::world::{labelled, settings};
use crate::{printed, validate};

const SHOP: &[(&str, &str)] = &[("hosts", "shop.example"), ("port", "80"), ("ssl_cert", "cert")];

/// The limits that these flags make.
fn limits(flags: &[&str]) -> Limits {
    #[derive(clap::Parser)]
    struct Flags {
        #[command(flatten)]
        limits: Limits,
    }
    <Flags as clap::Parser>::parse_from(["test"].iter().chain(flags)).limits
}

#[test]
fn every_limit_reaches_envoy() {
    let mut settings = settings();
    settings.limits = limits(&[
        "--max-connections=2048",
        "--connect-timeout=250ms",
        "--idle-timeout=30s",
        "--keepalive-timeout=5s",
        "--headers-timeout=7s",
        "--request-timeout=1h",
        "--max-body-size=32m",
        "--max-headers-size=8k",
        "--underscores-in-headers=allow",
        "--tls-versions=1.2",
        "--tls-ciphers=ECDHE-RSA-AES128-GCM-SHA256",
        "--access-log=off",
    ]);
    let resources = resources(&labelled(&[("shop", SHOP)]), &settings);
    validate::accepts(&resources);
    let listeners = printed(&resources, Kind::Listener);
    for name in ["http", "https"] {
        let filters = &listeners[name]["filter_chains"][0]["filters"];
        assert_eq!(filters[0]["typed_config"]["max_connections"], "2048", "{name}");
        let manager = &filters[1]["typed_config"];
        for (field, value) in [
            ("stream_idle_timeout", json!("30s")),
            ("request_headers_timeout", json!("7s")),
            ("request_timeout", json!("3600s")),
            ("max_request_headers_kb", json!(8)),
            ("access_log", json!(null)),
        ] {
            assert_eq!(manager[field], value, "{name} {field}");
        }
        let common = &manager["common_http_protocol_options"];
        assert_eq!(common["idle_timeout"], "5s", "{name}");
        assert_eq!(common["headers_with_underscores_action"], json!(null), "allow is 0");
    }
    let tls = &listeners["https"]["filter_chains"][0]["transport_socket"]["typed_config"];
    assert_eq!(
        tls["common_tls_context"]["tls_params"],
        json!({
            "tls_minimum_protocol_version": "TLSv1_2",
            "tls_maximum_protocol_version": "TLSv1_2",
            "cipher_suites": ["ECDHE-RSA-AES128-GCM-SHA256"],
        })
    );
    assert_eq!(printed(&resources, Kind::Cluster)["shop"]["connect_timeout"], "0.250s");
    let hosts = printed(&resources, Kind::VirtualHost);
    let first = &hosts["http/shop.example"]["routes"][0];
    assert_eq!(first["direct_response"]["status"], 413);
    let range = &first["match"]["headers"][0]["range_match"];
    assert_eq!(
        (&range["start"], &range["end"]),
        (&json!("33554433"), &json!(i64::MAX.to_string()))
    );
}

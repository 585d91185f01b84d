//! What the controller is told where no process of it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use waggle_controller::envoy;
use waggle_controller::routing::{self, ShareHosts};
use waggle_filter::config::PluginConfig;
use waggle_tests::program::{filter_module, free_address};
use waggle_tests::told;

pub(super) fn routing_settings() -> routing::Settings {
    routing::Settings {
        share_hosts: ShareHosts::Any,
        proxy_networks: BTreeSet::new(),
        proxies: BTreeMap::new(),
        linger: Duration::from_millis(1_400),
    }
}

pub(super) fn envoy_settings() -> anyhow::Result<envoy::Settings> {
    let keys = vec!["a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2U=".to_owned()];
    let filter = PluginConfig { keys, ..PluginConfig::default() };
    let code = envoy::FilterCode::InEnvoy(filter_module()?);
    Ok(told::settings(free_address()?.port(), filter, code))
}

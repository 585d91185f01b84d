//! What tests begin with.

use waggle_filter::config::PluginConfig;

use super::{FilterCode, Limits, Settings};

/// The defaults, with a filter that does nothing.
pub(crate) fn settings() -> Settings {
    Settings {
        http_port: 8080,
        https_port: 8443,
        public_http_port: 80,
        public_https_port: 443,
        trusted_hops: 0,
        filter_code: FilterCode::Inline(b"\0asm\x01\0\0\0".to_vec()),
        filter: PluginConfig::default(),
        server_info: "waggle".into(),
        limits: Limits::default(),
    }
}

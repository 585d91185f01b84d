//! Routing → Envoy resources: a pure function.

use waggle_filter::config::PluginConfig;

mod resource;

pub use resource::{Kind, Resource};

/// What the resources depend on beside the routing.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where Envoy takes HTTP.
    pub http_port: u16,
    /// Where Envoy takes HTTPS.
    pub https_port: u16,
    /// Where Envoy gets the filter's code from.
    pub filter_code: FilterCode,
    /// The filter's own configuration, keys included.
    pub filter: PluginConfig,
    /// The value of `x-server-info`.
    pub server_info: String,
}

/// Where Envoy gets the filter's code from.
#[derive(Clone)]
pub enum FilterCode {
    /// From us, inside the extension configuration.
    Inline(Vec<u8>),
    /// From a file of its own.
    InEnvoy(std::path::PathBuf),
}

impl std::fmt::Debug for FilterCode {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inline(code) => write!(out, "Inline({} bytes)", code.len()),
            Self::InEnvoy(path) => write!(out, "InEnvoy({})", path.display()),
        }
    }
}

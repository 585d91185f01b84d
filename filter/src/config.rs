//! The filter's configuration: one definition for the controller that writes it and the filter that
//! reads it.

use serde::{Deserialize, Serialize};

/// The Wasm plugin's configuration, the same for all routes; it carries the session keys.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginConfig {
    /// The session keys, 32 bytes each in base64: the first signs, all open.
    pub keys: Vec<String>,
    /// Whether responses carry debug headers.
    pub info_headers: InfoHeaders,
}

/// Whether responses carry debug headers (Interlock's `HideInfoHeaders`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InfoHeaders {
    /// They do.
    #[default]
    Shown,
    /// They do not.
    Hidden,
}

impl std::fmt::Debug for PluginConfig {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "PluginConfig {{ {} keys, {:?} }}", self.keys.len(), self.info_headers)
    }
}

/// What the filter needs to know of a sticky route, packed into one metadata string.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteConfig {
    /// The application's cookie; ours is this name with `_lb` behind it.
    pub cookie: String,
    /// The path of our cookie where the application's does not tell: the context root.
    pub path: String,
    /// The IDs of the services in the pool: a token of any other is not for this route.
    pub services: Vec<String>,
}

/// Namespace of our metadata on routes and endpoints.
pub const METADATA_NAMESPACE: &str = "waggle";

/// Key of the packed [`RouteConfig`] in the route's metadata.
pub const ROUTE_KEY: &str = "route";

/// Key of the owning service's ID in an endpoint's metadata.
pub const SERVICE_KEY: &str = "service";

/// The internal header between the filter and Envoy's `stateful_session`: base64 of `ip:port`.
pub const PIN_HEADER: &str = "x-waggle-endpoint";

/// The filter's name in the HTTP filter chain and of its extension configuration.
pub const FILTER_NAME: &str = "waggle";

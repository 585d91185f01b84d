//! The filter's configuration: one definition for the controller that writes it and the filter that
//! reads it.

use prost::Message;
use serde::{Deserialize, Serialize};

/// The Wasm plugin's configuration, the same for all routes; it carries the session keys.
///
/// It travels as JSON inside Envoy's `GenericSecret`, so that `/config_dump` prints `[redacted]`.
/// Envoy hands the filter the protobuf as it is.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginConfig {
    /// The session keys, 32 bytes each in base64: the first signs, all open. At least one.
    pub keys: Vec<String>,
    /// Whether responses carry debug headers.
    #[serde(default)]
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

/// What is wrong with a plugin configuration. No variant shows a key.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The plugin configuration is not a protobuf of type [`PLUGIN_CONFIG_TYPE`].
    #[error("the plugin configuration is not a GenericSecret: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// The secret has no `inline_bytes`.
    #[error("the plugin configuration's GenericSecret has no inline_bytes")]
    NoInlineBytes,
    /// The secret's bytes are not the JSON of a [`PluginConfig`].
    #[error("the plugin configuration's secret is not our JSON ({} error)", kind(.0))]
    Json(serde_json::Error),
    /// There is no session key.
    #[error("the plugin configuration has no session key; at least one is needed")]
    NoKey,
    /// A session key is not the base64 of 32 bytes; the number counts from 0.
    #[error("session key {0} is not the base64 of 32 bytes")]
    Key(usize),
}

/// The kind of a JSON error alone: its text may quote the input, and that holds keys.
fn kind(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Io => "read",
        serde_json::error::Category::Syntax => "syntax",
        serde_json::error::Category::Data => "data",
        serde_json::error::Category::Eof => "end of input",
    }
}

/// The type of the message that [`PluginConfig::encode`] makes, for the `Any` that holds it.
pub const PLUGIN_CONFIG_TYPE: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.GenericSecret";

/// `envoy.extensions.transport_sockets.tls.v3.GenericSecret`, as far as we use it.
#[derive(Clone, PartialEq, Message)]
struct GenericSecret {
    #[prost(message, optional, tag = "1")]
    secret: Option<DataSource>,
}

/// `envoy.config.core.v3.DataSource`, as far as we use it.
#[derive(Clone, PartialEq, Message)]
struct DataSource {
    #[prost(bytes = "vec", optional, tag = "2")]
    inline_bytes: Option<Vec<u8>>,
}

impl PluginConfig {
    /// The value of an `Any` of type [`PLUGIN_CONFIG_TYPE`].
    pub fn encode(&self) -> Result<Vec<u8>, ConfigError> {
        let inline_bytes = Some(serde_json::to_vec(self).map_err(ConfigError::Json)?);
        Ok(GenericSecret { secret: Some(DataSource { inline_bytes }) }.encode_to_vec())
    }

    /// Reads what [`PluginConfig::encode`] made. The keys are read by
    /// [`KeyRing::new`](crate::token::KeyRing::new).
    pub fn decode(bytes: &[u8]) -> Result<Self, ConfigError> {
        let json = GenericSecret::decode(bytes)?
            .secret
            .and_then(|secret| secret.inline_bytes)
            .ok_or(ConfigError::NoInlineBytes)?;
        serde_json::from_slice(&json).map_err(ConfigError::Json)
    }
}

impl std::fmt::Debug for PluginConfig {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "PluginConfig {{ {} keys, {:?} }}", self.keys.len(), self.info_headers)
    }
}

/// What the filter needs to know of a sticky route, packed into one metadata string: each metadata
/// look-up costs the filter more than a microsecond.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteConfig {
    /// The application's cookie; ours is this name with `_lb` behind it. A token (RFC 9110, 5.6.2).
    pub cookie: String,
    /// The path of our cookie where the application's does not tell: the context root.
    pub path: String,
    /// The IDs of the services in the pool: a token of any other is not for this route.
    pub services: Vec<String>,
}

impl RouteConfig {
    /// Cookie, path and services, separated by tabs: neither a cookie name nor a path nor an ID can
    /// hold one, and the filter splits it on each request.
    pub fn pack(&self) -> String {
        let fields = [&self.cookie, &self.path].into_iter().chain(&self.services);
        fields.map(String::as_str).collect::<Vec<_>>().join("\t")
    }

    /// Reads what [`RouteConfig::pack`] made; `None` if it is not that.
    pub fn unpack(packed: &[u8]) -> Option<Self> {
        let mut fields = str::from_utf8(packed).ok()?.split('\t').map(str::to_owned);
        let (cookie, path) = (fields.next()?, fields.next()?);
        let is_cookie_name = !cookie.is_empty() && cookie.bytes().all(is_token_char);
        (is_cookie_name && path.starts_with('/')).then(|| Self {
            cookie,
            path,
            services: fields.collect(),
        })
    }

    /// The name of our cookie.
    pub fn pin_cookie(&self) -> String {
        format!("{}_lb", self.cookie)
    }
}

/// Whether the byte may stand in a token (RFC 9110, 5.6.2), such as a cookie's name.
fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> PluginConfig {
        PluginConfig { keys: vec!["a2V5".to_owned()], info_headers: InfoHeaders::Hidden }
    }

    #[test]
    fn a_plugin_configuration_survives_its_journey() {
        let bytes = config().encode().unwrap();
        assert_eq!(PluginConfig::decode(&bytes).unwrap(), config());
    }

    #[test]
    fn the_protobuf_is_envoys() {
        let json = br#"{"keys":["a2V5"],"info_headers":"hidden"}"#;
        let length = u8::try_from(json.len()).unwrap();
        let mut expected = vec![0x0a, length + 2, 0x12, length];
        expected.extend(json);
        assert_eq!(config().encode().unwrap(), expected);
    }

    #[test]
    fn a_bad_configuration_is_told_without_its_content() {
        let wrap = |json: &[u8]| {
            let secret = Some(DataSource { inline_bytes: Some(json.to_vec()) });
            GenericSecret { secret }.encode_to_vec()
        };
        let cases = [
            (b"\xff\xff".to_vec(), "not a GenericSecret"),
            (Vec::new(), "no inline_bytes"),
            (wrap(b"{"), "end of input"),
            (wrap(br#"{"keys":"s3cret"}"#), "data error"),
            (wrap(br#"{"keys":[],"info_headers":"s3cret"}"#), "data error"),
        ];
        for (bytes, expected) in cases {
            let error = PluginConfig::decode(&bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{bytes:?}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn a_route_survives_its_journey() {
        for services in [vec![], vec!["s1".to_owned()], vec!["s1".to_owned(), "s2".to_owned()]] {
            let route = RouteConfig { cookie: "session".into(), path: "/app".into(), services };
            assert_eq!(RouteConfig::unpack(route.pack().as_bytes()), Some(route));
        }
    }

    #[test]
    fn what_is_no_packed_route_is_refused() {
        let cases: [&[u8]; 6] =
            [b"", b"session", b"\t/", b"a b\t/\ts1", b"session\tapp", b"\xff\t/\ts1"];
        for packed in cases {
            assert_eq!(RouteConfig::unpack(packed), None, "{}", packed.escape_ascii());
        }
    }
}

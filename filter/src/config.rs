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
    /// The session keys, 32 bytes each in base64: the first signs, all open. At least one, unless
    /// `sessions` are left alone.
    pub keys: Vec<String>,
    /// Whether sessions are kept.
    #[serde(default)]
    pub sessions: Sessions,
    /// Whether responses carry debug headers.
    #[serde(default)]
    pub info_headers: InfoHeaders,
}

/// Whether the filter keeps sessions on their task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sessions {
    /// It does, on routes that are sticky.
    #[default]
    Kept,
    /// It is on routes that are not.
    Left,
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

/// What the filter needs to know of a sticky route. Envoy's own `header_mutation` filter puts it into
/// the request, so that it comes with the cookies, by one call: metadata would be a second one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteConfig<'a> {
    /// The application's cookie; ours is this name with `_lb` behind it. A token (RFC 9110, 5.6.2).
    pub cookie: &'a str,
    /// The path of our cookie where the application's does not tell: the context root.
    pub path: &'a str,
    /// Whether a cookie that is set over TLS can be in the way.
    pub schemes: Schemes,
    services: &'a str,
}

/// By which schemes a host is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schemes {
    /// The one of this route.
    One,
    /// Plain HTTP, the one of this route, and HTTPS.
    Both,
}

impl<'a> RouteConfig<'a> {
    /// Cookie, path, schemes and the IDs of the services in the pool, separated by tabs: none of
    /// them can hold one, and the filter splits it on each request.
    pub fn pack(
        cookie: &'a str,
        path: &'a str,
        schemes: Schemes,
        services: impl IntoIterator<Item = &'a str>,
    ) -> String {
        let schemes = match schemes {
            Schemes::One => ONE_SCHEME,
            Schemes::Both => BOTH_SCHEMES,
        };
        [cookie, path, schemes].into_iter().chain(services).collect::<Vec<_>>().join("\t")
    }

    /// Reads what [`RouteConfig::pack`] made; `None` if it is not that.
    pub fn unpack(packed: &'a [u8]) -> Option<Self> {
        let mut fields = str::from_utf8(packed).ok()?.splitn(4, '\t');
        let (cookie, path, schemes) = (fields.next()?, fields.next()?, fields.next()?);
        let schemes = match schemes {
            ONE_SCHEME => Schemes::One,
            BOTH_SCHEMES => Schemes::Both,
            _ => return None,
        };
        let is_cookie_name = !cookie.is_empty() && cookie.bytes().all(is_token_char);
        let services = fields.next().unwrap_or_default();
        (is_cookie_name && path.starts_with('/')).then_some(Self {
            cookie,
            path,
            schemes,
            services,
        })
    }

    /// The name of our cookie.
    pub fn pin_cookie(&self) -> String {
        format!("{}{PIN_SUFFIX}", self.cookie)
    }

    /// Whether the service is in the pool: a token of any other is not for this route.
    pub fn has_service(&self, id: &str) -> bool {
        !id.is_empty() && self.services.split('\t').any(|service| service == id)
    }
}

/// What our cookie's name has behind the application's.
pub const PIN_SUFFIX: &str = "_lb";

const ONE_SCHEME: &str = "1";

const BOTH_SCHEMES: &str = "2";

/// Whether the byte may stand in a token (RFC 9110, 5.6.2), such as a cookie's name.
fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Namespace of our metadata on endpoints.
pub const METADATA_NAMESPACE: &str = "waggle";

/// Key of the owning service's ID in an endpoint's metadata.
pub const SERVICE_KEY: &str = "service";

/// Where Envoy has it, for the filter: the steps, with a NUL between them.
pub const SERVICE_PROPERTY: &str = "xds\0upstream_host_metadata\0filter_metadata\0waggle\0service";

/// What Envoy may call of the filter, then what the filter may call of Envoy and of WASI. All else
/// that the `proxy-wasm` crate has is shut: Envoy would enter the VM, to no effect, for each piece of
/// a body.
pub const CAPABILITIES: [&str; 22] = [
    "proxy_on_vm_start",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_request_headers",
    "proxy_on_response_headers",
    "proxy_on_delete",
    "proxy_log",
    "proxy_define_metric",
    "proxy_increment_metric",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_property",
    "proxy_get_buffer_bytes",
    "proxy_get_header_map_value",
    "proxy_get_header_map_pairs",
    "proxy_add_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_remove_header_map_value",
    "random_get",
    "environ_get",
    "environ_sizes_get",
    "fd_write",
    "proc_exit",
];

/// The internal header that tells the filter of its route: a packed [`RouteConfig`].
pub const ROUTE_HEADER: &str = "x-waggle-route";

/// The internal header between the filter and Envoy's `stateful_session`: base64 of `ip:port`.
pub const PIN_HEADER: &str = "x-waggle-endpoint";

/// The filter's name in the HTTP filter chain and of its extension configuration, where it keeps
/// sessions.
pub const FILTER_NAME: &str = "waggle";

/// The same filter where it does no more than debug headers: it need not ask whether a route is
/// sticky.
pub const HEADERS_FILTER_NAME: &str = "waggle.headers";

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> PluginConfig {
        PluginConfig {
            keys: vec!["a2V5".to_owned()],
            sessions: Sessions::Kept,
            info_headers: InfoHeaders::Hidden,
        }
    }

    #[test]
    fn a_plugin_configuration_survives_its_journey() {
        let bytes = config().encode().unwrap();
        assert_eq!(PluginConfig::decode(&bytes).unwrap(), config());
    }

    #[test]
    fn the_protobuf_is_envoys() {
        let json = br#"{"keys":["a2V5"],"sessions":"kept","info_headers":"hidden"}"#;
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
        for services in [&[][..], &["s1"], &["s1", "s2"]] {
            for schemes in [Schemes::One, Schemes::Both] {
                let packed =
                    RouteConfig::pack("session", "/app", schemes, services.iter().copied());
                let route = RouteConfig::unpack(packed.as_bytes()).unwrap();
                assert_eq!((route.cookie, route.path), ("session", "/app"));
                assert_eq!(route.schemes, schemes);
                for id in ["s1", "s2", "s", ""] {
                    assert_eq!(route.has_service(id), services.contains(&id), "{id}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_packed_route_is_refused() {
        let cases: [&[u8]; 8] = [
            b"",
            b"session",
            b"session\t/",
            b"session\t/\t3\ts1",
            b"\t/\t1\ts1",
            b"a b\t/\t1\ts1",
            b"session\tapp\t1",
            b"\xff\t/\t1\ts1",
        ];
        for packed in cases {
            assert_eq!(RouteConfig::unpack(packed), None, "{}", packed.escape_ascii());
        }
    }
}

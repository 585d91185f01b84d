//! The keys of Interlock's `config.toml`: which setting each is, or why it has no effect.
//!
//! The keys are those of the documentation of UCP 3.0 to MKE 3.9, with those for `HAProxy` that it
//! lost in 2019.

use std::net::SocketAddr;

use crate::envoy::limits::{ConnectTimeout, Expected, Timeout, TlsCipher};

use Meaning::{Cluster, Nothing, Setting};
use Section::{Core, Extension, Proxy};

/// A table of Interlock's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    /// No table.
    Core,
    /// `[Extensions.<name>]`: a service cluster.
    Extension,
    /// `[Extensions.<name>.Config]`: its proxy.
    Proxy,
}

impl Section {
    /// Where its keys belong.
    pub(super) fn place(self) -> &'static str {
        match self {
            Core => "above all tables",
            Extension => "into [Extensions.<name>]",
            Proxy => "into [Extensions.<name>.Config]",
        }
    }
}

/// A key of Interlock's file.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) section: Section,
    pub(super) name: &'static str,
    pub(super) meaning: Meaning,
}

/// What a key is here.
#[derive(Debug, Clone)]
pub(super) enum Meaning {
    /// The setting of this name; the function writes the value as the setting does.
    Setting(&'static str, Translate),
    /// The node cluster of its extension.
    Cluster,
    /// Accepted without effect; why.
    Nothing(&'static str),
}

/// Writes a value of Interlock as the setting does.
pub(super) type Translate = fn(&[String]) -> Result<Translated, Expected>;

/// A value as the setting writes it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Translated {
    /// The setting's values; none leaves the setting alone.
    pub(super) values: Option<Vec<String>>,
    /// What is not as Interlock had it.
    pub(super) remark: Option<String>,
}

impl Translated {
    fn to(value: impl Into<String>) -> Self {
        Self { values: Some(vec![value.into()]), remark: None }
    }

    fn but(self, remark: impl Into<String>) -> Self {
        Self { remark: Some(remark.into()), ..self }
    }
}

const fn key(section: Section, name: &'static str, meaning: Meaning) -> Key {
    Key { section, name, meaning }
}

const NO_EXTENSION: &str = "there is no extension service: the controller is all there is";
const YOUR_SERVICE: &str = "the proxy is a service of your own: set this on it, by `docker service update` or in its stack";
const NGINX: &str = "it tunes NGINX; Envoy has no use for it";
const HAPROXY: &str = "it tunes HAProxy; Envoy has no use for it";
const RAW: &str = "lines for NGINX cannot be translated for Envoy; look for what they did in the \
    settings and the labels";
const OWN_FORMAT: &str = "Waggle's access log has a form of its own, with the request's ID, the \
    endpoint, the tries and the time";

/// All keys but `Extensions` and `Config`, in the documentation's order.
pub(super) const KEYS: &[Key] = &[
    key(Core, "ListenAddr", Setting("xds-address", listen_address)),
    key(Core, "DockerURL", Setting("docker", as_it_is)),
    key(Core, "TLSCACert", Setting("docker-ca", as_it_is)),
    key(Core, "TLSCert", Setting("docker-cert", as_it_is)),
    key(Core, "TLSKey", Setting("docker-key", as_it_is)),
    key(Core, "AllowInsecure", Setting("docker-insecure", as_it_is)),
    key(
        Core,
        "PollInterval",
        Nothing("Waggle reads Docker every half second, and sooner while something changes"),
    ),
    key(
        Core,
        "EndpointOverride",
        Nothing(
            "Envoy is told where the controller is by its bootstrap: `waggle bootstrap --controller`",
        ),
    ),
    key(Core, "Debug", Nothing("use `log`")),
    key(Core, "EnableMetrics", Nothing("metrics are always there, at `status-address`")),
    key(Extension, "Image", Nothing(NO_EXTENSION)),
    key(Extension, "Args", Nothing(NO_EXTENSION)),
    key(Extension, "ServiceName", Nothing(NO_EXTENSION)),
    key(Extension, "Labels", Nothing(NO_EXTENSION)),
    key(Extension, "ContainerLabels", Nothing(NO_EXTENSION)),
    key(Extension, "Constraints", Nothing(NO_EXTENSION)),
    key(Extension, "PlacementPreferences", Nothing(NO_EXTENSION)),
    key(Extension, "ServiceCluster", Cluster),
    key(Extension, "Networks", Setting("proxy-network", as_it_is)),
    key(Extension, "ProxyImage", Nothing(YOUR_SERVICE)),
    key(Extension, "ProxyServiceName", Setting("proxy-service", as_it_is)),
    key(Extension, "ProxyArgs", Nothing(YOUR_SERVICE)),
    key(Extension, "ProxyLabels", Nothing(YOUR_SERVICE)),
    key(Extension, "ProxyContainerLabels", Nothing(YOUR_SERVICE)),
    key(
        Extension,
        "ProxyConfigPath",
        Nothing("Envoy gets its configuration over xDS, not as a file"),
    ),
    key(Extension, "ProxyReplicas", Nothing(YOUR_SERVICE)),
    key(Extension, "ProxyStopSignal", Nothing("Envoy's image drains on SIGTERM")),
    key(Extension, "ProxyStopGracePeriod", Nothing(YOUR_SERVICE)),
    key(Extension, "ProxyConstraints", Nothing(YOUR_SERVICE)),
    key(Extension, "ProxyPlacementPreferences", Nothing(YOUR_SERVICE)),
    key(Extension, "ProxyUpdateDelay", Nothing(YOUR_SERVICE)),
    key(
        Extension,
        "PublishMode",
        Nothing(
            "the proxy is a service of your own: publish its ports by `docker service update --publish-add`",
        ),
    ),
    key(Extension, "PublishedPort", Setting("public-http-port", as_it_is)),
    key(Extension, "TargetPort", Setting("http-port", as_it_is)),
    key(Extension, "PublishedSSLPort", Setting("public-https-port", as_it_is)),
    key(Extension, "TargetSSLPort", Setting("https-port", as_it_is)),
    key(
        Extension,
        "Template",
        Nothing("there is no template: Envoy's configuration follows from the labels"),
    ),
    key(Extension, "HitlessServiceUpdate", Nothing("no change of a service restarts a proxy")),
    key(Extension, "ConfigImage", Nothing(NO_EXTENSION)),
    key(Extension, "ConfigServiceName", Nothing(NO_EXTENSION)),
    key(Proxy, "User", Nothing(YOUR_SERVICE)),
    key(Proxy, "PidPath", Nothing(NGINX)),
    key(
        Proxy,
        "WorkerProcesses",
        Nothing("Envoy has a worker a core; `--concurrency` in its arguments changes that"),
    ),
    key(
        Proxy,
        "RLimitNoFile",
        Nothing("the limit is Docker's: `--ulimit-add nofile=…` on the proxy service"),
    ),
    key(Proxy, "MaxConnections", Setting("max-connections", as_it_is)),
    key(Proxy, "ConnectTimeout", Setting("connect-timeout", connect_timeout)),
    key(Proxy, "SendTimeout", Setting("idle-timeout", as_it_is)),
    key(Proxy, "ReadTimeout", Setting("idle-timeout", as_it_is)),
    key(
        Proxy,
        "IPHash",
        Nothing("set the label com.docker.lb.ip_hash=true on the services that need it"),
    ),
    key(
        Proxy,
        "HTTPVersion",
        Nothing(
            "tasks are spoken to in HTTP/1.1, or as the label waggle.backend_protocol of a service says",
        ),
    ),
    key(Proxy, "SSLCiphers", Setting("tls-ciphers", ciphers)),
    key(Proxy, "SSLProtocols", Setting("tls-versions", protocols)),
    key(Proxy, "SSLVerify", Nothing("it had no effect in Interlock either")),
    key(Proxy, "SSLOpts", Nothing(HAPROXY)),
    key(Proxy, "AdminUser", Nothing(HAPROXY)),
    key(Proxy, "AdminPass", Nothing(HAPROXY)),
    key(Proxy, "SSLDefaultDHParam", Nothing("no cipher of Envoy needs such parameters")),
    key(Proxy, "SSLDefaultDHParamPath", Nothing("no cipher of Envoy needs such parameters")),
    key(Proxy, "KeepaliveTimeout", Setting("keepalive-timeout", as_it_is)),
    key(Proxy, "ClientMaxBodySize", Setting("max-body-size", as_it_is)),
    key(Proxy, "ClientBodyBufferSize", Nothing("Envoy passes bodies on as they come")),
    key(Proxy, "ClientHeaderBufferSize", Nothing("Envoy's buffers grow up to `max-headers-size`")),
    key(Proxy, "LargeClientHeaderBuffers", Setting("max-headers-size", header_buffers)),
    key(
        Proxy,
        "ClientBodyTimeout",
        Nothing(
            "a body that stands still ends by `idle-timeout`; `request-timeout` bounds the whole request",
        ),
    ),
    key(Proxy, "UnderscoresInHeaders", Setting("underscores-in-headers", underscores)),
    key(Proxy, "HideInfoHeaders", Setting("hide-info-headers", as_it_is)),
    key(Proxy, "ServerNamesHashBucketSize", Nothing(NGINX)),
    key(Proxy, "UpstreamZoneSize", Nothing(NGINX)),
    key(Proxy, "GlobalOptions", Nothing(RAW)),
    key(Proxy, "HTTPOptions", Nothing(RAW)),
    key(Proxy, "TCPOptions", Nothing(RAW)),
    key(Proxy, "AccessLogPath", Setting("access-log", access_log)),
    key(Proxy, "ErrorLogPath", Nothing("Envoy's own log goes to its standard error")),
    key(Proxy, "MainLogFormat", Nothing(OWN_FORMAT)),
    key(Proxy, "TraceLogFormat", Nothing(OWN_FORMAT)),
    key(Proxy, "ClientTimeout", Nothing(HAPROXY)),
    key(Proxy, "ServerTimeout", Nothing(HAPROXY)),
    key(Proxy, "DefaultOptions", Nothing(HAPROXY)),
];

/// The key of a table by its name, in any case.
pub(super) fn find(section: Section, name: &str) -> Option<&'static Key> {
    let named = |key: &&Key| key.section == section && key.name.eq_ignore_ascii_case(name);
    KEYS.iter().find(named)
}

/// The setting says what is wrong with it.
#[expect(clippy::unnecessary_wraps, reason = "one of several functions of this type")]
fn as_it_is(values: &[String]) -> Result<Translated, Expected> {
    Ok(Translated { values: Some(values.to_vec()), remark: None })
}

fn one<'a>(values: &'a [String], expected: &'static str) -> Result<&'a str, Expected> {
    match values {
        [value] => Ok(value.trim()),
        _ => Err(Expected(expected)),
    }
}

/// Go takes `:8080` for every address.
fn listen_address(values: &[String]) -> Result<Translated, Expected> {
    let expected =
        "an IP address and a port, such as 0.0.0.0:18000, or a port alone, such as :18000";
    let written = one(values, expected)?;
    let everywhere = if written.starts_with(':') { "0.0.0.0" } else { "" };
    let address: SocketAddr =
        format!("{everywhere}{written}").parse().map_err(|_| Expected(expected))?;
    let translated = Translated::to(address.to_string());
    Ok(match address.port() {
        18000 => translated,
        port => translated.but(format!(
            "Envoys look for the controller at port 18000 unless told otherwise: leave this key out, \
             or give them the output of `waggle bootstrap --controller waggle-controller:{port}`"
        )),
    })
}

fn connect_timeout(values: &[String]) -> Result<Translated, Expected> {
    let expected = "a time in seconds, or with a unit, such as 1s";
    let time: Timeout = one(values, expected)?.parse().map_err(|_| Expected(expected))?;
    if !time.get().is_zero() && time.get() <= ConnectTimeout::LONGEST.get() {
        return Ok(Translated::to(time.to_string()));
    }
    Ok(Translated::to(ConnectTimeout::LONGEST.to_string()).but(
        "5 s is the longest, and the default of 1 s is better: the address of a task that is gone \
         never answers, and requests wait for it so long before another is tried",
    ))
}

/// What is not an exact name belongs to OpenSSL's language of expressions.
#[expect(clippy::unnecessary_wraps, reason = "one of several functions of this type")]
fn ciphers(values: &[String]) -> Result<Translated, Expected> {
    let items = values.iter().flat_map(|value| value.split([':', ',', ' ']));
    let names: Result<Vec<TlsCipher>, _> =
        items.filter(|item| !item.is_empty()).map(str::parse).collect();
    Ok(match names {
        Ok(names) if !names.is_empty() => Translated {
            values: Some(names.iter().map(|name| name.as_str().to_owned()).collect()),
            remark: None,
        },
        _ => Translated::default().but(
            "Envoy takes names of ciphers only, no expressions of OpenSSL such as HIGH:!aNULL; \
             Envoy's own list holds",
        ),
    })
}

fn protocols(values: &[String]) -> Result<Translated, Expected> {
    let mut versions = Vec::new();
    let mut dropped = Vec::new();
    for written in values.iter().flat_map(|value| value.split([' ', ','])) {
        match written.to_ascii_lowercase().as_str() {
            "" => {}
            "tlsv1.2" => versions.push("1.2"),
            "tlsv1.3" => versions.push("1.3"),
            "sslv2" | "sslv3" | "tlsv1" | "tlsv1.0" | "tlsv1.1" => dropped.push(written),
            _ => return Err(Expected("versions of TLS, such as TLSv1.2 TLSv1.3")),
        }
    }
    versions.sort_unstable();
    versions.dedup();
    let translated = if versions.is_empty() {
        Translated::default()
    } else {
        Translated::to(versions.join(","))
    };
    Ok(if !dropped.is_empty() {
        translated.but(format!("{} is broken and stays off", dropped.join(", ")))
    } else if versions == ["1.2"] {
        translated.but("TLS 1.3 is off by this, which Interlock did not have; leave the key out")
    } else {
        translated
    })
}

/// `number size`: a header takes one buffer at most, all of them together the product.
fn header_buffers(values: &[String]) -> Result<Translated, Expected> {
    let expected = Expected("a number and a size, such as `4 8k`");
    let (count, size) = one(values, expected.0)?.split_once(' ').ok_or(expected)?;
    let count: u64 = count.parse().map_err(|_| expected)?;
    let size = size.trim().to_ascii_lowercase();
    let (digits, unit) = match size.strip_suffix(['k', 'm']) {
        Some(digits) => (digits, size.get(digits.len()..).unwrap_or_default()),
        None => (size.as_str(), ""),
    };
    let product = digits.parse::<u64>().ok().and_then(|size| size.checked_mul(count));
    Ok(Translated::to(format!("{}{unit}", product.ok_or(expected)?)))
}

fn underscores(values: &[String]) -> Result<Translated, Expected> {
    let expected = "`true` or `false`";
    match one(values, expected)?.to_ascii_lowercase().as_str() {
        "true" => Ok(Translated::to("allow")),
        "false" => Ok(Translated::to("drop")),
        _ => Err(Expected(expected)),
    }
}

fn access_log(values: &[String]) -> Result<Translated, Expected> {
    Ok(match one(values, "/dev/stdout or off")?.to_ascii_lowercase().as_str() {
        "/dev/stdout" | "stdout" => Translated::to("stdout"),
        "off" | "/dev/null" => Translated::to("off"),
        _ => Translated::to("stdout").but(
            "the access log goes to Envoy's standard output (`docker service logs`), to no file",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_interlock_is_written_as_the_setting_does() {
        // The key, its value, the setting's value, and a word of the remark.
        for (name, written, values, remark) in [
            ("ListenAddr", ":18000", Some("0.0.0.0:18000"), ""),
            ("listenaddr", ":8080", Some("0.0.0.0:8080"), "waggle-controller:8080"),
            ("ListenAddr", "10.0.0.1:18000", Some("10.0.0.1:18000"), ""),
            ("ConnectTimeout", "1", Some("1s"), ""),
            ("ConnectTimeout", "5s", Some("5s"), ""),
            ("ConnectTimeout", "600", Some("5s"), "5 s is the longest"),
            ("ConnectTimeout", "0", Some("5s"), "5 s is the longest"),
            ("SSLCiphers", "HIGH:!aNULL:!MD5", None, "own list"),
            ("SSLCiphers", "ECDHE-RSA-AES128-SHA", Some("ECDHE-RSA-AES128-SHA"), ""),
            ("SSLCiphers", "ECDHE-RSA-AES128-SHA:HIGH", None, "own list"),
            ("SSLProtocols", "TLSv1.3 TLSv1.2", Some("1.2,1.3"), ""),
            ("SSLProtocols", "TLSv1.2", Some("1.2"), "TLS 1.3 is off"),
            ("SSLProtocols", "TLSv1 TLSv1.1 TLSv1.2", Some("1.2"), "TLSv1, TLSv1.1 is broken"),
            ("SSLProtocols", "TLSv1.1", None, "stays off"),
            ("LargeClientHeaderBuffers", "4 8k", Some("32k"), ""),
            ("LargeClientHeaderBuffers", "1 1m", Some("1m"), ""),
            ("LargeClientHeaderBuffers", "2 1024", Some("2048"), ""),
            ("UnderscoresInHeaders", "true", Some("allow"), ""),
            ("UnderscoresInHeaders", "false", Some("drop"), ""),
            ("AccessLogPath", "/dev/stdout", Some("stdout"), ""),
            ("AccessLogPath", "off", Some("off"), ""),
            ("AccessLogPath", "/var/log/nginx/access.log", Some("stdout"), "no file"),
        ] {
            let translated = translate(name, written).unwrap();
            let joined = translated.values.map(|values| values.join(" "));
            assert_eq!(joined.as_deref(), values, "{name} = {written}");
            let told = translated.remark.unwrap_or_default();
            assert_eq!(told.is_empty(), remark.is_empty(), "{name} = {written}: {told}");
            assert!(told.contains(remark), "{name} = {written}: {told}");
        }
    }

    #[test]
    fn a_value_that_interlock_would_not_take_is_refused() {
        for (name, written) in [
            ("ListenAddr", "8080"),
            ("ListenAddr", "host:80"),
            ("ConnectTimeout", "soon"),
            ("SSLProtocols", "TLSv1.4"),
            ("LargeClientHeaderBuffers", "8k"),
            ("LargeClientHeaderBuffers", "4 8x"),
            ("LargeClientHeaderBuffers", "18446744073709551615 18446744073709551615"),
            ("UnderscoresInHeaders", "maybe"),
        ] {
            assert!(translate(name, written).is_err(), "{name} = {written}");
        }
    }

    fn translate(name: &str, written: &str) -> Result<Translated, Expected> {
        let sections = [Core, Extension, Proxy];
        let key = sections.into_iter().find_map(|section| find(section, name)).unwrap();
        let Setting(_, translate) = key.meaning else { panic!("{name} is no setting") };
        translate(&[written.to_owned()])
    }

    #[test]
    fn no_key_is_there_twice() {
        for (index, key) in KEYS.iter().enumerate() {
            let same = KEYS.iter().position(|other| {
                other.section == key.section && other.name.eq_ignore_ascii_case(key.name)
            });
            assert_eq!(same, Some(index), "{}", key.name);
        }
    }
}

//! A problem is a value: made where it is found, printed wherever it is told.

use crate::swarm::{ServiceId, ServiceName};

/// How much of a value a problem shows, in characters.
const SHOWN: usize = 200;

/// Something about one service that its owner should know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Problem {
    /// What kind of problem: stable, for machines.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// The service's ID.
    pub service: ServiceId,
    /// The service's name.
    pub service_name: ServiceName,
    /// The label at fault, with its prefix.
    pub label: Option<String>,
    /// The label's value (of a list, the item), as written, cut at 200 characters, with control
    /// characters escaped.
    pub value: Option<String>,
    /// What is wrong, what was expected, and what Waggle does instead.
    pub message: String,
    /// What to do about it.
    pub fix: String,
}

impl Problem {
    /// A problem of a service; [`Problem::at`] adds the label.
    pub fn new(
        code: Code,
        severity: Severity,
        service: (&ServiceId, &ServiceName),
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            code,
            severity,
            service: service.0.clone(),
            service_name: service.1.clone(),
            label: None,
            value: None,
            message: message.into(),
            fix: fix.into(),
        }
    }

    /// Names the label at fault, and its value where it has one.
    #[must_use]
    pub fn at(self, key: &str, value: Option<&str>) -> Self {
        Self { label: Some(shown(key)), value: value.map(shown), ..self }
    }
}

/// A text of a user's as it may be printed: cut, and without control characters.
pub(super) fn shown(text: &str) -> String {
    let mut characters = text.chars();
    let mut out = printable(characters.by_ref().take(SHOWN));
    if characters.next().is_some() {
        out.push('…');
    }
    out
}

/// A text of anyone's as it may be printed: what would change how the text around it looks is escaped.
pub(crate) fn printable(characters: impl IntoIterator<Item = char>) -> String {
    let mut out = String::new();
    for character in characters {
        if is_deceptive(character) {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// Whether a character changes how the text around it looks: a control character, or one that turns
/// the direction of writing.
pub(super) fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The service is not routed, or not where it asked to be.
    Error,
    /// The service is routed, but not quite as its labels say.
    Warning,
    /// Worth knowing; nothing is wrong.
    Information,
}

/// Defines [`Code`] with what its documentation prints, so that no code goes without.
macro_rules! codes {
    ($($variant:ident $name:literal: $meaning:literal, $remedy:literal;)*) => {
        /// The kinds of problems. Their names are stable.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize
        )]
        pub enum Code {
            $(#[doc = $meaning] #[serde(rename = $name)] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The stable name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it says, in Markdown.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }

            /// What to do about it, in Markdown.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)* }
            }
        }
    };
}

codes! {
    MisplacedLabels "misplaced-labels":
        "`com.docker.lb.*` labels are on the service's containers. They are ignored; with none on the service itself, it is not routed.",
        "Put them on the service: `docker service update --label-add`, in Compose `deploy.labels`.";
    NoHosts "no-hosts":
        "No host is left to route, and the service is no default backend. It is not routed, unless it worked before: then its last valid hosts hold.",
        "Set `hosts`, or `default_backend=true`.";
    BadHost "bad-host":
        "An item of `hosts` is no host name. The others hold.",
        "Write a bare name, such as `app.example.org` or `*.example.org`.";
    TooManyHosts "too-many-hosts":
        "More than 64 items in `hosts`. The first 64 hold.",
        "Split the service, or use a `*.suffix`.";
    MissingPort "missing-port":
        "`port` is missing. The service is not routed.",
        "Set `port` to what the application listens on in its container.";
    BadPort "bad-port":
        "`port` is no number from 1 to 65535. The last valid one holds; without one, the service is not routed.",
        "Set `port` to what the application listens on in its container.";
    NoNetwork "no-network":
        "The service is attached to no overlay network. It is not routed.",
        "Attach it to one that the proxy is on.";
    UnknownNetwork "unknown-network":
        "The service is not attached to a network of this name or ID. The default choice holds.",
        "Name one of the networks that the message lists.";
    AmbiguousNetwork "ambiguous-network":
        "The service is attached to several networks and names none. One that the proxy is on is used, else the first by name.",
        "Set `network`.";
    NetworkWithoutProxy "network-without-proxy":
        "The proxy is not on the service's network (`--proxy-network`, `--proxy-service`): its requests find no way.",
        "Attach the proxy to the network (or let `--manage-proxy` do it), or name another one in `network`.";
    BadBackendMode "bad-backend-mode":
        "`backend_mode` is neither `task` nor `vip`. `task` holds.",
        "Write `task` or `vip`.";
    VipWithoutAddress "vip-without-address":
        "`backend_mode=vip`, but the service has no virtual IP on its network (`--endpoint-mode dnsrr`). `task` holds.",
        "Give the service a virtual IP, or drop the label.";
    BadCookieName "bad-cookie-name":
        "`sticky_session_cookie` is no cookie name. Sessions are not sticky.",
        "Write a name of at most 64 letters, digits and ``!#$%&'*+-.^_`|~``.";
    StickyWithVip "sticky-with-vip":
        "`sticky_session_cookie` with `backend_mode=vip`: Swarm chooses the task. The service is routed, and its sessions are not sticky.",
        "Drop one of the two labels.";
    IpHashWithSticky "ip-hash-with-sticky":
        "`ip_hash` beside `sticky_session_cookie`. The cookie wins.",
        "Drop one of the two labels.";
    IpHashWithVip "ip-hash-with-vip":
        "`ip_hash` with `backend_mode=vip`: Swarm chooses the task. It has no effect.",
        "Drop one of the two labels.";
    BadPath "bad-path":
        "An item of `context_root` or `websocket_endpoints` is no path. The others hold. With no valid context root, the last valid ones hold; without these, the service is not routed.",
        "Write a path such as `/app`; what a URL must escape, as in a URL.";
    BadClusterName "bad-cluster-name":
        "`service_cluster` is no name. The last valid one holds; without one, the service is not routed.",
        "Write the name of Envoy's node cluster.";
    BadSecretName "bad-secret-name":
        "A label that names a secret has another value. It has no effect.",
        "Write a name that `docker secret ls` shows.";
    UnknownSecret "unknown-secret":
        "The Swarm has no secret of this name. The hosts answer plain HTTP only; tasks that should prove their name are not reached.",
        "Create the secret, or correct the name.";
    SecretWithoutProxy "secret-without-proxy":
        "The secret is not mounted into the proxy's service. The hosts answer plain HTTP only; tasks that should prove their name are not reached.",
        "Mount it (`docker service update --secret-add`), or let `--manage-proxy` do it.";
    CertificateRefused "certificate-refused":
        "A proxy cannot use the certificate, the key or the authority: the file is missing there, broken, or the two do not belong together. TLS connections for the hosts fail; all others go on.",
        "Replace the secret by one that is whole; the message has Envoy's words.";
    KeyWithoutCertificate "key-without-certificate":
        "`ssl_key` without `ssl_cert`. The hosts answer plain HTTP only.",
        "Set `ssl_cert`.";
    SslOnlyWithoutTls "ssl-only-without-tls":
        "`ssl_only` without `ssl_cert` and `ssl_passthrough`. Plain HTTP is served.",
        "Set one of them, or drop `ssl_only`.";
    LabelWithPassthrough "label-with-passthrough":
        "A label about HTTP, or about TLS at the proxy, beside `ssl_passthrough`. It has no effect.",
        "Drop one of the two labels.";
    BadTlsVerify "bad-tls-verify":
        "`ssl_backend_tls_verify` is neither `none` nor `optional` nor `required`. `none` holds.",
        "Write one of the three.";
    OptionalTlsVerify "optional-tls-verify":
        "`ssl_backend_tls_verify=optional` checks nothing.",
        "Write `required` or `none`.";
    IdleBackendLabel "idle-backend-label":
        "A label about TLS to the tasks, without `ssl_backend`. It has no effect.",
        "Set `ssl_backend`, or drop the label.";
    BadBackendProtocol "bad-backend-protocol":
        "`waggle.backend_protocol` is neither `http1` nor `h2`. `http1` holds.",
        "Write one of the two.";
    BadRedirect "bad-redirect":
        "An item of `redirects` is no redirect. The others hold.",
        "Write `http://source,https://target`; the source's host must be in `hosts`.";
    RedirectLoop "redirect-loop":
        "A redirect leads clients round and round. It is ignored.",
        "Drop it, or name another target.";
    BadMaxFails "bad-max-fails":
        "`max_fails` is no number from 0 to 1000000. No task is ejected.",
        "Write a number.";
    BadDuration "bad-duration":
        "`fail_timeout` is no duration. `10s` holds.",
        "Write seconds, or a number with a unit, such as `30s`.";
    FailTimeoutAlone "fail-timeout-alone":
        "`fail_timeout` without `max_fails`. It has no effect.",
        "Set `max_fails`, or drop the label.";
    BadBoolean "bad-boolean":
        "A label that is on or off has another value. Its default holds.",
        "Write `true` or `false`.";
    ValueTooLong "value-too-long":
        "A label has more than 4 KiB. It counts as broken.",
        "Shorten it.";
    UnknownLabel "unknown-label":
        "A `com.docker.lb.*` label that does not exist. It is ignored.",
        "Correct the spelling, or remove it.";
    SharesHost "shares-host":
        "Several services share a host; their endpoints form one pool.",
        "Nothing, if it is meant: that is what a canary is.";
    OptionsDiffer "options-differ":
        "The service joined a host with options other than those of the service that holds it. The holder's options apply.",
        "Make the labels of the two services equal.";
    TwoDefaultBackends "two-default-backends":
        "Several services are default backends; their endpoints form one pool.",
        "Keep `default_backend` on one of them, unless it is a canary.";
    HostRefused "host-refused":
        "Another service holds the host, and `--share-hosts` does not let this one join. It is not routed there.",
        "Choose another host, or take it from the other service.";
    RefusedByProxy "refused-by-proxy":
        "A proxy refuses the configuration that follows from the service. Of the service's own cluster, and of its hosts, the proxy keeps what it had; where all services would suffer, this one is left out until it changes.",
        "Correct what the proxy's own words name; labels that lead here are a defect of Waggle.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_a_value_is_short_and_printable() {
        assert_eq!(shown("a\u{1b}[31m\n\u{202e}"), "a\\u{1b}[31m\\n\\u{202e}");
        assert_eq!(shown(&"é".repeat(201)), format!("{}…", "é".repeat(200)));
        assert_eq!(shown(&"é".repeat(200)), "é".repeat(200));
    }

    #[test]
    fn the_serialized_name_of_a_code_is_its_name() {
        for code in Code::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}

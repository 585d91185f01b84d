//! `ssl_passthrough`: TLS goes to the task untouched.

use super::reader::{Reader, Switch};
use super::{
    Code, Label, backend_protocol, backend_tls, certificate, context_root, sticky_session_cookie,
    websocket_endpoints,
};

pub(super) const LABEL: Label = Label {
    name: "ssl_passthrough",
    kind: "boolean",
    default: "`false`",
    about: "TLS connections for the hosts, chosen by SNI, go to the service's `port` as they are: the \
            application holds the certificate. Plain HTTP gets `503`, or what `ssl_only` or \
            `redirects` say. Labels about HTTP or about TLS at the proxy have no effect.",
};

/// The labels that have no meaning where the proxy does not see requests.
const MEANINGLESS: [&Label; 10] = [
    &context_root::LABEL,
    &context_root::REWRITE,
    &certificate::LABEL,
    &certificate::KEY,
    &sticky_session_cookie::LABEL,
    &websocket_endpoints::LABEL,
    &backend_tls::LABEL,
    &backend_tls::VERIFY,
    &backend_tls::CA,
    &backend_protocol::LABEL,
];

/// Whether TLS passes through. To be read before the labels that it takes the meaning from: these
/// count as absent then, and are told.
pub(super) fn read(reader: &mut Reader<'_>) -> Switch {
    let passthrough = reader.switch(&LABEL);
    if passthrough == Switch::On {
        for label in MEANINGLESS {
            if reader.written(label).is_some() {
                let message = format!("`{}` has no effect with `ssl_passthrough`", label.name);
                reader.tell_idle(Code::LabelWithPassthrough, label, message);
            }
            reader.ignore(label);
        }
    }
    passthrough
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::testing::{a_service, codes, intent};
    use crate::labels::{Affinity, PathPrefix, Tls};

    #[test]
    fn passthrough_needs_no_other_label() {
        let web = a_service("web").serving("a.example").label("ssl_passthrough", "on");
        assert_eq!((codes(&web), intent(&web).site.tls), (vec![], Tls::Passthrough));
    }

    #[test]
    fn labels_about_http_are_told_and_have_no_effect() {
        for label in MEANINGLESS {
            let web = a_service("web")
                .serving("a.example")
                .label("ssl_passthrough", "true")
                .label(label.name, "/true");
            assert_eq!(codes(&web), [Code::LabelWithPassthrough], "{}", label.name);
            let intent = intent(&web);
            assert!(intent.paths.iter().all(PathPrefix::is_root));
            assert_eq!((intent.site.tls, intent.pool.affinity), (Tls::Passthrough, Affinity::None));
        }
    }

    #[test]
    fn off_it_changes_nothing() {
        let web = a_service("web").serving("a.example").label("ssl_passthrough", "off");
        let rooted = intent(&web.clone().label("context_root", "/app"));
        assert!(!rooted.paths.iter().any(PathPrefix::is_root));
        assert_eq!(intent(&web).site.tls, Tls::None);
    }
}

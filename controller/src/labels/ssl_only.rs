//! `ssl_only`: plain HTTP is sent to HTTPS.

use super::reader::{Reader, Switch};
use super::{Code, Label, Plain, Tls, certificate};

pub(super) const LABEL: Label = Label {
    name: "ssl_only",
    kind: "boolean",
    default: "`false`",
    about: "Plain HTTP requests for the hosts get `301` to HTTPS (on `--public-https-port`), path and \
            query kept. Needs `ssl_cert` or `ssl_passthrough`.",
};

/// What plain HTTP gets. Where the certificate is missing that the service asks for, it is served.
pub(super) fn read(reader: &mut Reader<'_>, tls: &Tls) -> Plain {
    match (reader.switch(&LABEL), tls) {
        (Switch::On, Tls::Terminated(_) | Tls::Passthrough) => Plain::ToHttps,
        (Switch::On, Tls::None) => {
            if reader.written(&certificate::LABEL).is_none() {
                let message = "neither `ssl_cert` nor `ssl_passthrough` is set: there is no HTTPS to \
                               go to; plain HTTP is served";
                reader.tell_idle(Code::SslOnlyWithoutTls, &LABEL, message);
            }
            Plain::Served
        }
        (Switch::Off, _) => Plain::Served,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::testing::{a_service, codes, intent};

    #[test]
    fn plain_http_goes_to_https_where_there_is_https() {
        let web = a_service("web").serving("a.example").label("ssl_only", "true");
        assert_eq!(
            (codes(&web), intent(&web).site.plain),
            (vec![Code::SslOnlyWithoutTls], Plain::Served)
        );
        for (label, value) in [("ssl_cert", "cert"), ("ssl_passthrough", "1")] {
            let web = web.clone().label(label, value);
            assert_eq!((codes(&web), intent(&web).site.plain), (vec![], Plain::ToHttps), "{label}");
        }
    }

    #[test]
    fn without_its_certificate_a_host_goes_on_with_plain_http() {
        let web = a_service("web")
            .serving("a.example")
            .label("ssl_only", "true")
            .label("ssl_cert", "a b");
        assert_eq!(
            (codes(&web), intent(&web).site.plain),
            (vec![Code::BadSecretName], Plain::Served)
        );
    }
}

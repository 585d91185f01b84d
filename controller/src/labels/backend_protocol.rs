//! `waggle.backend_protocol`: what the tasks speak.

use super::fix::Edit;
use super::reader::{Fault, Instead, Reader, Said};
use super::{Code, Label, Protocol};

pub(super) const LABEL: Label = Label {
    name: "waggle.backend_protocol",
    kind: "`http1` or `h2`",
    default: "`http1`",
    about: "What the tasks speak. `h2` is HTTP/2 from the first byte (over TLS with `ssl_backend`), as \
            gRPC needs it.",
};

pub(super) fn read(reader: &mut Reader<'_>) -> Protocol {
    let fix = reader.update(&[Edit::Set(LABEL.name, "h2")]);
    let instead = || Instead::default("the default, `http1`, holds");
    let said = reader.parse(&LABEL, instead, |value| match value.to_ascii_lowercase().as_str() {
        "http1" => Ok(Protocol::Http1),
        "h2" => Ok(Protocol::Http2),
        _ => Err(Fault {
            code: Code::BadBackendProtocol,
            message: "neither `http1` nor `h2`".to_owned(),
            fix,
        }),
    });
    match said {
        Said::Value(protocol) => protocol,
        Said::Nothing | Said::Nonsense => Protocol::Http1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::testing::{a_service, codes, intent};

    #[test]
    fn tasks_speak_http1_unless_they_say_h2() {
        let web = a_service("web").serving("a.example");
        assert_eq!(intent(&web).pool.protocol, Protocol::Http1);
        for (value, protocol) in
            [("h2", Protocol::Http2), ("H2", Protocol::Http2), ("http1", Protocol::Http1)]
        {
            let web = web.clone().label("waggle.backend_protocol", value);
            assert_eq!((codes(&web), intent(&web).pool.protocol), (vec![], protocol));
        }
        let web = web.label("waggle.backend_protocol", "grpc");
        assert_eq!(
            (codes(&web), intent(&web).pool.protocol),
            (vec![Code::BadBackendProtocol], Protocol::Http1)
        );
    }
}

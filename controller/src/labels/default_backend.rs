//! `default_backend`: answer for every host that nobody claims.

use super::fix::Edit;
use super::reader::{Fault, Instead, Reader, Said, boolean};
use super::{Claim, Code, Label};

pub(super) const LABEL: Label = Label {
    name: "default_backend",
    kind: "boolean",
    default: "`false`",
    about: "The service answers requests for every host that no service claims.",
};

pub(super) fn read(reader: &mut Reader<'_>) -> Option<Claim> {
    let fix = reader.update(&[Edit::Set(LABEL.name, "true")]);
    let instead = || Instead::default("the default, `false`, holds");
    let said = reader.parse(&LABEL, instead, |value| {
        boolean(value).ok_or_else(|| Fault {
            code: Code::BadBoolean,
            message: "neither `true` nor `false` (nor `1`, `0`, `yes`, `no`, `on`, `off`)".into(),
            fix,
        })
    });
    matches!(said, Said::Value(true)).then_some(Claim::AnyOther)
}

#[cfg(test)]
mod tests {
    use crate::labels::testing::{a_service, codes, intent, read};
    use crate::labels::{Claim, Code};

    #[test]
    fn a_default_backend_needs_no_host() {
        for yes in ["true", " On "] {
            let web = a_service("web").label("port", "80").label("default_backend", yes);
            assert_eq!(Vec::from_iter(intent(&web).claims), [Claim::AnyOther]);
        }
    }

    #[test]
    fn a_default_backend_may_have_hosts_too() {
        let web = a_service("web").serving("a.example").label("default_backend", "1");
        assert_eq!(intent(&web).claims.len(), 2);
    }

    #[test]
    fn anything_but_a_boolean_is_false() {
        let web = a_service("web").serving("a.example").label("default_backend", "maybe");
        assert_eq!(codes(&web), [Code::BadBoolean]);
        assert!(!intent(&web).claims.contains(&Claim::AnyOther));
        let alone = a_service("web").label("port", "80").label("default_backend", "maybe");
        assert_eq!(codes(&alone), [Code::NoHosts, Code::BadBoolean]);
        assert_eq!(read(&alone).unwrap().intent, None);
    }
}

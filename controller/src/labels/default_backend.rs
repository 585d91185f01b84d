//! `default_backend`: answer for every host that nobody claims.

use super::Label;
use super::reader::{Reader, Switch};

pub(super) const LABEL: Label = Label {
    name: "default_backend",
    kind: "boolean",
    default: "`false`",
    about: "The service answers requests for every host that no service claims.",
};

pub(super) fn read(reader: &mut Reader<'_>) -> Switch {
    reader.switch(&LABEL)
}

#[cfg(test)]
mod tests {
    use crate::labels::testing::{a_service, codes, intent, read};
    use crate::labels::{Code, Host};

    #[test]
    fn a_default_backend_needs_no_host() {
        for yes in ["true", " On "] {
            let web = a_service("web").label("port", "80").label("default_backend", yes);
            assert_eq!(Vec::from_iter(intent(&web).hosts), [Host::AnyOther]);
        }
    }

    #[test]
    fn a_default_backend_may_have_hosts_too() {
        let web = a_service("web").serving("a.example").label("default_backend", "1");
        assert_eq!(intent(&web).hosts.len(), 2);
    }

    #[test]
    fn anything_but_a_boolean_is_false() {
        let web = a_service("web").serving("a.example").label("default_backend", "maybe");
        assert_eq!(codes(&web), [Code::BadBoolean]);
        assert!(!intent(&web).hosts.contains(&Host::AnyOther));
        let alone = a_service("web").label("port", "80").label("default_backend", "maybe");
        assert_eq!(codes(&alone), [Code::NoHosts, Code::BadBoolean]);
        assert_eq!(read(&alone).unwrap().intent, None);
    }
}

//! `ssl_backend` and what belongs to it: TLS between the proxy and the tasks.

use std::collections::BTreeSet;

use super::fix::Edit;
use super::reader::{Fault, Instead, Reader, Said, Switch, key};
use super::{
    Authority, Code, HostPattern, Label, NodeCluster, SecretName, Severity, Surroundings,
    Transport, Verify, certificate,
};

pub(super) const LABEL: Label = Label {
    name: "ssl_backend",
    kind: "boolean",
    default: "`false`",
    about: "The proxy speaks TLS to the tasks. The request's host is sent as SNI.",
};

pub(super) const VERIFY: Label = Label {
    name: "ssl_backend_tls_verify",
    kind: "`none`, `optional` or `required`",
    default: "`none`",
    about: "`required`: a task must prove by its certificate that it is the request's host, to the \
            system's authorities or to `waggle.backend_ca`. `optional` is `none`, with a warning.",
};

pub(super) const CA: Label = Label {
    name: "waggle.backend_ca",
    kind: "name of a secret",
    default: "the system's authorities",
    about: "The authority (PEM) that signs the tasks' certificates; a secret of the proxy service.",
};

pub(super) const NAME: Label = Label {
    name: "waggle.backend_name",
    kind: "host name",
    default: "the request's host",
    about: "The name that is sent as SNI to the tasks, and that their certificate must have.",
};

/// How the proxy reaches the tasks.
pub(super) fn read(
    reader: &mut Reader<'_>,
    surroundings: Surroundings<'_>,
    cluster: &NodeCluster,
    needed: &mut BTreeSet<SecretName>,
) -> Transport {
    if reader.switch(&LABEL) == Switch::Off {
        for label in [&VERIFY, &CA, &NAME] {
            if reader.written(label).is_some_and(|value| value.trim() != "none") {
                let message = format!("`{}` has no effect without `ssl_backend`", label.name);
                reader.tell_idle(Code::IdleBackendLabel, label, message);
            }
        }
        return Transport::Plain;
    }
    let name = name(reader);
    let verify = match (verification(reader), authority(reader, surroundings, cluster, needed)) {
        (Verification::Required, Some(authority)) => Verify::Required(authority),
        // Its owner asked for proof: without the means of it, nothing is sent to the tasks.
        (Verification::Required, None) => Verify::Impossible,
        (Verification::None, _) => Verify::None,
    };
    Transport::Tls { name, verify }
}

/// What `ssl_backend_tls_verify` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verification {
    None,
    Required,
}

fn verification(reader: &mut Reader<'_>) -> Verification {
    let required = reader.update(&[Edit::Set(VERIFY.name, "required")]);
    let instead = || Instead::default("the default, `none`, holds");
    let said = reader.parse(&VERIFY, instead, |value| match value.to_ascii_lowercase().as_str() {
        known @ ("none" | "optional" | "required") => Ok(known.to_owned()),
        _ => Err(Fault {
            code: Code::BadTlsVerify,
            message: "neither `none` nor `optional` nor `required`".to_owned(),
            fix: required.clone(),
        }),
    });
    match said {
        Said::Value(word) if word == "required" => Verification::Required,
        Said::Value(word) if word == "optional" => {
            let message = "`optional` checks nothing: it is `none`";
            let none = reader.update(&[Edit::Set(VERIFY.name, "none")]);
            let fix = format!("{required}, or: {none}");
            let at = (&*key(&VERIFY), Some("optional"));
            reader.tell(Code::OptionalTlsVerify, Severity::Warning, at, message, fix);
            Verification::None
        }
        Said::Value(_) | Said::Nothing | Said::Nonsense => Verification::None,
    }
}

/// Who signs the tasks' certificates; none where that is a secret which the proxies do not hold.
fn authority(
    reader: &mut Reader<'_>,
    surroundings: Surroundings<'_>,
    cluster: &NodeCluster,
    needed: &mut BTreeSet<SecretName>,
) -> Option<Authority> {
    let fix = reader.update(&[Edit::Set(CA.name, "SECRET")]);
    let instead =
        || Instead { severity: Severity::Error, told: "no task can prove its name".to_owned() };
    let said = reader.parse(&CA, instead, |value| {
        SecretName::parse(value).map_err(|fault| Fault {
            code: Code::BadSecretName,
            message: fault.to_string(),
            fix,
        })
    });
    match said {
        Said::Nothing => Some(Authority::System),
        Said::Nonsense => None,
        Said::Value(secret) => {
            let file = certificate::place(reader, &CA, &secret, surroundings, cluster, needed);
            file.map(Authority::Secret)
        }
    }
}

/// The name that tasks are called by, where the request's host is not it.
fn name(reader: &mut Reader<'_>) -> Option<HostPattern> {
    let fix = reader.update(&[Edit::Set(NAME.name, "HOST")]);
    let instead = || Instead::default("the request's host is used");
    let said = reader.parse(&NAME, instead, |value| {
        match HostPattern::parse(value) {
            Ok(name) if !name.is_wildcard() => Ok(name),
            Ok(_) => Err("one name was expected, not a wildcard".to_owned()),
            Err(fault) => Err(fault.to_string()),
        }
        .map_err(|message| Fault { code: Code::BadHost, message, fix })
    });
    match said {
        Said::Value(name) => Some(name),
        Said::Nothing | Said::Nonsense => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::testing::{a_service, codes, intent};
    use crate::swarm::Service;

    fn secured() -> Service {
        a_service("web").serving("a.example").label("ssl_backend", "true")
    }

    fn verify(web: &Service) -> Verify {
        match intent(web).pool.transport {
            Transport::Tls { verify, .. } => verify,
            Transport::Plain => panic!("no TLS"),
        }
    }

    #[test]
    fn tls_to_the_tasks_checks_nothing_by_default() {
        assert_eq!((codes(&secured()), verify(&secured())), (vec![], Verify::None));
        let none = secured().label("ssl_backend_tls_verify", "none");
        assert_eq!((codes(&none), verify(&none)), (vec![], Verify::None));
    }

    #[test]
    fn required_checks_against_the_system_or_a_secret() {
        let web = secured().label("ssl_backend_tls_verify", "Required");
        assert_eq!((codes(&web), verify(&web)), (vec![], Verify::Required(Authority::System)));
        let web = web.label("waggle.backend_ca", "ca");
        let Verify::Required(Authority::Secret(file)) = verify(&web) else { panic!("{web:?}") };
        assert_eq!(file.path, "/run/secrets/ca");
        let broken = web.label("waggle.backend_ca", "../ca");
        assert_eq!(
            (codes(&broken), verify(&broken)),
            (vec![Code::BadSecretName], Verify::Impossible)
        );
    }

    #[test]
    fn optional_and_unknown_words_are_none_with_a_warning() {
        for (word, code) in [("optional", Code::OptionalTlsVerify), ("yes", Code::BadTlsVerify)] {
            let web = secured().label("ssl_backend_tls_verify", word);
            assert_eq!((codes(&web), verify(&web)), (vec![code], Verify::None), "{word}");
        }
    }

    #[test]
    fn a_name_of_the_tasks_is_one_host() {
        let web = secured().label("waggle.backend_name", "Tasks.internal");
        let Transport::Tls { name, .. } = intent(&web).pool.transport else { panic!("no TLS") };
        assert_eq!(name.unwrap().as_str(), "tasks.internal");
        for bad in ["*.internal", "a b", "", "https://a"] {
            assert_eq!(
                codes(&secured().label("waggle.backend_name", bad)),
                [Code::BadHost],
                "{bad}"
            );
        }
    }

    #[test]
    fn without_tls_to_the_tasks_its_labels_are_told() {
        let web = a_service("web").serving("a.example").label("ssl_backend_tls_verify", "required");
        assert_eq!(
            (codes(&web), intent(&web).pool.transport),
            (vec![Code::IdleBackendLabel], Transport::Plain)
        );
        let web = a_service("web").serving("a.example").label("ssl_backend_tls_verify", "none");
        assert_eq!(codes(&web), []);
    }
}

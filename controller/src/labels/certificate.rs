//! `ssl_cert`, `ssl_key`: TLS ends at the proxy.

use std::collections::BTreeSet;

use super::fix::{Edit, quoted};
use super::proxy::Place;
use super::reader::{Fault, Instead, Reader, Said, key};
use super::{
    Care, Certificate, Code, Label, NodeCluster, STACK, SecretFile, SecretName, Severity,
    Surroundings,
};

pub(super) const LABEL: Label = Label {
    name: "ssl_cert",
    kind: "name of a secret",
    default: "none",
    about: "The hosts answer HTTPS too, with this certificate chain (PEM), a Docker secret that is \
            mounted into the proxy service. The name of a stack's secret may be short (`cert` for \
            `stack_cert`). Plain HTTP goes on, unless `ssl_only`.",
};

pub(super) const KEY: Label = Label {
    name: "ssl_key",
    kind: "name of a secret",
    default: "`ssl_cert`",
    about: "The certificate's private key (PEM). Without the label, the secret of `ssl_cert` holds \
            both.",
};

/// The certificate, where the proxies of this node cluster hold it. All secrets that they need go
/// to `needed`.
///
/// The one that the hosts have `shown` until now goes on until each proxy holds the next: Swarm gives
/// a proxy another secret by replacing its tasks, one after the other.
pub(super) fn read(
    reader: &mut Reader<'_>,
    surroundings: Surroundings<'_>,
    cluster: &NodeCluster,
    shown: Option<&Certificate>,
    needed: &mut BTreeSet<SecretName>,
) -> Option<Certificate> {
    let chain = name(reader, &LABEL);
    if chain == Said::Nothing && reader.written(&KEY).is_some() {
        let message = "`ssl_key` without `ssl_cert`; the hosts answer plain HTTP only";
        reader.tell_idle(Code::KeyWithoutCertificate, &KEY, message);
        return None;
    }
    let private_key = name(reader, &KEY);
    let (Said::Value(chain), Said::Value(_) | Said::Nothing) = (&chain, &private_key) else {
        return None;
    };
    let chain_file = place(reader, &LABEL, chain, surroundings, cluster, needed);
    let key_file = match &private_key {
        Said::Value(name) => place(reader, &KEY, name, surroundings, cluster, needed),
        _ => chain_file.clone(),
    };
    let next = chain_file.zip(key_file).map(|(chain, key)| Certificate { chain, key });
    let has_arrived = next.as_ref().is_some_and(|next| {
        next.files().all(|file| surroundings.proxies.all_hold(&file.name, cluster))
    });
    let is_held = |shown: &&Certificate| {
        let place = |file: &SecretFile| surroundings.proxies.find(&file.name, None, cluster);
        shown.files().all(|it| place(it) == Place::File(it.name.clone(), it.path.clone()))
    };
    match shown.filter(|_| !has_arrived).filter(is_held) {
        Some(shown) => {
            needed.extend(shown.files().map(|file| file.name.clone()));
            Some(shown.clone())
        }
        None => next,
    }
}

impl Certificate {
    fn files(&self) -> impl Iterator<Item = &SecretFile> {
        [&self.chain, &self.key].into_iter()
    }
}

fn name(reader: &mut Reader<'_>, label: &Label) -> Said<SecretName> {
    let fix = format!(
        "{} (SECRET: see `docker secret ls`)",
        reader.update(&[Edit::Set(label.name, "SECRET")])
    );
    reader.parse(
        label,
        || Instead {
            severity: Severity::Error,
            told: "the hosts answer plain HTTP only".to_owned(),
        },
        |value| {
            SecretName::parse(value).map_err(|fault| Fault {
                code: Code::BadSecretName,
                message: fault.to_string(),
                fix,
            })
        },
    )
}

/// The file in which the proxies find a secret. Where they do not hold it, that is told, unless it
/// will be put right by itself.
pub(super) fn place(
    reader: &mut Reader<'_>,
    label: &Label,
    secret: &SecretName,
    surroundings: Surroundings<'_>,
    cluster: &NodeCluster,
    needed: &mut BTreeSet<SecretName>,
) -> Option<SecretFile> {
    let stack = reader.service.labels.get(STACK);
    let (code, message, fix) = match surroundings.proxies.find(secret, stack, cluster) {
        Place::File(name, path) => {
            needed.insert(name.clone());
            return Some(SecretFile { name, path });
        }
        Place::Detached(name, proxy) => {
            needed.insert(name.clone());
            if proxy.care == Care::Controller {
                return None;
            }
            let message = format!("secret `{name}` is not mounted into `{}`", proxy.name);
            let service = quoted(proxy.name.as_str());
            let fix = format!("docker service update --secret-add {name} {service}");
            (Code::SecretWithoutProxy, message, fix)
        }
        Place::Nowhere => {
            let message = format!("there is no secret `{secret}`");
            (Code::UnknownSecret, message, format!("docker secret create {secret} FILE"))
        }
    };
    let at = (&*key(label), Some(secret.as_str()));
    reader.tell(code, Severity::Error, at, format!("{message}; the label has no effect"), fix);
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::testing::{a_service, a_swarm, codes, intent};
    use crate::labels::{Tls, testing::Swarm};
    use crate::swarm::{Service, Update};

    fn secured() -> Service {
        a_service("web").serving("a.example").label("ssl_cert", "cert").label("ssl_key", "key")
    }

    fn files(swarm: &Swarm, web: &Service) -> Option<[String; 2]> {
        match swarm.read(web).unwrap().intent.unwrap().site.tls {
            Tls::Terminated(certificate) => Some([certificate.chain.path, certificate.key.path]),
            Tls::None | Tls::Passthrough => None,
        }
    }

    fn told(swarm: &Swarm, web: &Service) -> Vec<(Code, String)> {
        let problems = swarm.read(web).unwrap().problems;
        problems.into_iter().map(|problem| (problem.code, problem.fix)).collect()
    }

    #[test]
    fn a_certificate_is_two_secrets_or_one_that_holds_both() {
        let expected = ["/run/secrets/cert", "/run/secrets/key"].map(String::from);
        assert_eq!(files(&a_swarm(), &secured()), Some(expected));
        let one = secured().without("ssl_key");
        assert_eq!(files(&a_swarm(), &one), Some(["/run/secrets/cert"; 2].map(String::from)));
        assert_eq!(codes(&one), []);
    }

    #[test]
    fn a_key_alone_and_bad_names_leave_plain_http() {
        let alone = secured().without("ssl_cert");
        assert_eq!(
            (codes(&alone), intent(&alone).site.tls),
            (vec![Code::KeyWithoutCertificate], Tls::None)
        );
        for bad in ["", "../cert", "a b", "/run/secrets/cert"] {
            for label in ["ssl_cert", "ssl_key"] {
                let web = secured().label(label, bad);
                assert_eq!(codes(&web), [Code::BadSecretName], "{bad}");
                assert_eq!(intent(&web).site.tls, Tls::None);
            }
        }
    }

    #[test]
    fn where_the_proxys_secrets_are_known_their_files_are_taken() {
        let swarm = a_swarm()
            .proxy("envoy", Care::Owner)
            .holding("cert", "tls/cert.pem")
            .holding("key", "/k");
        let expected = ["/run/secrets/tls/cert.pem", "/k"].map(String::from);
        assert_eq!(files(&swarm, &secured()), Some(expected));
    }

    #[test]
    fn a_secret_that_the_proxy_does_not_hold_is_told_with_the_command() {
        let swarm =
            a_swarm().proxy("envoy", Care::Owner).proxy_attached("net").holding("cert", "cert");
        assert_eq!(files(&swarm, &secured()), None);
        let command = "docker service update --secret-add key envoy".to_owned();
        assert_eq!(told(&swarm, &secured()), [(Code::SecretWithoutProxy, command)]);
        let managed = a_swarm().proxy("envoy", Care::Controller).holding("cert", "cert");
        assert_eq!(told(&managed, &secured()), []);
        let needed = managed.read(&secured()).unwrap().intent.unwrap().secrets;
        assert_eq!(needed.iter().map(SecretName::as_str).collect::<Vec<_>>(), ["cert", "key"]);
    }

    #[test]
    fn a_secret_that_does_not_exist_is_told_and_never_needed() {
        let swarm =
            a_swarm().proxy("envoy", Care::Controller).holding("cert", "cert").secrets(&["cert"]);
        let command = "docker secret create key FILE".to_owned();
        assert_eq!(told(&swarm, &secured()), [(Code::UnknownSecret, command)]);
        let needed = swarm.read(&secured()).unwrap().intent.unwrap().secrets;
        assert_eq!(needed.iter().map(SecretName::as_str).collect::<Vec<_>>(), ["cert"]);
    }

    #[test]
    fn a_certificate_goes_on_until_each_proxy_holds_the_next() {
        let swarm = a_swarm().proxy("envoy", Care::Controller).holding("cert", "cert");
        let swarm = swarm.holding("key", "key").task("envoy", "10.0.0.1").task("envoy", "10.0.0.2");
        let kept = swarm.read(&secured()).unwrap().kept;
        let web = secured().label("ssl_cert", "cert2").label("ssl_key", "key2");
        let read = |swarm: &Swarm| {
            let intent = swarm.read_after(&kept, &web).unwrap().intent.unwrap();
            let Tls::Terminated(certificate) = intent.site.tls else { panic!("no TLS") };
            let needed: Vec<_> = intent.secrets.into_iter().map(String::from).collect();
            (certificate.chain.path, needed.join(" "))
        };
        let is = |shown: &str, needed: &str| (format!("/run/secrets/{shown}"), needed.to_owned());
        let both = "cert cert2 key key2";
        assert_eq!(read(&swarm), is("cert", both), "nothing is mounted yet");
        let swarm = swarm.holding("cert2", "cert2").holding("key2", "key2");
        assert_eq!(read(&swarm), is("cert", both), "no task is replaced yet");
        let swarm = swarm.task_holding("10.0.0.2", &["cert", "key", "cert2", "key2"]);
        assert_eq!(read(&swarm), is("cert", both), "one task is left");
        let swarm = swarm.task_holding("10.0.0.1", &["cert", "key", "cert2", "key2"]);
        let rolling = swarm.clone().with_proxy(|proxy| proxy.update = Update::Rolling);
        assert_eq!(read(&rolling), is("cert", both), "an old one may serve to its end");
        assert_eq!(read(&swarm), is("cert2", "cert2 key2"), "all hold it");

        let next = a_swarm().proxy("envoy", Care::Owner).holding("cert2", "2").holding("key2", "2");
        let next = next.task("envoy", "10.0.0.1");
        assert_eq!(read(&next), is("2", "cert2 key2"), "the last one is held no more");
        let removed = swarm.read_after(&kept, &secured().without("ssl_cert").without("ssl_key"));
        assert_eq!(removed.unwrap().intent.unwrap().site.tls, Tls::None);
    }

    #[test]
    fn where_only_the_secrets_are_known_one_that_does_not_exist_is_told() {
        let swarm = a_swarm().secrets(&["cert"]);
        let command = "docker secret create key FILE".to_owned();
        assert_eq!(told(&swarm, &secured()), [(Code::UnknownSecret, command)]);
        assert_eq!(files(&swarm, &secured()), None);
        let both = a_swarm().secrets(&["cert", "key"]);
        assert_eq!((told(&both, &secured()), files(&both, &secured()).is_some()), (vec![], true));
    }

    #[test]
    fn a_stacks_secret_may_have_its_short_name() {
        let mut web = secured();
        web.labels.insert(STACK.to_owned(), "shop".to_owned());
        let swarm = a_swarm()
            .proxy("envoy", Care::Owner)
            .holding("shop_cert", "c")
            .holding("shop_key", "k");
        assert_eq!(
            files(&swarm, &web),
            Some(["/run/secrets/c", "/run/secrets/k"].map(String::from))
        );
    }
}

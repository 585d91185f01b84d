//! `redirects`: hosts that have moved.

use std::collections::BTreeSet;

use super::fix::Edit;
use super::reader::{Fault, Instead, Reader, Said, key};
use super::{
    Code, Host, HostPattern, Label, PathPrefix, Plain, Port, Redirect, Redirects, Scheme, Severity,
};

pub(super) const LABEL: Label = Label {
    name: "redirects",
    kind: "`source,target;source,target`",
    default: "none",
    about: "Requests for the source's host, one of `hosts`, get `302` to the target, with the request's \
            path and query. Both are `http://` or `https://` URLs; a path of the target comes before \
            the request's. The source's scheme says on which port it holds; it holds on the other \
            one too if the target is another host.",
};

/// The most redirects that a service may have.
const MOST: usize = 64;

/// The valid redirects. `plain` is what plain HTTP gets otherwise.
pub(super) fn read(
    reader: &mut Reader<'_>,
    hosts: &BTreeSet<HostPattern>,
    plain: Plain,
) -> Redirects {
    let instead = || Instead::default("there are no redirects");
    let said = reader.parse(&LABEL, instead, |value| {
        let items = value.split(';').map(str::trim).filter(|item| !item.is_empty());
        Ok::<_, Fault>(items.collect::<Vec<_>>())
    });
    let Said::Value(items) = said else { return Redirects::default() };
    let mut redirects = Redirects::default();
    for item in items {
        let parsed = parse(item, hosts);
        let full = redirects.0.len() == MOST;
        match parsed {
            Ok(_) if full => tell(reader, item, &format!("at most {MOST} redirects are allowed")),
            Ok((source, target))
                if redirects.0.get(&source).is_some_and(|known| *known != target) =>
            {
                tell(reader, item, "an earlier item has the same source");
            }
            Ok((source, target)) => drop(redirects.0.insert(source, target)),
            Err(fault) => tell(reader, item, &fault),
        }
    }
    drop_loops(reader, &redirects, hosts, plain)
}

/// Where requests come in: a scheme and a host.
type Source = (Scheme, HostPattern);

fn parse(item: &str, hosts: &BTreeSet<HostPattern>) -> Result<(Source, Redirect), String> {
    let (source, target) = item.split_once(',').ok_or("`source,target` was expected")?;
    let source = Url::parse(source).map_err(|fault| format!("the source is no URL: {fault}"))?;
    if !source.path.is_root() {
        return Err("the source has a path: a redirect holds for the whole host".to_owned());
    }
    if !hosts.contains(&source.host) {
        return Err(format!("the source's host `{}` is not in `hosts`", source.host));
    }
    let target = Url::parse(target).map_err(|fault| format!("the target is no URL: {fault}"))?;
    if target.host.is_wildcard() {
        return Err("the target is one host, not a wildcard".to_owned());
    }
    let Url { scheme, host, port, path } = target;
    Ok(((source.scheme, source.host), Redirect { scheme, host, port, path }))
}

fn tell(reader: &mut Reader<'_>, item: &str, message: &str) {
    let fix = format!(
        "{} (absolute URLs; the source's host must be in `hosts`)",
        reader.update(&[Edit::Set(LABEL.name, "http://old.example,https://new.example")])
    );
    let message = format!("{message}; this item is ignored");
    let at = (&*key(&LABEL), Some(item));
    reader.tell(Code::BadRedirect, Severity::Warning, at, message, fix);
}

/// Drops the redirects by which a client would go round and round.
fn drop_loops(
    reader: &mut Reader<'_>,
    redirects: &Redirects,
    hosts: &BTreeSet<HostPattern>,
    plain: Plain,
) -> Redirects {
    let never_ends = |source: &Source| {
        let mut at = source.clone();
        // A way without a loop passes each source once, on two ports.
        for _ in 0..=2 * redirects.0.len() {
            let Some((scheme, host)) = next(redirects, &at, plain) else { return false };
            let Some(host) = answering(&host, hosts) else { return false };
            at = (scheme, host.clone());
        }
        true
    };
    let (looping, sound): (Vec<_>, Vec<_>) =
        redirects.0.iter().partition(|(source, _)| never_ends(source));
    for ((scheme, host), target) in &looping {
        let item = format!("{}://{host},{target}", scheme.as_str());
        let message = "the redirect leads round and round; this item is ignored";
        let fix = reader.update(&[Edit::Remove(LABEL.name)]);
        let at = (&*key(&LABEL), Some(item.as_str()));
        reader.tell(Code::RedirectLoop, Severity::Warning, at, message, fix);
    }
    let sound = sound.into_iter().map(|(source, target)| (source.clone(), target.clone()));
    Redirects(sound.collect())
}

/// Where a request is sent on to, if it is.
fn next(redirects: &Redirects, (scheme, host): &Source, plain: Plain) -> Option<Source> {
    match redirects.on(*scheme, &Host::Named(host.clone())) {
        // Another port is another server.
        Some(redirect) if redirect.port.is_some() => None,
        Some(redirect) => Some((redirect.scheme, redirect.host.clone())),
        None if plain == Plain::ToHttps && *scheme == Scheme::Http => {
            Some((Scheme::Https, host.clone()))
        }
        None => None,
    }
}

/// Which of the service's hosts answers for a host.
fn answering<'a>(host: &HostPattern, hosts: &'a BTreeSet<HostPattern>) -> Option<&'a HostPattern> {
    let exact = hosts.get(host);
    let wildcards = hosts.iter().filter(|pattern| pattern.covers(host));
    exact.or_else(|| wildcards.max_by_key(|pattern| pattern.as_str().len()))
}

/// `scheme://host[:port][/path]`.
struct Url {
    scheme: Scheme,
    host: HostPattern,
    /// None where it is the scheme's own.
    port: Option<Port>,
    path: PathPrefix,
}

impl Url {
    fn parse(written: &str) -> Result<Self, String> {
        let written = written.trim();
        let (scheme, rest) =
            written.split_once("://").ok_or("`http://` or `https://` is missing")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err("the scheme is neither `http` nor `https`".to_owned()),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (host, port) = match authority.split_once(':') {
            None => (authority, None),
            Some((host, port)) => {
                let digits = port.bytes().all(|c| c.is_ascii_digit());
                let port = digits.then(|| port.parse().ok()).flatten();
                (host, Some(port.ok_or("its port is no number from 1 to 65535")?))
            }
        };
        let path = match path {
            "" => PathPrefix::root(),
            path => PathPrefix::parse(path).map_err(|fault| fault.to_string())?,
        };
        let host = HostPattern::parse(host).map_err(|fault| fault.to_string())?;
        let port = port.filter(|port: &Port| *port != scheme.default_port());
        Ok(Self { scheme, host, port, path })
    }
}

impl Redirects {
    /// What a request for a host gets on the port for a scheme. A redirect for the other port holds
    /// too if it leads to another host.
    pub fn on(&self, scheme: Scheme, host: &Host) -> Option<&Redirect> {
        let host = host.named()?;
        let other = || self.0.get(&(scheme.other(), host.clone())).filter(|to| to.host != *host);
        self.0.get(&(scheme, host.clone())).or_else(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::testing::{a_service, codes, intent};
    use crate::swarm::Service;

    fn moved(redirects: &str) -> Service {
        a_service("web")
            .serving("old.example,new.example,*.w.example")
            .label("redirects", redirects)
    }

    /// What a host gets on the ports for HTTP and HTTPS.
    fn on(web: &Service, host: &str) -> [Option<String>; 2] {
        let redirects = intent(web).site.redirects;
        let host = Host::try_from(host.to_owned()).unwrap();
        [Scheme::Http, Scheme::Https].map(|it| redirects.on(it, &host).map(ToString::to_string))
    }

    /// A redirect to this URL.
    #[expect(clippy::unnecessary_wraps, reason = "it stands beside `None`")]
    fn to(url: &str) -> Option<String> {
        Some(url.to_owned())
    }

    #[test]
    fn a_redirect_to_another_host_holds_on_both_ports() {
        for web in [
            moved("http://old.example,http://new.example"),
            moved(" HTTP://OLD.example:8080/ , http://new.example:80/ ;"),
        ] {
            assert_eq!(codes(&web), []);
            assert_eq!(
                on(&web, "old.example"),
                [to("http://new.example"), to("http://new.example")]
            );
            assert_eq!(on(&web, "new.example"), [None, None]);
        }
    }

    #[test]
    fn a_redirect_to_the_same_host_holds_on_one_port() {
        let web = moved("http://old.example,https://old.example");
        assert_eq!(
            (codes(&web), on(&web, "old.example")),
            (vec![], [to("https://old.example"), None])
        );
        let web = moved("https://old.example,http://old.example");
        assert_eq!(
            (codes(&web), on(&web, "old.example")),
            (vec![], [None, to("http://old.example")])
        );
    }

    #[test]
    fn each_port_may_have_a_redirect_of_its_own() {
        let web = moved(
            "http://old.example,https://a.example;https://old.example,https://b.example:8443/x",
        );
        assert_eq!(
            on(&web, "old.example"),
            [to("https://a.example"), to("https://b.example:8443/x")]
        );
        assert_eq!(codes(&web), []);
    }

    #[test]
    fn what_is_no_redirect_is_told_and_the_others_hold() {
        for bad in [
            "http://old.example",
            "old.example,http://new.example",
            "http://old.example,new.example",
            "http://other.example,http://new.example",
            "http://old.example/x,http://new.example",
            "http://old.example,ftp://new.example",
            "http://old.example,http://new.example?q",
            "http://old.example,http://new.example/#x",
            "http://old.example,http://u@new.example",
            "http://old.example,http://new.example:0",
            "http://old.example,http://new.example:99999",
            "http://old.example,http://*.example",
            "http://old.example,http://a\r\nb: c",
            "http://old.example,http://%REQ(x)%",
            "http://old.example,",
        ] {
            let web = moved(&format!("{bad};https://new.example,http://elsewhere.example"));
            assert_eq!(codes(&web), [Code::BadRedirect], "{bad}");
            assert_eq!(on(&web, "old.example"), [None, None], "{bad}");
            assert_eq!(on(&web, "new.example")[1], to("http://elsewhere.example"), "{bad}");
        }
    }

    #[test]
    fn a_redirect_that_leads_back_is_told() {
        for (redirects, looping) in [
            ("http://old.example,http://old.example", 1),
            ("http://old.example,http://new.example;http://new.example,http://old.example", 2),
            ("http://old.example,https://new.example;https://new.example,https://old.example", 2),
            ("http://*.w.example,http://a.w.example", 1),
        ] {
            let web = moved(redirects);
            assert_eq!(codes(&web), vec![Code::RedirectLoop; looping], "{redirects}");
            assert_eq!(on(&web, "old.example"), [None, None], "{redirects}");
        }
        let web = moved("https://old.example,http://old.example")
            .label("ssl_cert", "c")
            .label("ssl_only", "1");
        assert_eq!(codes(&web), [Code::RedirectLoop]);
        for fine in [
            "http://old.example,http://old.example:8080",
            "http://*.w.example,http://w.example",
            "http://old.example,https://new.example",
        ] {
            assert_eq!(codes(&moved(fine)), [], "{fine}");
        }
    }
}

//! `hosts`: the host names that a service answers for.

use std::collections::BTreeSet;

use super::fix::Edit;
use super::reader::{Fault, Instead, Reader, Said, Switch, items, key};
use super::{BadHost, Code, HostPattern, Label, Severity};

pub(super) const LABEL: Label = Label {
    name: "hosts",
    kind: "host names, separated by commas; at most 64",
    default: "required, unless `default_backend`",
    about: "Requests for each of these hosts go to the service, whatever port their `Host` header \
            names. `*.suffix` stands for every host below the suffix, at any depth; an exact host \
            beats a wildcard, and a longer wildcard a shorter one. `*` alone is refused: use \
            `default_backend`.",
};

/// The most hosts that a service may have.
const MOST: usize = 64;

/// The service's hosts. Valid items hold beside broken ones; with no valid one the hosts of before
/// hold. They may be empty only in a default backend (`any_other` is on) without a problem.
pub(super) fn read(
    reader: &mut Reader<'_>,
    any_other: Switch,
    last: &BTreeSet<HostPattern>,
) -> BTreeSet<HostPattern> {
    let last = Some(last).filter(|hosts| !hosts.is_empty());
    let instead = || match any_other {
        Switch::On if last.is_none() => Instead::default("the service is the default backend only"),
        _ => Instead::last_valid(last.map(list)),
    };
    let items = match reader.parse(&LABEL, instead, |value| Ok::<_, Fault>(items(value))) {
        Said::Value(items) => items,
        Said::Nonsense => return last.cloned().unwrap_or_default(),
        Said::Nothing => {
            if any_other == Switch::Off {
                tell_no_hosts(reader, None, "the label is missing; the service is not routed");
            }
            return BTreeSet::new();
        }
    };
    let considered = items.get(..MOST).unwrap_or(&items);
    if items.len() > MOST {
        tell_too_many(reader, items.len());
    }
    let hosts = parse_all(reader, considered);
    if !hosts.is_empty() || (considered.is_empty() && any_other == Switch::On && last.is_none()) {
        return hosts;
    }
    let Instead { told, .. } = instead();
    tell_no_hosts(reader, Some(&items.join(",")), &format!("no valid host is named; {told}"));
    last.cloned().unwrap_or_default()
}

/// The valid ones of the items; each other one is told.
fn parse_all(reader: &mut Reader<'_>, items: &[&str]) -> BTreeSet<HostPattern> {
    let parsed: Vec<_> = items.iter().map(|item| (*item, HostPattern::parse(item))).collect();
    let meant = parsed.iter().filter_map(|(item, host)| match host {
        Ok(host) => Some(host.clone()),
        Err(_) => HostPattern::guess(item),
    });
    let meant = list(&meant.collect());
    for (item, host) in &parsed {
        let Err(fault) = host else { continue };
        let hosts = match meant.as_str() {
            "" if *fault == BadHost::BareWildcard => Edit::Remove(LABEL.name),
            "" => Edit::Set(LABEL.name, "HOST"),
            meant => Edit::Set(LABEL.name, meant),
        };
        let fix = match fault {
            BadHost::BareWildcard => {
                reader.update(&[hosts, Edit::Set(super::default_backend::LABEL.name, "true")])
            }
            _ => reader.update(&[hosts]),
        };
        let message = format!("{fault}; this item is ignored");
        reader.tell(Code::BadHost, Severity::Error, (&key(&LABEL), Some(item)), message, fix);
    }
    parsed.into_iter().filter_map(|(_, host)| host.ok()).collect()
}

fn tell_no_hosts(reader: &mut Reader<'_>, value: Option<&str>, message: &str) {
    let fix = format!(
        "{} (HOST: the name that users ask for)",
        reader.update(&[Edit::Set(LABEL.name, "HOST")])
    );
    reader.tell(Code::NoHosts, Severity::Error, (&key(&LABEL), value), message, fix);
}

fn tell_too_many(reader: &mut Reader<'_>, count: usize) {
    let message = format!("{count} hosts, at most {MOST} are allowed; the first {MOST} hold");
    let fix = "Name fewer hosts, or a `*.suffix` that covers them.";
    reader.tell(Code::TooManyHosts, Severity::Error, (&key(&LABEL), None), message, fix);
}

fn list(hosts: &BTreeSet<HostPattern>) -> String {
    hosts.iter().map(HostPattern::as_str).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::testing::{a_service, codes, hosts, read, read_after};

    #[test]
    fn a_list_is_trimmed_and_each_host_is_there_once() {
        let web = a_service("web").serving(" B.example ,,a.example., b.example,*.c.example,");
        assert_eq!(codes(&web), []);
        assert_eq!(hosts(&web), ["*.c.example", "a.example", "b.example"]);
    }

    #[test]
    fn a_broken_item_is_told_and_the_others_hold() {
        let web = a_service("web").serving("a.example,http://b.example:80/,c d");
        assert_eq!(hosts(&web), ["a.example"]);
        let problems = read(&web).unwrap().problems;
        assert_eq!(codes(&web), [Code::BadHost, Code::BadHost]);
        assert_eq!(problems[1].value.as_deref(), Some("http://b.example:80/"));
        for problem in problems {
            assert_eq!(
                problem.fix,
                "docker service update --label-add com.docker.lb.hosts=a.example,b.example web"
            );
        }
    }

    #[test]
    fn a_bare_wildcard_points_to_the_default_backend() {
        let alone = read(&a_service("web").serving("*")).unwrap();
        assert_eq!(
            alone.problems[1].fix,
            "docker service update --label-rm com.docker.lb.hosts \
             --label-add com.docker.lb.default_backend=true web"
        );
        let beside = read(&a_service("web").serving("*,a.example")).unwrap();
        assert_eq!(
            beside.problems[0].fix,
            "docker service update --label-add com.docker.lb.hosts=a.example \
             --label-add com.docker.lb.default_backend=true web"
        );
    }

    #[test]
    fn a_service_without_a_valid_host_is_rejected() {
        for (value, expected) in [
            ("", vec![Code::NoHosts]),
            (" , ", vec![Code::NoHosts]),
            ("a b", vec![Code::NoHosts, Code::BadHost]),
        ] {
            let web = a_service("web").serving(value);
            assert_eq!(codes(&web), expected, "{value:?}");
            assert_eq!(read(&web).unwrap().intent, None, "{value:?}");
        }
        assert_eq!(codes(&a_service("web").label("port", "80")), [Code::NoHosts]);
    }

    #[test]
    fn the_first_64_hosts_hold() {
        let many: Vec<_> = (10..75).map(|n| format!("h{n}.example")).collect();
        let web = a_service("web").serving(&many.join(","));
        assert_eq!(codes(&web), [Code::TooManyHosts]);
        assert_eq!(hosts(&web), many[..64]);
        let web = a_service("web").serving(&many[..64].join(","));
        assert_eq!(codes(&web), []);
    }

    #[test]
    fn a_value_over_4_kib_is_not_read() {
        let fits = "a.example,".repeat(4096 / 10);
        assert_eq!(codes(&a_service("web").serving(&fits)), []);
        let long = format!("{fits}a.example");
        assert_eq!(codes(&a_service("web").serving(&long)), [Code::ValueTooLong]);
    }

    #[test]
    fn hosts_that_break_keep_their_last_valid_value_and_removed_ones_do_not() {
        let good = a_service("web").serving("a.example,b.example");
        for broken in ["c d", "", &"x".repeat(4097)] {
            let reading = read_after(&good, &good.clone().serving(broken));
            let hosts = reading.intent.unwrap().hosts;
            let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
            assert_eq!(hosts, ["a.example", "b.example"], "{broken}");
            assert!(
                reading.problems.iter().any(|problem| problem
                    .message
                    .ends_with("the last valid value, `a.example,b.example`, holds")),
                "{:?}",
                reading.problems
            );
        }
        assert_eq!(read_after(&good, &good.clone().without("hosts")).intent, None);
    }
}

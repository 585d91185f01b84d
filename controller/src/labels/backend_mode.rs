//! `backend_mode`: the running tasks, or the service's one virtual IP.

use super::fix::Edit;
use super::reader::{Fault, Instead, Reader, Said, key};
use super::{Code, Label, Severity, Vip};
use crate::swarm::{Network, Resolution};

pub(super) const LABEL: Label = Label {
    name: "backend_mode",
    kind: "`task` or `vip`",
    default: "`task`",
    about: "Requests go to the running tasks, or to the service's virtual IP on its network, from \
            where Swarm balances them.",
};

/// The two modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Task,
    Vip,
}

/// The virtual IP that the service wants to be reached by; none in task mode. Without a network
/// there is nothing to look up: the service is rejected for that.
pub(super) fn read(reader: &mut Reader<'_>, network: Option<&Network>) -> Option<Vip> {
    let fix = reader.update(&[Edit::Set(LABEL.name, "vip")]);
    let instead = || Instead::default("the default, `task`, holds");
    let said = reader.parse(&LABEL, instead, |value| match value {
        "task" => Ok(Mode::Task),
        "vip" => Ok(Mode::Vip),
        _ => Err(Fault {
            code: Code::BadBackendMode,
            message: "neither `task` nor `vip`".to_owned(),
            fix: format!("{fix} (or `{}=task`)", key(&LABEL)),
        }),
    });
    if said != Said::Value(Mode::Vip) {
        return None;
    }
    let network = network?;
    let vip = match (reader.service.vips.get(&network.id), reader.service.resolution) {
        (Some(address), _) => Some(Vip::Assigned(*address)),
        (None, Resolution::VirtualIp) => Some(Vip::Awaited),
        (None, Resolution::RoundRobin) => None,
    };
    if vip.is_none() {
        let message = format!(
            "the service has no virtual IP on network `{}`; `task` holds",
            super::problem::shown(&network.name)
        );
        let fix = format!(
            "docker service update --endpoint-mode vip {name}, or: {remove}",
            name = super::fix::quoted(reader.service.name.as_str()),
            remove = reader.update(&[Edit::Remove(LABEL.name)]),
        );
        let at = (&*key(&LABEL), Some("vip"));
        reader.tell(Code::VipWithoutAddress, Severity::Warning, at, message, fix);
    }
    vip
}

#[cfg(test)]
mod tests {
    use crate::labels::testing::{a_service, codes, intent};
    use crate::labels::{Backend, Code, Vip};

    #[test]
    fn tasks_are_the_default() {
        let web = a_service("web").serving("a.example").vip("10.0.0.2");
        assert_eq!(intent(&web).backend, Backend::Tasks);
        let web = web.label("backend_mode", "task");
        assert_eq!(intent(&web).backend, Backend::Tasks);
    }

    #[test]
    fn vip_mode_takes_the_virtual_ip_of_the_network() {
        let web =
            a_service("web").serving("a.example").vip("10.0.0.2").label("backend_mode", "vip");
        assert_eq!(codes(&web), []);
        assert_eq!(intent(&web).backend, Backend::Vip(Vip::Assigned("10.0.0.2".parse().unwrap())));
    }

    #[test]
    fn any_other_mode_is_told_and_tasks_hold() {
        for value in ["foo", "VIP", ""] {
            let web =
                a_service("web").serving("a.example").vip("10.0.0.2").label("backend_mode", value);
            assert_eq!(codes(&web), [Code::BadBackendMode], "{value}");
            assert_eq!(intent(&web).backend, Backend::Tasks, "{value}");
        }
    }

    #[test]
    fn vip_mode_without_a_virtual_ip_is_told_and_tasks_hold() {
        let web = a_service("web").serving("a.example").label("backend_mode", "vip");
        assert_eq!(codes(&web), [], "Swarm has not assigned it yet");
        assert_eq!(intent(&web).backend, Backend::Vip(Vip::Awaited));
        let web = web.dnsrr();
        assert_eq!(codes(&web), [Code::VipWithoutAddress]);
        assert_eq!(intent(&web).backend, Backend::Tasks);
    }
}

//! `ip_hash`: a client's address chooses the task.

use super::reader::{Reader, Switch};
use super::{Affinity, Code, Label, Vip};

pub(super) const LABEL: Label = Label {
    name: "ip_hash",
    kind: "boolean",
    default: "`false`",
    about: "A client's address chooses the task, by a consistent hash: a task that comes or goes moves \
            few clients. Clients must reach the proxy with their own address (ports published in \
            `host` mode). `sticky_session_cookie` wins over it. Task mode only.",
};

/// How requests keep to a task, given what `sticky_session_cookie` said.
pub(super) fn read(reader: &mut Reader<'_>, sticky: Affinity, vip: Option<Vip>) -> Affinity {
    if reader.switch(&LABEL) == Switch::Off {
        return sticky;
    }
    if vip.is_some() {
        let message = "in `vip` mode Swarm chooses the task; `ip_hash` has no effect";
        reader.tell_idle(Code::IpHashWithVip, &LABEL, message);
        return sticky;
    }
    match sticky {
        Affinity::None => Affinity::ClientAddress,
        Affinity::Cookie(_) | Affinity::ClientAddress => {
            let message = "`sticky_session_cookie` wins; `ip_hash` has no effect";
            reader.tell_idle(Code::IpHashWithSticky, &LABEL, message);
            sticky
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::testing::{a_service, codes, intent};

    #[test]
    fn a_clients_address_chooses_the_task() {
        let web = a_service("web").serving("a.example").label("ip_hash", "true");
        assert_eq!((codes(&web), intent(&web).pool.affinity), (vec![], Affinity::ClientAddress));
    }

    #[test]
    fn a_sticky_cookie_wins_and_a_virtual_ip_has_no_choice() {
        let web = a_service("web").serving("a.example").label("ip_hash", "true");
        let sticky = web.clone().label("sticky_session_cookie", "SID");
        assert_eq!(codes(&sticky), [Code::IpHashWithSticky]);
        assert!(matches!(intent(&sticky).pool.affinity, Affinity::Cookie(_)));
        let vip = web.label("backend_mode", "vip").vip("10.0.0.2");
        assert_eq!(
            (codes(&vip), intent(&vip).pool.affinity),
            (vec![Code::IpHashWithVip], Affinity::None)
        );
    }
}

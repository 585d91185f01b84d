//! `sticky_session_cookie`: sessions stay on their task.

use super::fix::Edit;
use super::reader::{Fault, Instead, Reader, Said, key};
use super::{Affinity, Code, CookieName, Label, Severity, Vip};

pub(super) const LABEL: Label = Label {
    name: "sticky_session_cookie",
    kind: "cookie name, at most 64 characters",
    default: "none",
    about: "Sessions stay on the task that issued them (see [sticky sessions](#sticky-sessions)). \
            Task mode only.",
};

pub(super) fn read(reader: &mut Reader<'_>, vip: Option<Vip>) -> Affinity {
    let remove = reader.update(&[Edit::Remove(LABEL.name)]);
    let said = reader.parse(
        &LABEL,
        || Instead::default("sessions are not sticky"),
        |value| {
            CookieName::parse(value).ok_or_else(|| Fault {
                code: Code::BadCookieName,
                message: "no cookie name: 1 to 64 letters, digits and !#$%&'*+-.^_`|~ were \
                          expected"
                    .to_owned(),
                fix: remove.clone(),
            })
        },
    );
    match (said, vip) {
        (Said::Value(cookie), None) => Affinity::Cookie(cookie),
        (Said::Value(cookie), Some(_)) => {
            let message = "in `vip` mode Swarm chooses the task; the service is routed, and its \
                           sessions are not sticky";
            let task = reader.update(&[Edit::Set("backend_mode", "task")]);
            let fix = format!("{task}, or: {remove}");
            let at = (&*key(&LABEL), Some(cookie.as_str()));
            reader.tell(Code::StickyWithVip, Severity::Warning, at, message, fix);
            Affinity::None
        }
        (Said::Nothing | Said::Nonsense, _) => Affinity::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::testing::{a_service, codes, intent};

    fn sticky(name: &str) -> Affinity {
        Affinity::Cookie(CookieName::parse(name).unwrap())
    }

    #[test]
    fn a_cookie_makes_sessions_sticky() {
        let web = a_service("web").serving("a.example").label("sticky_session_cookie", " SID ");
        assert_eq!(codes(&web), []);
        assert_eq!(intent(&web).pool.affinity, sticky("SID"));
    }

    #[test]
    fn a_bad_cookie_name_is_told_and_the_service_routed() {
        let web = a_service("web").serving("a.example").label("sticky_session_cookie", "a b");
        assert_eq!(codes(&web), [Code::BadCookieName]);
        assert_eq!(intent(&web).pool.affinity, Affinity::None);
    }

    #[test]
    fn sticky_in_vip_mode_is_told_once_and_the_service_routed() {
        let web = a_service("web")
            .serving("a.example")
            .vip("10.0.0.2")
            .label("backend_mode", "vip")
            .label("sticky_session_cookie", "SID");
        assert_eq!(codes(&web), [Code::StickyWithVip]);
        assert_eq!(intent(&web).pool.affinity, Affinity::None);
    }

    #[test]
    fn a_vip_that_cannot_be_leaves_the_service_sticky() {
        let web = a_service("web")
            .serving("a.example")
            .label("backend_mode", "vip")
            .label("sticky_session_cookie", "SID")
            .dnsrr();
        assert_eq!(codes(&web), [Code::VipWithoutAddress]);
        assert_eq!(intent(&web).pool.affinity, sticky("SID"));
    }
}

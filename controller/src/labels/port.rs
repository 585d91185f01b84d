//! `port`: where the application listens in its container.

use super::fix::Edit;
use super::reader::{Fault, Instead, Reader, Said, key};
use super::{Code, Label, Port, Severity};

pub(super) const LABEL: Label = Label {
    name: "port",
    kind: "1 to 65535",
    default: "required",
    about: "The port that the application listens on in its container; in `vip` mode, the port of \
            the virtual IP. The service need not publish it.",
};

pub(super) fn read(reader: &mut Reader<'_>, last: Option<Port>) -> Option<Port> {
    let fix = format!(
        "{} (PORT: what the application listens on in its container)",
        reader.update(&[Edit::Set(LABEL.name, "PORT")])
    );
    let said = reader.parse(
        &LABEL,
        || Instead::last_valid(last),
        |value| {
            parse(value).ok_or_else(|| Fault {
                code: Code::BadPort,
                message: "no port number from 1 to 65535".to_owned(),
                fix: fix.clone(),
            })
        },
    );
    match said {
        Said::Value(port) => Some(port),
        Said::Nonsense => last,
        Said::Nothing => {
            let message = "the label is missing; the service is not routed";
            let at = (&*key(&LABEL), None);
            reader.tell(Code::MissingPort, Severity::Error, at, message, fix);
            None
        }
    }
}

fn parse(value: &str) -> Option<Port> {
    // `u16` would take a sign.
    value.bytes().all(|c| c.is_ascii_digit()).then(|| value.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::testing::{a_service, codes, intent, read, read_after};

    #[test]
    fn a_port_is_a_number_from_1_to_65535() {
        for (value, port) in [("1", 1), (" 8080\n", 8080), ("65535", 65535), ("0080", 80)] {
            let web = a_service("web").label("hosts", "a.example").label("port", value);
            assert_eq!(intent(&web).port.get(), port, "{value:?}");
        }
        for value in ["", "0", "65536", "-1", "+80", "80/tcp", "8080:80", "http", "８０"] {
            let web = a_service("web").label("hosts", "a.example").label("port", value);
            assert_eq!(codes(&web), [Code::BadPort], "{value:?}");
            assert_eq!(read(&web).unwrap().intent, None, "{value:?}");
        }
    }

    #[test]
    fn a_missing_port_rejects_the_service() {
        let web = a_service("web").label("hosts", "a.example");
        let reading = read(&web).unwrap();
        assert_eq!(reading.intent, None);
        let [problem] = &reading.problems[..] else { panic!("{reading:?}") };
        assert_eq!((problem.code, problem.severity), (Code::MissingPort, Severity::Error));
        assert!(
            problem.fix.starts_with(
                "docker service update --label-add com.docker.lb.port=PORT web (PORT: "
            ),
            "{}",
            problem.fix
        );
    }

    #[test]
    fn a_port_that_breaks_keeps_its_last_valid_value_and_a_removed_one_does_not() {
        let good = a_service("web").serving("a.example").label("port", "8080");
        let broken = read_after(&good, &good.clone().label("port", "http"));
        assert_eq!(broken.intent.unwrap().port.get(), 8080);
        assert_eq!(
            broken.problems[0].message,
            "no port number from 1 to 65535; the last valid value, `8080`, holds"
        );
        assert_eq!(read_after(&good, &good.clone().without("port")).intent, None);
    }
}

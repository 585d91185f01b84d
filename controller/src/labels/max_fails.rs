//! `max_fails`, `fail_timeout`: a task that keeps failing rests.

use std::num::NonZeroU32;
use std::time::Duration;

use super::fix::Edit;
use super::reader::{Fault, Instead, Reader, Said};
use super::{Code, Ejection, Label};

pub(super) const LABEL: Label = Label {
    name: "max_fails",
    kind: "number",
    default: "`0`: off",
    about: "After so many failures in a row (`502`, `503`, `504`, no connection) a task gets no \
            requests for `fail_timeout`. Never more than half of the pool at a time. Other errors, \
            such as `500`, do not count.",
};

pub(super) const TIMEOUT: Label = Label {
    name: "fail_timeout",
    kind: "duration, such as `30`, `30s` or `1m`",
    default: "`10s`",
    about: "For how long, up to a day; checked once a second.",
};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_hours(24);

/// When tasks rest; none where they never do.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Ejection> {
    let fix = reader.update(&[Edit::Set(LABEL.name, "3")]);
    let instead = || Instead::default("no task is ejected");
    let after = reader.parse(&LABEL, instead, |value| {
        digits(value).ok_or_else(|| Fault {
            code: Code::BadMaxFails,
            message: "no number from 0 to 1000000".to_owned(),
            fix,
        })
    });
    let rest = timeout(reader);
    match after {
        Said::Value(after) => NonZeroU32::new(after).map(|after| Ejection { after, rest }),
        Said::Nothing => {
            if reader.written(&TIMEOUT).is_some() {
                let message = "`fail_timeout` has no effect without `max_fails`";
                reader.tell_idle(Code::FailTimeoutAlone, &TIMEOUT, message);
            }
            None
        }
        Said::Nonsense => None,
    }
}

fn timeout(reader: &mut Reader<'_>) -> Duration {
    let fix = reader.update(&[Edit::Set(TIMEOUT.name, "10s")]);
    let instead = || Instead::default("the default, `10s`, holds");
    let said = reader.parse(&TIMEOUT, instead, |value| {
        duration(value).ok_or_else(|| Fault {
            code: Code::BadDuration,
            message: "no duration from 1 millisecond to a day, such as `30`, `30s` or `1m`"
                .to_owned(),
            fix,
        })
    });
    match said {
        Said::Value(timeout) => timeout,
        Said::Nothing | Said::Nonsense => DEFAULT_TIMEOUT,
    }
}

fn digits(value: &str) -> Option<u32> {
    let plain = value.bytes().all(|c| c.is_ascii_digit());
    plain.then(|| value.parse().ok())?.filter(|number| *number <= 1_000_000)
}

/// A number of seconds, or numbers with units, as NGINX takes them.
fn duration(value: &str) -> Option<Duration> {
    let read = match digits(value) {
        Some(seconds) => Duration::from_secs(seconds.into()),
        None if value.is_ascii() => humantime::parse_duration(value).ok()?,
        None => return None,
    };
    (SHORTEST..=LONGEST).contains(&read).then_some(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::testing::{a_service, codes, intent};

    #[test]
    fn a_task_rests_after_failures_for_a_time() {
        let web = a_service("web").serving("a.example");
        assert_eq!(intent(&web).pool.ejection, None);
        for (fails, timeout, after, rest) in [
            ("3", "30s", 3, Duration::from_secs(30)),
            ("1", "5", 1, Duration::from_secs(5)),
            (" 1000000 ", "1m 30s", 1_000_000, Duration::from_secs(90)),
            ("2", "500ms", 2, Duration::from_millis(500)),
        ] {
            let web = web.clone().label("max_fails", fails).label("fail_timeout", timeout);
            let after = NonZeroU32::new(after).unwrap();
            assert_eq!(
                (codes(&web), intent(&web).pool.ejection),
                (vec![], Some(Ejection { after, rest }))
            );
        }
        let zero = web.label("max_fails", "0").label("fail_timeout", "0s");
        assert_eq!(intent(&zero).pool.ejection, None);
    }

    #[test]
    fn bad_numbers_and_durations_are_told() {
        let web = a_service("web").serving("a.example").label("max_fails", "3");
        for bad in ["-1", "1e9", "3.5", "٣", "", "1000001", "99999999999999999999"] {
            let web = web.clone().label("max_fails", bad);
            assert_eq!(
                (codes(&web), intent(&web).pool.ejection),
                (vec![Code::BadMaxFails], None),
                "{bad}"
            );
        }
        for bad in ["", "0", "-1s", "soon", "٣s", "25h", "1e9s", "99999999999999999999s"] {
            let web = web.clone().label("fail_timeout", bad);
            assert_eq!(codes(&web), [Code::BadDuration], "{bad}");
            assert_eq!(intent(&web).pool.ejection.unwrap().rest, DEFAULT_TIMEOUT);
        }
    }

    #[test]
    fn a_timeout_alone_is_told() {
        let web = a_service("web").serving("a.example").label("fail_timeout", "10s");
        assert_eq!((codes(&web), intent(&web).pool.ejection), (vec![Code::FailTimeoutAlone], None));
    }
}

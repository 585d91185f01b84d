//! The keys of a service's labels, before any value is read: misplaced, unknown.

use super::fix::Edit;
use super::reader::Reader;
use super::{Code, LABELS, OWN_PREFIX, PREFIX, Severity, key_of};
use crate::swarm::Service;

/// How much a key must resemble a label's name to be taken for a misspelling (Jaro, 0 to 1).
const RESEMBLANCE: f64 = 0.7;

/// The longest name that is compared with others, in bytes.
const LONGEST: usize = 64;

/// Whether a service's labels are worth reading.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They are on the service.
    Read,
    /// All of them are on its containers.
    Misplaced,
}

/// Whether a service carries any label of ours, at the right place or the wrong one.
pub(super) fn any(service: &Service) -> bool {
    let misplaced = service.misplaced_labels.keys().any(|key| key.starts_with(PREFIX));
    misplaced || service.labels.keys().any(|key| key.starts_with(PREFIX))
}

/// Tells of every key that will have no effect.
pub(super) fn check(reader: &mut Reader<'_>) -> Verdict {
    let service = reader.service;
    for name in ours(service) {
        if !LABELS.iter().any(|label| label.name == name) {
            tell_unknown(reader, name);
        }
    }
    let placed = service.labels.keys().any(|key| key.starts_with(PREFIX));
    let verdict = if placed { Verdict::Read } else { Verdict::Misplaced };
    tell_misplaced(reader, &verdict);
    verdict
}

/// The names of the service's labels of ours, as in [`super::Label`].
fn ours(service: &Service) -> impl Iterator<Item = &str> {
    let own = |key: &&String| key.starts_with(OWN_PREFIX);
    let interlocks = service.labels.keys().filter_map(|key| key.strip_prefix(PREFIX));
    interlocks.chain(service.labels.keys().filter(own).map(String::as_str))
}

fn tell_unknown(reader: &mut Reader<'_>, name: &str) {
    let key = key_of(name);
    let value = reader.service.labels.get(&key).map(String::as_str);
    let (message, fix) = match meant(name) {
        Some(meant) => (
            format!("no such label; did you mean `{}`? It is ignored", key_of(meant)),
            reader.update(&[Edit::Remove(name), Edit::Set(meant, value.unwrap_or_default())]),
        ),
        None => ("no such label; it is ignored".to_owned(), reader.update(&[Edit::Remove(name)])),
    };
    reader.tell(Code::UnknownLabel, Severity::Warning, (&key, value), message, fix);
}

/// The label whose name resembles this one most.
fn meant(name: &str) -> Option<&'static str> {
    if name.len() > LONGEST {
        return None;
    }
    let name = name.trim().to_ascii_lowercase().replace(['-', '.'], "_");
    let names = LABELS.iter().map(|label| label.name);
    let (resemblance, meant) = names
        .map(|known| (strsim::jaro(&name, known), known))
        .max_by(|one, other| one.0.total_cmp(&other.0))?;
    (resemblance > RESEMBLANCE).then_some(meant)
}

/// One problem for all labels that are on the containers and not on the service too.
fn tell_misplaced(reader: &mut Reader<'_>, verdict: &Verdict) {
    let service = reader.service;
    let misplaced: Vec<_> = service
        .misplaced_labels
        .iter()
        .filter(|(key, _)| !service.labels.contains_key(*key))
        .filter_map(|(key, value)| Some((key, key.strip_prefix(PREFIX)?, value)))
        .collect();
    let Some((first, _, value)) = misplaced.first() else { return };
    let (severity, told) = match verdict {
        Verdict::Read => (Severity::Warning, "they are ignored"),
        Verdict::Misplaced => (Severity::Error, "the service is not routed"),
    };
    let how_many = match misplaced.len() {
        1 => "a label is".to_owned(),
        many => format!("{many} labels are"),
    };
    let message = format!(
        "{how_many} on the service's containers (`docker service create --container-label`, \
         Compose `labels`) and not on the service; {told}"
    );
    let edits: Vec<_> = misplaced.iter().map(|(_, name, value)| Edit::Set(name, value)).collect();
    let fix = format!("{}; in Compose, move them to `deploy.labels`", reader.update(&edits));
    reader.tell(Code::MisplacedLabels, severity, (first, Some(value)), message, fix);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::testing::{a_service, codes, intent, read};

    #[test]
    fn a_service_without_our_labels_is_not_ours() {
        let mut web = a_service("web");
        web.labels.insert("com.example.hosts".to_owned(), "a.example".to_owned());
        assert_eq!(read(&web), None);
    }

    #[test]
    fn a_misspelt_label_gets_the_right_spelling() {
        for (name, expected) in [
            ("host", Some("hosts")),
            ("Hosts", Some("hosts")),
            ("hosts ", Some("hosts")),
            ("prot", Some("port")),
            ("backend-mode", Some("backend_mode")),
            ("sticky_cookie", Some("sticky_session_cookie")),
            ("contextroot", Some("context_root")),
            ("zzz", None),
            ("", None),
        ] {
            assert_eq!(meant(name), expected, "{name:?}");
        }
        assert_eq!(meant(&"h".repeat(65)), None);
        let web = a_service("web").serving("a.example").label("netwrok", "net");
        let problems = read(&web).unwrap().problems;
        assert_eq!(codes(&web), [Code::UnknownLabel]);
        assert_eq!(
            problems[0].fix,
            "docker service update --label-rm com.docker.lb.netwrok \
             --label-add com.docker.lb.network=net web"
        );
    }

    #[test]
    fn labels_on_the_containers_reject_the_service_and_show_the_command() {
        let web = a_service("web").misplaced("hosts", "a.example").misplaced("port", "80");
        let reading = read(&web).unwrap();
        assert_eq!(reading.intent, None);
        assert_eq!(codes(&web), [Code::MisplacedLabels]);
        assert_eq!(
            reading.problems[0].fix,
            "docker service update --label-add com.docker.lb.hosts=a.example \
             --label-add com.docker.lb.port=80 web; in Compose, move them to `deploy.labels`"
        );
    }

    #[test]
    fn labels_on_both_are_read_from_the_service() {
        let web = a_service("web").serving("a.example").misplaced("port", "81");
        assert_eq!((codes(&web), intent(&web).port.get()), (vec![], 80));
        let web = web.misplaced("network", "net");
        assert_eq!(codes(&web), [Code::MisplacedLabels]);
        assert_eq!(read(&web).unwrap().problems[0].severity, Severity::Warning);
    }
}

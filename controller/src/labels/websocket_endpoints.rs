//! `websocket_endpoints`: paths whose connections may stand still.

use std::collections::BTreeSet;

use super::reader::{Fault, Instead, Reader, Said, items, key};
use super::{Code, Label, PathPrefix, Severity};

pub(super) const LABEL: Label = Label {
    name: "websocket_endpoints",
    kind: "paths, separated by commas; at most 16",
    default: "none",
    about: "WebSockets work on every path; below these, a connection may stand still for as long as it \
            likes. Paths are those that the client asks for, the context root included. `Host`, \
            `Origin` and `X-Forwarded-*` reach the task.",
};

/// The most paths that a service may have: each is two routes on each of its hosts.
const MOST: usize = 16;

/// The valid paths below the context roots.
pub(super) fn read(reader: &mut Reader<'_>, roots: &BTreeSet<PathPrefix>) -> BTreeSet<PathPrefix> {
    let instead = || Instead::default("no path is exempt from the idle timeout");
    let said = reader.parse(&LABEL, instead, |value| Ok::<_, Fault>(items(value)));
    let Said::Value(items) = said else { return BTreeSet::new() };
    let mut paths = BTreeSet::new();
    for item in items {
        let path = PathPrefix::parse(item).map_err(|fault| fault.to_string());
        let outside = |path: &PathPrefix| !roots.iter().any(|root| root.covers(path));
        let message = match path {
            Ok(path) if outside(&path) => "the path is not below `context_root`".to_owned(),
            Ok(_) if paths.len() == MOST => format!("at most {MOST} paths are allowed"),
            Ok(path) => {
                paths.insert(path);
                continue;
            }
            Err(fault) => fault,
        };
        let message = format!("{message}; this item is ignored");
        let fix = "Write the paths that clients ask for, such as `/ws,/app/events`.";
        let at = (&*key(&LABEL), Some(item));
        reader.tell(Code::BadPath, Severity::Warning, at, message, fix);
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::testing::{a_service, codes, intent};
    use crate::swarm::Service;

    fn paths(web: &Service) -> Vec<String> {
        intent(web).route.long_lived.into_iter().map(String::from).collect()
    }

    #[test]
    fn a_list_of_paths_is_taken_and_bad_items_are_told() {
        let web = a_service("web").serving("a.example");
        let good = web.clone().label("websocket_endpoints", "/ws, /app/events/,,/");
        assert_eq!(
            (codes(&good), paths(&good)),
            (vec![], vec!["/".into(), "/app/events".into(), "/ws".into()])
        );
        let bad = web.label("websocket_endpoints", "ws,/ok,/a b");
        assert_eq!((codes(&bad), paths(&bad)), (vec![Code::BadPath; 2], vec!["/ok".into()]));
    }

    #[test]
    fn the_first_16_paths_hold() {
        let list = |count| (0..count).map(|n| format!("/{n}")).collect::<Vec<_>>().join(",");
        let web = a_service("web").serving("a.example").label("websocket_endpoints", &list(16));
        assert_eq!((codes(&web), paths(&web).len()), (vec![], 16));
        let web = web.label("websocket_endpoints", &list(17));
        assert_eq!((codes(&web), paths(&web).len()), (vec![Code::BadPath], 16));
    }

    #[test]
    fn a_path_outside_the_context_root_is_told() {
        let web = a_service("web")
            .serving("a.example")
            .label("context_root", "/app")
            .label("websocket_endpoints", "/ws,/app/ws,/app");
        assert_eq!(
            (codes(&web), paths(&web)),
            (vec![Code::BadPath], vec!["/app".into(), "/app/ws".into()])
        );
    }
}

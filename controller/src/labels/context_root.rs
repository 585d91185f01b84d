//! `context_root`, `context_root_rewrite`: which paths of its hosts a service answers, and whether
//! it sees the prefix.

use std::collections::BTreeSet;

use super::fix::Edit;
use super::reader::{Fault, Instead, Reader, Said, Switch, items, key};
use super::{Code, Label, PathPrefix, Rewrite, Severity};

pub(super) const LABEL: Label = Label {
    name: "context_root",
    kind: "paths, separated by commas; at most 16",
    default: "`/`",
    about: "Only these paths of the hosts, and everything below them: `/app` stands for `/app` and \
            `/app/x`, never for `/apple`. Of several context roots on a host, in one service or in \
            many, the longest wins.",
};

pub(super) const REWRITE: Label = Label {
    name: "context_root_rewrite",
    kind: "boolean",
    default: "`false`",
    about: "Strips the context root: the task sees `/app/x?q` as `/x?q`, and `/app` as `/`, whatever \
            the method. `X-Forwarded-Prefix` tells it the context root.",
};

/// The most context roots that a service may have.
const MOST: usize = 16;

/// The context roots. Valid items hold beside broken ones; with no valid one those of before hold,
/// and never `/`: there the service could take part in what another one answers. Empty where there
/// were none before.
pub(super) fn read(reader: &mut Reader<'_>, last: &BTreeSet<PathPrefix>) -> BTreeSet<PathPrefix> {
    let last_valid = || Instead::last_valid((!last.is_empty()).then(|| list(last)));
    let items = match reader.parse(&LABEL, last_valid, |value| Ok::<_, Fault>(items(value))) {
        Said::Value(items) => items,
        Said::Nonsense => return last.clone(),
        Said::Nothing => return BTreeSet::from([PathPrefix::root()]),
    };
    let parsed: Vec<_> = items.iter().map(|item| (*item, PathPrefix::parse(item))).collect();
    let meant = parsed.iter().filter_map(|(item, path)| {
        path.clone().ok().or_else(|| PathPrefix::parse(&format!("/{item}")).ok())
    });
    let meant = list(&meant.collect());
    let fix =
        reader.update(&[Edit::Set(LABEL.name, if meant.is_empty() { "PATH" } else { &meant })]);
    let paths: BTreeSet<_> = parsed.iter().filter_map(|(_, path)| path.clone().ok()).collect();
    let told = match paths.len() {
        0 => last_valid().told,
        _ => "this item is ignored".to_owned(),
    };
    let mut tell = |item: &str, fault: &str| {
        let at = (&*key(&LABEL), Some(item));
        let message = format!("{fault}; {told}");
        reader.tell(Code::BadPath, Severity::Error, at, message, fix.clone());
    };
    if items.is_empty() {
        tell("", "no path is named");
    }
    for (item, path) in &parsed {
        if let Err(fault) = path {
            tell(item, &fault.to_string());
        }
    }
    for (item, _) in parsed.iter().filter(|(_, path)| path.is_ok()).skip(MOST) {
        tell(item, &format!("at most {MOST} paths are allowed"));
    }
    match paths.len() {
        0 => last.clone(),
        _ => parsed.into_iter().filter_map(|(_, path)| path.ok()).take(MOST).collect(),
    }
}

fn list(paths: &BTreeSet<PathPrefix>) -> String {
    paths.iter().map(PathPrefix::as_str).collect::<Vec<_>>().join(",")
}

pub(super) fn read_rewrite(reader: &mut Reader<'_>) -> Rewrite {
    match reader.switch(&REWRITE) {
        Switch::On => Rewrite::Strip,
        Switch::Off => Rewrite::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::testing::{a_service, codes, intent, read, read_after};
    use crate::swarm::Service;

    fn rooted(value: &str) -> Service {
        a_service("web").serving("a.example").label("context_root", value)
    }

    #[test]
    fn context_roots_are_paths() {
        for (value, paths) in
            [("/app", "/app"), (" /app/ ", "/app"), ("/", "/"), ("/b, /a/,,/b", "/a,/b")]
        {
            let web = rooted(value);
            assert_eq!(
                (list(&intent(&web).paths).as_str(), codes(&web)),
                (paths, vec![]),
                "{value:?}"
            );
        }
        let web = a_service("web").serving("a.example");
        assert_eq!(list(&intent(&web).paths), "/");
    }

    #[test]
    fn a_broken_context_root_never_means_the_whole_host() {
        let good = rooted("/app");
        for value in ["app", "/a b", "/a?b", "/a/../b", "/%", "/a\r\nb: c"] {
            let broken = rooted(value);
            assert_eq!(codes(&broken), [Code::BadPath], "{value:?}");
            assert_eq!(read(&broken).unwrap().intent, None, "{value:?}");
            assert_eq!(list(&read_after(&good, &broken).intent.unwrap().paths), "/app");
        }
        for empty in ["", ","] {
            assert_eq!(codes(&rooted(empty)), [Code::BadPath], "{empty:?}");
            assert_eq!(read(&rooted(empty)).unwrap().intent, None, "{empty:?}");
        }
    }

    #[test]
    fn a_broken_item_is_told_and_the_others_hold() {
        let web = rooted("api,/app");
        assert_eq!(
            (list(&intent(&web).paths).as_str(), codes(&web)),
            ("/app", vec![Code::BadPath])
        );
        assert_eq!(
            read(&web).unwrap().problems[0].fix,
            "docker service update --label-add com.docker.lb.context_root=/api,/app web"
        );
        let many: Vec<_> = (10..27).map(|n| format!("/p{n}")).collect();
        let web = rooted(&many.join(","));
        assert_eq!((intent(&web).paths.len(), codes(&web)), (16, vec![Code::BadPath]));
    }

    #[test]
    fn the_context_root_is_stripped_only_where_that_is_asked_for() {
        assert_eq!(intent(&rooted("/app")).route.rewrite, Rewrite::Keep);
        let web = rooted("/app").label("context_root_rewrite", "yes");
        assert_eq!(intent(&web).route.rewrite, Rewrite::Strip);
    }
}

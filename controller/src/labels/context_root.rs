//! `context_root`, `context_root_rewrite`: which paths of its hosts a service answers, and whether
//! it sees the prefix.

use super::fix::Edit;
use super::reader::{Fault, Instead, Reader, Said, Switch};
use super::{BadPath, Code, Label, PathPrefix, Rewrite};

pub(super) const LABEL: Label = Label {
    name: "context_root",
    kind: "path",
    default: "`/`",
    about: "Only this path of the hosts, and everything below it: `/app` stands for `/app` and \
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

/// The paths; none where the label is broken and always was: at `/` the service could take part in
/// what another one answers.
pub(super) fn read(reader: &mut Reader<'_>, last: Option<&PathPrefix>) -> Option<PathPrefix> {
    let said = {
        let update = |path: &str| reader.update(&[Edit::Set(LABEL.name, path)]);
        let fixes = [update("PATH"), reader.update(&[Edit::Remove(LABEL.name)])].join(", or: ");
        let written = reader.written(&LABEL).unwrap_or_default();
        let meant = PathPrefix::parse(&format!("/{}", written.trim()));
        let slash = meant.map(|meant| update(meant.as_str()));
        reader.parse(
            &LABEL,
            || Instead::last_valid(last),
            |value| {
                PathPrefix::parse(value).map_err(|fault| Fault {
                    code: Code::BadPath,
                    message: fault.to_string(),
                    fix: match (fault, slash) {
                        (BadPath::NoSlash, Ok(slash)) if !value.is_empty() => slash,
                        _ => fixes,
                    },
                })
            },
        )
    };
    match said {
        Said::Value(path) => Some(path),
        Said::Nonsense => last.cloned(),
        Said::Nothing => Some(PathPrefix::root()),
    }
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

    #[test]
    fn a_context_root_is_a_path() {
        let web = a_service("web").serving("a.example");
        for (value, path) in [("/app", "/app"), (" /app/ ", "/app"), ("/", "/")] {
            let web = web.clone().label("context_root", value);
            assert_eq!((intent(&web).path.as_str(), codes(&web)), (path, vec![]), "{value:?}");
        }
        assert!(intent(&web).path.is_root());
    }

    #[test]
    fn a_broken_context_root_never_means_the_whole_host() {
        let good = a_service("web").serving("a.example").label("context_root", "/app");
        for value in ["", "app", "/a b", "/a?b", "/a/../b", "/%", "/a\r\nb: c"] {
            let broken = good.clone().label("context_root", value);
            assert_eq!(codes(&broken), [Code::BadPath], "{value:?}");
            assert_eq!(read(&broken).unwrap().intent, None, "{value:?}");
            assert_eq!(read_after(&good, &broken).intent.unwrap().path.as_str(), "/app");
        }
    }

    #[test]
    fn a_missing_slash_is_put_right() {
        let web = a_service("web").serving("a.example").label("context_root", "app/");
        assert_eq!(
            read(&web).unwrap().problems[0].fix,
            "docker service update --label-add com.docker.lb.context_root=/app web"
        );
    }

    #[test]
    fn the_context_root_is_stripped_only_where_that_is_asked_for() {
        let web = a_service("web").serving("a.example").label("context_root", "/app");
        assert_eq!(intent(&web).route.rewrite, Rewrite::Keep);
        let web = web.label("context_root_rewrite", "yes");
        assert_eq!(intent(&web).route.rewrite, Rewrite::Strip);
    }
}

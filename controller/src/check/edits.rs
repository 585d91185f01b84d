//! The fix of a problem, for whom the labels are in a file: what to write there, not a command.

use std::borrow::Cow;

use super::yaml::{self, Scalar, Value};

const COMMAND: &str = "docker service update ";

/// A fix whose command only changes labels tells the labels instead; any other stays as it is.
pub(super) fn for_a_file(fix: &str) -> String {
    turned(fix).unwrap_or_else(|| fix.to_owned())
}

fn turned(fix: &str) -> Option<String> {
    let (before, mut rest) = fix.split_once(COMMAND)?;
    let mut edits = Vec::new();
    // What is no flag is the service's name, and the end of the command.
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(' ')?;
        let (argument, after) = word(after)?;
        edits.push(match flag {
            "label-add" => set(&argument)?,
            "label-rm" => format!("remove `{argument}`"),
            _ => return None,
        });
        rest = after.strip_prefix(' ')?;
    }
    let (_service, after) = word(rest)?;
    let edits = edits.join(", ");
    (!edits.is_empty()).then(|| format!("{before}in `deploy.labels`, {edits}{after}"))
}

fn set(argument: &str) -> Option<String> {
    let (key, value) = argument.split_once('=')?;
    Some(format!("write `{key}: {}`", scalar(value)))
}

/// A text as YAML: quoted where it would be read as something else.
fn scalar(text: &str) -> Cow<'_, str> {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "._-/,".contains(c);
    let plain = !text.is_empty()
        && text.chars().all(harmless)
        && yaml::parse(text).is_ok_and(|node| match &node.value {
            Value::Scalar(Scalar::Text(read)) => read == text,
            _ => false,
        });
    if plain { text.into() } else { serde_json::Value::from(text).to_string().into() }
}

/// The word of a POSIX shell that a command goes on with, and what follows it. Punctuation of the
/// sentence around the command is no part of the word.
fn word(text: &str) -> Option<(String, &str)> {
    if let Some(mut quoted) = text.strip_prefix('\'') {
        let mut word = String::new();
        loop {
            let (part, after) = quoted.split_once('\'')?;
            word.push_str(part);
            let Some(more) = after.strip_prefix(r"\''") else { return Some((word, after)) };
            word.push('\'');
            quoted = more;
        }
    }
    let end = text.find(' ').unwrap_or(text.len());
    let word = text.get(..end)?.trim_end_matches([',', ';']);
    (!word.is_empty()).then(|| Some((word.to_owned(), text.get(word.len()..)?)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_changes_labels_becomes_the_labels() {
        for (command, label) in [
            (
                "docker service update --label-add com.docker.lb.network=shop_net web",
                "in `deploy.labels`, write `com.docker.lb.network: shop_net`",
            ),
            (
                "docker service update --label-rm com.docker.lb.prot --label-add \
                 com.docker.lb.port=80 web",
                "in `deploy.labels`, remove `com.docker.lb.prot`, write `com.docker.lb.port: 80`",
            ),
            (
                "docker service update --label-add 'com.docker.lb.hosts=*.a.example' 'my web' (or b)",
                "in `deploy.labels`, write `com.docker.lb.hosts: \"*.a.example\"` (or b)",
            ),
            (
                "Nothing; else docker service update --label-add com.docker.lb.ip_hash=true web; x",
                "Nothing; else in `deploy.labels`, write `com.docker.lb.ip_hash: \"true\"`; x",
            ),
            (
                r"docker service update --label-add 'com.docker.lb.hosts=it'\''s' web",
                "in `deploy.labels`, write `com.docker.lb.hosts: \"it's\"`",
            ),
        ] {
            assert_eq!(for_a_file(command), label);
        }
    }

    #[test]
    fn any_other_fix_stays_as_it_is() {
        for fix in [
            "Name fewer hosts.",
            "docker service update --network-add NETWORK web (NETWORK: the proxy's)",
            "docker service update --endpoint-mode vip web, or: docker service update --label-rm a b",
            "docker service update web",
            "docker service update --label-add",
            "docker service update --label-add 'com.docker.lb.hosts=a",
            "docker service update ",
        ] {
            assert_eq!(for_a_file(fix), fix);
        }
    }
}

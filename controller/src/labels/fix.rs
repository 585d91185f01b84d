//! Commands that a user can paste.

use std::fmt::Write as _;

use super::problem::is_deceptive;
use super::{LONGEST, key_of};
use crate::swarm::ServiceName;

/// One change of a service's labels; names come as in [`super::Label`].
pub enum Edit<'a> {
    /// Sets a label.
    Set(&'a str, &'a str),
    /// Removes a label.
    Remove(&'a str),
}

/// The `docker service update` that makes these changes.
pub fn update(service: &ServiceName, edits: &[Edit<'_>]) -> String {
    let mut command = String::from("docker service update");
    for edit in edits {
        let argument = match edit {
            Edit::Set(name, value) => {
                command.push_str(" --label-add ");
                format!("{}={}", short(&key_of(name)), short(value))
            }
            Edit::Remove(name) => {
                command.push_str(" --label-rm ");
                short(&key_of(name)).to_owned()
            }
        };
        command.push_str(&quoted(&argument));
    }
    let _infallible = write!(command, " {}", quoted(service.as_str()));
    command
}

/// What is longer than any value that is read stands for itself no more: nobody would paste it.
fn short(text: &str) -> &str {
    if text.len() > LONGEST { "…" } else { text }
}

/// A word as a POSIX shell must see it. Control characters have no place in a command that is shown
/// to be pasted: they become `?`.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./,:=@+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let shown = word.replace(is_deceptive, "?").replace('\'', r"'\''");
    format!("'{shown}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_survives_the_shell() {
        let service = ServiceName::new("web");
        let edits = [
            Edit::Set("hosts", "*.a.example,b.example"),
            Edit::Set("port", "80"),
            Edit::Remove("network"),
        ];
        assert_eq!(
            update(&service, &edits),
            "docker service update --label-add 'com.docker.lb.hosts=*.a.example,b.example' \
             --label-add com.docker.lb.port=80 --label-rm com.docker.lb.network web"
        );
        let long = "x".repeat(1 << 20);
        assert_eq!(
            update(&service, &[Edit::Set("hosts", &long), Edit::Remove(&long)]),
            "docker service update --label-add 'com.docker.lb.hosts=…' --label-rm '…' web"
        );
        assert_eq!(quoted("it's\n$(rm)"), r"'it'\''s?$(rm)'");
        assert_eq!(quoted(""), "''");
    }
}

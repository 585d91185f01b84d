//! Variables in a Compose file, replaced as `docker stack deploy` replaces them: `$NAME`,
//! `${NAME}`, `${NAME:-default}`, `${NAME-default}`, `${NAME:?error}`, `${NAME?error}`, and `$$`
//! for one `$`.

/// The value of a variable; none if it is unset.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Something wrong with a variable in a text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// It is unset and has no default: it counts as empty.
    Unset(String),
    /// It is unset (or empty), and the text demands it, in these words.
    Required(String, String),
    /// A `$` that begins no variable.
    Malformed,
}

/// Replaces the variables of a text. What is wrong is replaced by nothing.
pub(super) fn replace(text: &str, environment: Environment<'_>) -> (String, Vec<Fault>) {
    let mut out = String::new();
    let mut faults = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((variable, after)) = Variable::read(after) {
            match variable.value(environment) {
                Ok(value) => out.push_str(&value),
                Err(fault) => faults.push(fault),
            }
            rest = after;
        } else {
            faults.push(Fault::Malformed);
            rest = after;
        }
    }
    out.push_str(rest);
    (out, faults)
}

/// A variable as it is written.
struct Variable<'a> {
    name: &'a str,
    otherwise: Otherwise<'a>,
}

/// What holds where a variable has no value.
enum Otherwise<'a> {
    Empty,
    /// This default if it is unset.
    IfUnset(&'a str),
    /// This default if it is unset or empty.
    IfEmpty(&'a str),
    /// This error if it is unset.
    FailIfUnset(&'a str),
    /// This error if it is unset or empty.
    FailIfEmpty(&'a str),
}

impl<'a> Variable<'a> {
    /// Reads what follows a `$`; also gives what follows the variable.
    fn read(after: &'a str) -> Option<(Self, &'a str)> {
        if let Some(braced) = after.strip_prefix('{') {
            let (body, rest) = braced.split_once('}')?;
            let (name, tail) = name(body)?;
            let otherwise = Otherwise::read(tail)?;
            return Some((Self { name, otherwise }, rest));
        }
        let (name, tail) = name(after)?;
        // Docker takes `-default` and `?error` without braces too, up to the next `}`.
        let end = tail.find('}').unwrap_or(tail.len());
        let (body, rest) = tail.split_at_checked(end)?;
        match Otherwise::read(body) {
            Some(otherwise) => Some((Self { name, otherwise }, rest)),
            None => Some((Self { name, otherwise: Otherwise::Empty }, tail)),
        }
    }

    fn value(&self, environment: Environment<'_>) -> Result<String, Fault> {
        let set = environment(self.name);
        let filled = set.clone().filter(|value| !value.is_empty());
        let required = |said: &str| Fault::Required(self.name.to_owned(), said.to_owned());
        match self.otherwise {
            Otherwise::Empty => set.ok_or_else(|| Fault::Unset(self.name.to_owned())),
            Otherwise::IfUnset(default) => Ok(set.unwrap_or_else(|| default.to_owned())),
            Otherwise::IfEmpty(default) => Ok(filled.unwrap_or_else(|| default.to_owned())),
            Otherwise::FailIfUnset(said) => set.ok_or_else(|| required(said)),
            Otherwise::FailIfEmpty(said) => filled.ok_or_else(|| required(said)),
        }
    }
}

impl<'a> Otherwise<'a> {
    fn read(tail: &'a str) -> Option<Self> {
        if tail.is_empty() {
            return Some(Self::Empty);
        }
        let after = |mark| tail.strip_prefix(mark);
        after(":-")
            .map(Self::IfEmpty)
            .or_else(|| after("-").map(Self::IfUnset))
            .or_else(|| after(":?").map(Self::FailIfEmpty))
            .or_else(|| after("?").map(Self::FailIfUnset))
    }
}

/// The name that a text begins with, and what follows it.
fn name(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    begins.then_some((name, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("a.example".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced_as_docker_replaces_them() {
        for (written, replaced) in [
            ("plain", "plain"),
            ("$HOST", "a.example"),
            ("x.${HOST},y.$HOST/", "x.a.example,y.a.example/"),
            ("$$HOST $$", "$HOST $"),
            ("${EMPTY}", ""),
            ("${UNSET:-d}${UNSET-e}", "de"),
            ("${EMPTY:-d}${EMPTY-e}", "d"),
            ("${HOST:-d}${HOST?no}${HOST:?no}", "a.examplea.examplea.example"),
            ("${EMPTY?no}", ""),
            ("${UNSET:-}", ""),
            ("$UNSET-d", "d"),
        ] {
            assert_eq!(replace(written, &environment), (replaced.to_owned(), vec![]), "{written}");
        }
    }

    #[test]
    fn what_has_no_value_is_told_and_counts_as_empty() {
        let unset = || Fault::Unset("UNSET".to_owned());
        let required = |name: &str| Fault::Required(name.to_owned(), "say it".to_owned());
        for (written, replaced, faults) in [
            ("a${UNSET}b", "ab", vec![unset()]),
            ("$UNSET.$UNSET", ".", vec![unset(), unset()]),
            ("${UNSET:?say it}", "", vec![required("UNSET")]),
            ("${UNSET?say it}", "", vec![required("UNSET")]),
            ("${EMPTY:?say it}", "", vec![required("EMPTY")]),
            ("a$", "a", vec![Fault::Malformed]),
            ("$1", "1", vec![Fault::Malformed]),
            ("${HOST", "{HOST", vec![Fault::Malformed]),
            ("${}", "{}", vec![Fault::Malformed]),
            ("${HOST:+x}", "{HOST:+x}", vec![Fault::Malformed]),
        ] {
            assert_eq!(replace(written, &environment), (replaced.to_owned(), faults), "{written}");
        }
    }
}

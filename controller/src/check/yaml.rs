//! YAML with the line of every value: aliases followed, merge keys (`<<`) applied, and scalars
//! written as Compose writes them.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

/// A file that is no Compose file, or that cannot be read at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Unreadable {
    /// Where, from 1; none where the whole file is at fault.
    pub(super) line: Option<usize>,
    /// Why.
    pub(super) message: String,
}

impl Unreadable {
    /// A fault of one line.
    pub(super) fn at(line: usize, message: impl Into<String>) -> Self {
        Self { line: Some(line), message: message.into() }
    }

    /// A fault of the file.
    pub(super) fn whole(message: impl Into<String>) -> Self {
        Self { line: None, message: message.into() }
    }
}

/// How deep values may be nested; Compose files need about ten levels.
const DEEPEST: usize = 64;

/// How many entries all merge keys of a file may bring, so that no file takes long.
const MOST_MERGED: usize = 100_000;

/// A value, shared by all aliases of it.
#[derive(Debug)]
pub(super) struct Node {
    /// Where it begins, from 1.
    pub(super) line: usize,
    /// What it is.
    pub(super) value: Value,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Value {
    /// A text, a number, a boolean or nothing.
    Scalar(Scalar),
    /// A list.
    List(Vec<Rc<Node>>),
    /// A map, merge keys applied.
    Map(Map),
}

/// A map's entries by key.
pub(super) type Map = BTreeMap<Rc<str>, Entry>;

/// An entry of a map.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Where its key is, from 1: of a merged entry, where it really is.
    pub(super) line: usize,
    /// Its value.
    pub(super) node: Rc<Node>,
}

/// A scalar, as Compose renders it: `0x50` is `80`, nothing is an empty text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scalar {
    /// A text or a number.
    Text(String),
    /// `true` or `false`.
    Boolean(bool),
    /// `null`, `~`, or nothing at all.
    Null,
}

/// Reads the one document of a file.
pub(super) fn parse(text: &str) -> Result<Rc<Node>, Unreadable> {
    // A byte order mark is no part of the text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            Unreadable::at(error.marker().line(), format!("YAML: {}", error.info()))
        })?;
        builder.take(event, span)?;
    }
    builder.root.ok_or_else(|| Unreadable::whole("the file is empty"))
}

/// The document as far as it is read.
#[derive(Default)]
struct Builder {
    root: Option<Rc<Node>>,
    /// The lists and maps that are not ended yet, the innermost last.
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    merged: usize,
}

/// A list or a map that is not ended yet.
struct Open {
    line: usize,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Rc<Node>>),
    Map { own: Map, merged: Vec<Rc<Node>>, key: Option<Key> },
}

/// A key that waits for its value.
enum Key {
    Named(Rc<str>, usize),
    Merge,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Unreadable> {
        let line = span.start.line();
        match event {
            Event::DocumentStart(_) if self.root.is_some() => Err(Unreadable::at(
                line,
                "a second YAML document begins; `docker stack deploy` reads only the first",
            )),
            Event::SequenceStart(anchor, _) => self.begin(line, anchor, Content::List(Vec::new())),
            Event::MappingStart(anchor, _) => {
                let content = Content::Map { own: Map::new(), merged: Vec::new(), key: None };
                self.begin(line, anchor, content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                if plain && text == "<<" && self.awaits_key() {
                    return self.set_key(Key::Merge);
                }
                if self.awaits_key() {
                    return self.set_key(Key::Named(text.into(), line));
                }
                let scalar = if plain || is_null(tag.as_deref()) {
                    resolve(&text)
                } else {
                    Scalar::Text(text.into_owned())
                };
                self.complete(anchor, Node { line, value: Value::Scalar(scalar) })
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or_else(|| Unreadable::at(line, "an alias of what it is in"))?;
                self.place(node, line)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn begin(&mut self, line: usize, anchor: usize, content: Content) -> Result<(), Unreadable> {
        if self.open.len() == DEEPEST {
            return Err(Unreadable::at(line, format!("nested deeper than {DEEPEST} levels")));
        }
        self.open.push(Open { line, anchor, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Unreadable> {
        let Some(Open { line, anchor, content }) = self.open.pop() else { return Ok(()) };
        let value = match content {
            Content::List(items) => Value::List(items),
            Content::Map { own, merged, .. } => Value::Map(self.merge(own, &merged)?),
        };
        self.complete(anchor, Node { line, value })
    }

    /// A map's own entries win over merged ones, and earlier merged ones over later ones.
    fn merge(&mut self, mut own: Map, merged: &[Rc<Node>]) -> Result<Map, Unreadable> {
        for node in merged {
            let maps = match &node.value {
                Value::List(items) => items.as_slice(),
                Value::Map(_) | Value::Scalar(_) => std::slice::from_ref(node),
            };
            for map in maps {
                let Value::Map(entries) = &map.value else {
                    return Err(Unreadable::at(map.line, "`<<` takes a map, or a list of maps"));
                };
                self.merged += entries.len();
                if self.merged > MOST_MERGED {
                    let message = format!("`<<` brings more than {MOST_MERGED} entries");
                    return Err(Unreadable::at(map.line, message));
                }
                for (key, entry) in entries {
                    own.entry(Rc::clone(key)).or_insert_with(|| entry.clone());
                }
            }
        }
        Ok(own)
    }

    fn complete(&mut self, anchor: usize, node: Node) -> Result<(), Unreadable> {
        let line = node.line;
        let node = Rc::new(node);
        // The parser numbers anchors from 1; 0 is none.
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.place(node, line)
    }

    fn awaits_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { content: Content::Map { key: None, .. }, .. }))
    }

    fn set_key(&mut self, new: Key) -> Result<(), Unreadable> {
        let Some(Open { content: Content::Map { own, key, .. }, .. }) = self.open.last_mut() else {
            return Ok(());
        };
        if let Key::Named(name, line) = &new
            && let Some(first) = own.get(name)
        {
            let message = format!("the key `{name}` is here again, first in line {}", first.line);
            return Err(Unreadable::at(*line, message));
        }
        *key = Some(new);
        Ok(())
    }

    /// Puts a value where it belongs: into the innermost open list or map.
    fn place(&mut self, node: Rc<Node>, line: usize) -> Result<(), Unreadable> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Map { own, merged, key } => match key.take() {
                Some(Key::Merge) => merged.push(node),
                Some(Key::Named(name, line)) => drop(own.insert(name, Entry { line, node })),
                None => match &node.value {
                    // An alias of a scalar may be a key too.
                    Value::Scalar(Scalar::Text(name)) => {
                        return self.set_key(Key::Named(name.as_str().into(), line));
                    }
                    _ => return Err(Unreadable::at(line, "a key must be a text")),
                },
            },
        }
        Ok(())
    }
}

fn is_null(tag: Option<&Tag>) -> bool {
    tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "null")
}

/// What a plain scalar means to Docker's YAML library (Go's `yaml.v3`), which knows YAML 1.2's
/// booleans and YAML 1.1's numbers, and how Compose writes it then.
fn resolve(plain: &str) -> Scalar {
    match plain {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "true" | "True" | "TRUE" => return Scalar::Boolean(true),
        "false" | "False" | "FALSE" => return Scalar::Boolean(false),
        _ => {}
    }
    Scalar::Text(number(plain).unwrap_or_else(|| plain.to_owned()))
}

fn number(plain: &str) -> Option<String> {
    let digits = plain.replace('_', "");
    let (sign, unsigned) = match digits.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", digits.strip_prefix('+').unwrap_or(&digits)),
    };
    let radix = |prefix: &str, radix| {
        let digits = unsigned.strip_prefix(prefix)?;
        let plain = digits.bytes().all(|digit| digit.is_ascii_alphanumeric());
        if plain { u64::from_str_radix(digits, radix).ok() } else { None }
    };
    if !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    let integer = radix("0x", 16)
        .or_else(|| radix("0b", 2))
        .or_else(|| radix("0o", 8))
        .or_else(|| radix("0", 8))
        .or_else(|| unsigned.parse().ok());
    if let Some(integer) = integer {
        return Some(format!("{sign}{integer}"));
    }
    let decimal = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
    let float: f64 = unsigned.chars().all(decimal).then(|| unsigned.parse().ok())??;
    Some(format!("{sign}{float}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The document in one line, each key with its line.
    fn shown(node: &Node) -> String {
        match &node.value {
            Value::Scalar(Scalar::Text(text)) => text.clone(),
            Value::Scalar(Scalar::Boolean(value)) => format!("<{value}>"),
            Value::Scalar(Scalar::Null) => "<null>".to_owned(),
            Value::List(items) => {
                format!("[{}]", items.iter().map(|it| shown(it)).collect::<Vec<_>>().join(" "))
            }
            Value::Map(map) => {
                let entry = |(key, entry): (&Rc<str>, &Entry)| {
                    format!("{key}@{}={}", entry.line, shown(&entry.node))
                };
                format!("{{{}}}", map.iter().map(entry).collect::<Vec<_>>().join(" "))
            }
        }
    }

    #[test]
    fn plain_scalars_are_rendered_as_compose_renders_them() {
        for (written, rendered) in [
            ("8080", "8080"),
            ("0x1F90", "8080"),
            ("0b101", "5"),
            ("0o17", "15"),
            ("010", "8"),
            ("08", "8"),
            ("1_000", "1000"),
            ("-7", "-7"),
            ("+7", "7"),
            ("1.10", "1.1"),
            ("1e3", "1000"),
            (".5", "0.5"),
            ("10.0.0.1", "10.0.0.1"),
            ("8080:80", "8080:80"),
            ("0x-1", "0x-1"),
            ("a", "a"),
            (".", "."),
            ("yes", "yes"),
            ("'8_0'", "8_0"),
            ("\"1.10\"", "1.10"),
            ("!!str 1.10", "1.10"),
            ("True", "<true>"),
            ("false", "<false>"),
            ("'true'", "true"),
            ("~", "<null>"),
            ("", "<null>"),
            ("!!null", "<null>"),
        ] {
            let node = parse(&format!("k: {written}\n"));
            let read = node.map(|node| shown(&node)).map_err(|error| error.to_string());
            assert_eq!(read, Ok(format!("{{k@1={rendered}}}")), "{written}");
        }
    }

    #[test]
    fn aliases_and_merge_keys_keep_the_line_where_things_are_written() {
        for (text, read) in [
            ("a: &x 1\nb: *x\n", "{a@1=1 b@2=1}"),
            ("a: &x\n  k: 1\nb: *x\n", "{a@1={k@2=1} b@3={k@2=1}}"),
            (
                "a: &x\n  k: 1\n  l: 2\nb:\n  l: 3\n  <<: *x\n",
                "{a@1={k@2=1 l@3=2} b@4={k@2=1 l@5=3}}",
            ),
            (
                "a: &x {k: 1}\nb: &y\n  k: 2\n  l: 2\nc:\n  <<: [*x, *y]\n",
                "{a@1={k@1=1} b@2={k@3=2 l@4=2} c@5={k@1=1 l@4=2}}",
            ),
            (
                "a: &x {k: 1}\nb: &y\n  <<: *x\nc: {<<: *y}\n",
                "{a@1={k@1=1} b@2={k@1=1} c@4={k@1=1}}",
            ),
            ("a: {'<<': 1}\n", "{a@1={<<@1=1}}"),
            ("a: &x k\n*x : 1\n", "{a@1=k k@2=1}"),
            ("\u{feff}a:\n- b\n\n- c\n", "{a@1=[b c]}"),
        ] {
            let node = parse(text);
            assert_eq!(node.map(|node| shown(&node)).map_err(|it| it.to_string()), Ok(read.into()));
        }
    }

    #[test]
    fn what_docker_refuses_is_told_with_its_line() {
        for (text, line, told) in [
            ("", None, "the file is empty"),
            ("a: 1\nb: [\n", Some(3), "YAML: "),
            ("a: 1\nb: 2\na: 3\n", Some(3), "the key `a` is here again, first in line 1"),
            ("a: 1\n---\nb: 1\n", Some(2), "a second YAML document"),
            ("a: 1\n<<: 7\n", Some(2), "`<<` takes a map"),
            ("a: 1\n[b]: 7\n", Some(2), "a key must be a text"),
            ("a: &x [*x]\n", Some(1), "an alias of what it is in"),
            (&"[".repeat(65), Some(1), "nested deeper"),
            (&"- ".repeat(65), Some(1), "nested deeper"),
            (&"- ".repeat(100_000), Some(1), "nested deeper"),
            (&"[".repeat(100_000), Some(1), "YAML: "),
        ] {
            let error = parse(text).expect_err(told);
            assert!(error.message.starts_with(told), "{error:?}");
            assert_eq!(error.line, line, "{error:?}");
        }
    }

    #[test]
    fn merge_keys_that_multiply_are_refused() {
        use std::fmt::Write as _;
        let keys: Vec<_> = (0..1_000).map(|key| format!("k{key}: 1")).collect();
        let mut text = format!("m: &m {{{}}}\n", keys.join(", "));
        for n in 0..101 {
            writeln!(text, "n{n}: {{<<: *m}}").expect("a text");
        }
        assert_eq!(parse(&text).expect_err("too many").line, Some(1));
    }
}

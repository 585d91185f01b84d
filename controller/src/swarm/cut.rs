//! A JSON list, cut into its values while it comes.
//!
//! A list of 100,000 tasks is hundreds of megabytes long. Each value is looked at as soon as it is
//! whole, and then let go.

use serde::de::{Error as _, IgnoredAny};
use serde_json::Error;

/// A list of which a part has come.
#[derive(Debug, Default)]
pub(super) struct Cut {
    /// The beginning of a value whose end has not come. Outside of the list: what is there.
    begun: Vec<u8>,
    /// How many brackets are open, with the list's own.
    depth: usize,
    text: Text,
    stage: Stage,
}

/// Whether a bracket is one, or part of a text.
#[derive(Debug, Default, Clone, Copy)]
enum Text {
    #[default]
    Outside,
    Inside,
    /// Behind a backslash.
    Escaped,
}

/// How far a list has come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Before,
    Empty,
    Filled,
    Over,
}

/// What ends a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edge {
    Open,
    Comma,
    Close,
}

impl Cut {
    /// Takes what has come next, and hands over each value that is whole by that. What is between
    /// two commas counts as one, also where it is none: whoever parses it will say so.
    pub(super) fn take(
        &mut self,
        piece: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (mut from, mut at) = (0, 0);
        while let Some(place) = self.next_sign(piece, at) {
            at = place + 1;
            let edge = piece.get(place).and_then(|byte| self.edge(*byte));
            let Some(edge) = edge else { continue };
            let rest = piece.get(from..place).unwrap_or_default();
            from = at;
            if self.begun.is_empty() {
                self.end_value(rest, edge, &mut each)?;
            } else {
                let mut value = std::mem::take(&mut self.begun);
                value.extend_from_slice(rest);
                self.end_value(&value, edge, &mut each)?;
                value.clear();
                self.begun = value;
            }
        }
        self.begun.extend_from_slice(piece.get(from..).unwrap_or_default());
        Ok(())
    }

    /// Fails unless a whole list has come, or `null`, and nothing else.
    pub(super) fn end(self) -> Result<(), Error> {
        match self.stage {
            Stage::Before => {
                serde_json::from_slice::<Option<[IgnoredAny; 0]>>(&self.begun).map(drop)
            }
            Stage::Empty | Stage::Filled => Err(Error::custom("the list has no end")),
            Stage::Over if self.begun.trim_ascii().is_empty() => Ok(()),
            Stage::Over => Err(Error::custom("something follows the list")),
        }
    }

    /// Where the next byte is that may mean something: of most, one look is enough.
    #[inline]
    fn next_sign(&self, piece: &[u8], from: usize) -> Option<usize> {
        let mut rest = piece.get(from..)?.iter();
        let place = match self.text {
            Text::Inside => rest.position(|it| matches!(it, b'"' | b'\\')),
            Text::Escaped => rest.next().map(|_| 0),
            Text::Outside => {
                rest.position(|it| matches!(it, b'"' | b',' | b'[' | b']' | b'{' | b'}'))
            }
        };
        place.map(|place| from + place)
    }

    /// Whether a byte ends a value.
    #[inline]
    fn edge(&mut self, byte: u8) -> Option<Edge> {
        match (self.text, byte) {
            (Text::Inside, b'"') => self.text = Text::Outside,
            (Text::Inside, b'\\') => self.text = Text::Escaped,
            (Text::Escaped, _) | (Text::Outside, b'"') => self.text = Text::Inside,
            (Text::Outside, b',') if self.depth == 1 => return Some(Edge::Comma),
            (Text::Outside, b'[') if self.depth == 0 && self.stage == Stage::Before => {
                self.depth = 1;
                return Some(Edge::Open);
            }
            (Text::Outside, b']') if self.depth == 1 => {
                self.depth = 0;
                return Some(Edge::Close);
            }
            (Text::Outside, b'[' | b'{') if self.depth > 0 => self.depth += 1,
            (Text::Outside, b']' | b'}') if self.depth > 1 => self.depth -= 1,
            (Text::Inside | Text::Outside, _) => {}
        }
        None
    }

    fn end_value(
        &mut self,
        value: &[u8],
        edge: Edge,
        each: &mut impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let value = value.trim_ascii();
        let stage = std::mem::replace(
            &mut self.stage,
            match edge {
                Edge::Open => Stage::Empty,
                Edge::Comma => Stage::Filled,
                Edge::Close => Stage::Over,
            },
        );
        match (edge, stage, value) {
            (Edge::Open, _, []) | (Edge::Close, Stage::Empty, []) => Ok(()),
            (Edge::Open, _, _) => Err(Error::custom("something is before the list")),
            (_, _, value) => each(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// The values of a text that comes in pieces of this length; none if it is no list.
    fn values(text: &str, length: usize) -> Option<Vec<String>> {
        let mut cut = Cut::default();
        let mut values = Vec::new();
        for piece in text.as_bytes().chunks(length) {
            let taken = cut.take(piece, |value| {
                values.push(String::from_utf8_lossy(value).into_owned());
                Ok(())
            });
            taken.ok()?;
        }
        cut.end().ok()?;
        Some(values)
    }

    #[test]
    fn a_list_is_cut_into_its_values_however_it_comes() {
        for (text, expected) in [
            ("[]", Some(vec![])),
            (" [ ] ", Some(vec![])),
            ("null", Some(vec![])),
            ("[1]", Some(vec!["1"])),
            (r#"[ {"a": [1, 2]} , "b" ]"#, Some(vec![r#"{"a": [1, 2]}"#, r#""b""#])),
            (r#"[{"a":"]},\"[{"},{}]"#, Some(vec![r#"{"a":"]},\"[{"}"#, "{}"])),
            (r#"["\\","\""]"#, Some(vec![r#""\\""#, r#""\"""#])),
            ("[[],[[]]]", Some(vec!["[]", "[[]]"])),
            // These are no values, as their parser will find.
            ("[,]", Some(vec!["", ""])),
            ("[1,]", Some(vec!["1", ""])),
            ("[}]", Some(vec!["}"])),
            ("", None),
            ("{}", None),
            (r#"{"a":[]}"#, None),
            ("[", None),
            (r#"[{"a":1}"#, None),
            (r#"["]"#, None),
            ("[]]", None),
            ("[][]", None),
            ("null[]", None),
            ("<html>", None),
        ] {
            for length in [1, 2, 3, 100] {
                let cut = values(text, length);
                let cut = cut.as_ref().map(|it| it.iter().map(String::as_str).collect::<Vec<_>>());
                assert_eq!(cut, expected, "{text:?} in pieces of {length}");
            }
        }
    }

    /// Texts that are lists, and texts of what lists are made of.
    fn text() -> impl Strategy<Value = String> {
        let soup = r#"[\[\]{}",: \\1]{0,16}"#;
        let leaf = prop_oneof![Just("1".to_owned()), r#""[\[\]{},: ]{0,4}(\\\\|\\")?""#.boxed()];
        let value = leaf.prop_recursive(3, 16, 4, |value| {
            let list = prop::collection::vec(value.clone(), 0..4).prop_map(|all| all.join(", "));
            let list = list.prop_map(|all| format!("[{all}]"));
            prop_oneof![list, value.prop_map(|value| format!(r#"{{"a": {value}}}"#))]
        });
        let list =
            prop::collection::vec(value, 0..5).prop_map(|all| format!("[{}]", all.join(",")));
        prop_oneof![list.clone(), soup, (list, soup).prop_map(|(list, soup)| list + &soup)]
    }

    proptest! {
        #[test]
        fn what_comes_in_pieces_is_what_serde_finds_in_the_whole(text in text(), length in 1_usize..9) {
            let whole = serde_json::from_str::<Option<Vec<Value>>>(&text).ok();
            let read = |value: &String| serde_json::from_str(value).ok();
            let cut = values(&text, length).and_then(|all| all.iter().map(read).collect());
            prop_assert_eq!(cut, whole.map(Option::unwrap_or_default));
        }
    }
}

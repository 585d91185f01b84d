//! A list of Docker's, read object by object while it comes. What was read before is not read again.
//!
//! Every list is total: an object that is not as Docker documents it is left out, with an
//! [`Oddity`] that tells, and the rest goes on. Only a body that is no list at all is an error.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Error;

use super::cut::Cut;

/// Something in Docker's answer that is not as documented.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Oddity {
    object: String,
    reason: String,
}

impl fmt::Display for Oddity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.object, self.reason)
    }
}

/// The objects of a list that are not left out, and what is odd in it.
pub(super) type Sifted<T> = (Vec<Arc<T>>, Vec<Oddity>);

/// A list as it was last read.
#[derive(Debug)]
pub(super) struct Listing<T> {
    /// What its objects are called.
    kind: &'static str,
    content: Content<T>,
    hasher: RandomState,
}

/// What a list holds.
#[derive(Debug)]
pub(super) struct Content<T> {
    objects: Vec<Arc<T>>,
    oddities: Vec<Oddity>,
    /// What came of each object, by a hash of its text: not the text, which carries secrets.
    known: HashMap<u64, Outcome<T>>,
}

/// What came of an object.
#[derive(Debug)]
struct Outcome<T> {
    /// None where it is left out.
    object: Option<Arc<T>>,
    oddities: Box<[Oddity]>,
}

/// Whether a list shows anything but the same again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Same,
    New,
}

/// A list that is being read anew.
#[derive(Debug)]
pub(super) struct Reading<'a, T> {
    last: &'a Listing<T>,
    cut: Cut,
    content: Content<T>,
}

impl<T> Default for Content<T> {
    fn default() -> Self {
        Self { objects: Vec::new(), oddities: Vec::new(), known: HashMap::new() }
    }
}

impl<T> Clone for Outcome<T> {
    fn clone(&self) -> Self {
        Self { object: self.object.clone(), oddities: self.oddities.clone() }
    }
}

impl<T> Listing<T> {
    /// An empty list.
    pub(super) fn new(kind: &'static str) -> Self {
        Self { kind, content: Content::default(), hasher: RandomState::new() }
    }

    /// Its objects without those that are left out.
    pub(super) fn objects(&self) -> &[Arc<T>] {
        &self.content.objects
    }

    /// What is odd in it.
    pub(super) fn oddities(&self) -> &[Oddity] {
        &self.content.oddities
    }

    /// Begins to read it anew.
    pub(super) fn again(&self) -> Reading<'_, T> {
        Reading { last: self, cut: Cut::default(), content: Content::default() }
    }

    /// Takes what was read anew.
    pub(super) fn adopt(&mut self, next: Content<T>) -> Change {
        let last = std::mem::replace(&mut self.content, next);
        let next = &self.content;
        let is_same = last.oddities == next.oddities
            && last.objects.len() == next.objects.len()
            && last.objects.iter().zip(&next.objects).all(|(it, next)| Arc::ptr_eq(it, next));
        if is_same { Change::Same } else { Change::New }
    }
}

impl<T> Reading<'_, T> {
    /// Takes what has come next. `convert` may tell of oddities that do not cost the object.
    pub(super) fn take<D: DeserializeOwned>(
        &mut self,
        piece: &[u8],
        mut convert: impl FnMut(D, &mut dyn FnMut(String)) -> Result<T, String>,
    ) -> Result<(), Error> {
        let Self { last, cut, content } = self;
        cut.take(piece, |text| {
            let hash = last.hasher.hash_one(text);
            let outcome = match last.content.known.get(&hash) {
                Some(outcome) => outcome.clone(),
                None => read(last.kind, text, &mut convert)?,
            };
            content.objects.extend(outcome.object.clone());
            content.oddities.extend_from_slice(&outcome.oddities);
            content.known.insert(hash, outcome);
            Ok(())
        })
    }

    /// What it holds, if it is whole.
    pub(super) fn end(self) -> Result<Content<T>, Error> {
        self.cut.end()?;
        Ok(self.content)
    }
}

/// Reads a list that is there as a whole, once.
pub(super) fn all<D: DeserializeOwned, T>(
    kind: &'static str,
    body: &[u8],
    convert: impl FnMut(D, &mut dyn FnMut(String)) -> Result<T, String>,
) -> Result<Sifted<T>, Error> {
    let list = Listing::new(kind);
    let mut reading = list.again();
    reading.take(body, convert)?;
    let Content { objects, oddities, .. } = reading.end()?;
    Ok((objects, oddities))
}

/// Reads one object. Fails where the text is no JSON, as of a list that is none.
fn read<D: DeserializeOwned, T>(
    kind: &str,
    text: &[u8],
    mut convert: impl FnMut(D, &mut dyn FnMut(String)) -> Result<T, String>,
) -> Result<Outcome<T>, Error> {
    let mut oddities = Vec::new();
    let mut odd = |reason| oddities.push(Oddity { object: name_of(kind, text), reason });
    let read = match serde_json::from_slice(text) {
        Ok(docker) => convert(docker, &mut odd),
        Err(error) => {
            serde_json::from_slice::<IgnoredAny>(text)?;
            Err(error.to_string())
        }
    };
    let object = match read {
        Ok(object) => Some(Arc::new(object)),
        Err(reason) => {
            odd(format!("left out: {reason}"));
            None
        }
    };
    Ok(Outcome { object, oddities: oddities.into() })
}

fn name_of(kind: &str, text: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Named {
        #[serde(rename = "ID")]
        id: String,
    }
    serde_json::from_slice(text)
        .map_or_else(|_| format!("a {kind} without ID"), |Named { id }| format!("{kind} {id:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Thing {
        number: Option<u64>,
        odd: Option<String>,
    }

    fn number(thing: Thing, odd: &mut dyn FnMut(String)) -> Result<u64, String> {
        thing.odd.into_iter().for_each(odd);
        thing.number.ok_or_else(|| "no number".to_owned())
    }

    /// Reads a list in pieces of this length.
    fn reread(
        list: &mut Listing<u64>,
        body: &str,
        length: usize,
        convert: impl Fn(Thing, &mut dyn FnMut(String)) -> Result<u64, String>,
    ) -> Result<Change, Error> {
        let mut reading = list.again();
        for piece in body.as_bytes().chunks(length) {
            reading.take(piece, &convert)?;
        }
        let whole = reading.end()?;
        Ok(list.adopt(whole))
    }

    #[test]
    fn what_was_read_before_is_not_read_again() {
        let mut list = Listing::new("thing");
        let reads = std::cell::Cell::new(0);
        for (body, change, read) in [
            (r#"[{"Number":1}]"#, Change::New, 1),
            (r#"[{"Number":1}]"#, Change::Same, 0),
            (r#" [ {"Number":1} ] "#, Change::Same, 0),
            (r#"[{"Number":1},{"Number":2}]"#, Change::New, 1),
            (r#"[{"Number":2},{"Number":1}]"#, Change::New, 0),
            (r#"[{"Number":1}]"#, Change::New, 0),
            (r#"[{"Number":1},{"Number":1}]"#, Change::New, 0),
            ("[]", Change::New, 0),
            ("[]", Change::Same, 0),
            (r#"[{"Number":1}]"#, Change::New, 1),
        ] {
            reads.set(0);
            let convert = |thing, odd: &mut dyn FnMut(String)| {
                reads.set(reads.get() + 1);
                number(thing, odd)
            };
            let took = reread(&mut list, body, 5, convert).expect("a list");
            assert_eq!((took, reads.get()), (change, read), "{body}");
        }
    }

    #[test]
    fn what_is_odd_is_told_for_as_long_as_it_is_there() {
        let mut list = Listing::new("thing");
        let odd = r#"{"ID":"a","Odd":"its oddity","Number":1}"#;
        let bad = r#"{"ID":"b"}"#;
        for (body, objects, told) in [
            (
                format!("[{odd},{bad}]"),
                vec![1],
                vec![r#"thing "a": its oddity"#, r#"thing "b": left out: no number"#],
            ),
            (
                format!("[{odd},{bad}]"),
                vec![1],
                vec![r#"thing "a": its oddity"#, r#"thing "b": left out: no number"#],
            ),
            (format!("[{bad}]"), vec![], vec![r#"thing "b": left out: no number"#]),
            (
                r#"[{"Number":1e999},{"Number":2,"Odd":"\ud800"},{"Number":3}]"#.to_owned(),
                vec![3],
                vec![
                    "a thing without ID: left out: number out of range at line 1 column 15",
                    "a thing without ID: left out: unexpected end of hex escape at line 1 column 26",
                ],
            ),
            ("[]".to_owned(), vec![], vec![]),
        ] {
            reread(&mut list, &body, 7, number).expect("a list");
            let read: Vec<u64> = list.objects().iter().map(|it| **it).collect();
            let oddities: Vec<_> = list.oddities().iter().map(ToString::to_string).collect();
            assert_eq!(
                (read, oddities),
                (objects, told.into_iter().map(str::to_owned).collect()),
                "{body}"
            );
        }
    }

    #[test]
    fn a_list_that_cannot_be_read_leaves_the_last_one() {
        let mut list = Listing::new("thing");
        reread(&mut list, r#"[{"Number":1}]"#, 100, number).expect("a list");
        for body in
            ["", r#"{"message":"no"}"#, r#"[{"ID":"s1"#, r#"[{"Number":2},]"#, "[{]", "\u{fffd}"]
        {
            assert!(reread(&mut list, body, 100, number).is_err(), "{body:?}");
            assert_eq!(list.objects(), [Arc::new(1)]);
        }
        assert!(reread(&mut list, "null", 100, number).is_ok());
        assert!(list.objects().is_empty());
    }
}

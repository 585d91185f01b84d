//! JSON that is edited as text: what is not edited keeps every byte.
//!
//! An object of Docker's may hold fields, and numbers, that this program does not know. Read into
//! types and written again they would be lost; so members are found by their place in the text.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The text of an object with the member at `path` replaced by `value` (JSON); members on the way
/// that are missing, or `null`, are made.
///
/// # Errors
///
/// If the text, or a member on the way, is no object.
pub(super) fn set(object: &str, path: &[&str], value: &str) -> Result<String, serde_json::Error> {
    let Some((key, rest)) = path.split_first() else { return Ok(value.to_owned()) };
    let members: Members<'_> = serde_json::from_str(object)?;
    let member = members.get(key);
    let inner = member.filter(|member| *member != "null").unwrap_or("{}");
    let new = set(inner, rest, value)?;
    let Some(member) = member else { return Ok(insert(object, &members, key, &new)) };
    // A member is a part of the text that it was read from.
    let start = member.as_ptr().addr() - object.as_ptr().addr();
    let (before, after) = (object.get(..start), object.get(start + member.len()..));
    Ok([before.unwrap_or_default(), &new, after.unwrap_or_default()].concat())
}

/// The text of the member at `path`; none if it is missing or `null`.
///
/// # Errors
///
/// If the text, or a member on the way, is no object.
pub(super) fn get<'a>(
    object: &'a str,
    path: &[&str],
) -> Result<Option<&'a str>, serde_json::Error> {
    let Some((key, rest)) = path.split_first() else { return Ok(Some(object)) };
    let members: Members<'a> = serde_json::from_str(object)?;
    match members.get(key).filter(|member| *member != "null") {
        Some(member) => get(member, rest),
        None => Ok(None),
    }
}

/// The text of a list of these elements.
pub(super) fn list<'a>(elements: impl IntoIterator<Item = &'a str>) -> String {
    format!("[{}]", elements.into_iter().collect::<Vec<_>>().join(","))
}

/// Puts a new member behind the others.
fn insert(object: &str, members: &Members<'_>, key: &str, value: &str) -> String {
    let body = object.trim_end();
    let body = body.strip_suffix('}').unwrap_or(body);
    let comma = if members.0.is_empty() { "" } else { "," };
    let key = serde_json::Value::from(key);
    format!("{body}{comma}{key}:{value}}}")
}

/// The members of an object, in their order, each value as it is written.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// The value of a member; of several of one name the last, as Docker reads it.
    fn get(&self, key: &str) -> Option<&'a str> {
        let member = self.0.iter().rev().find(|(name, _)| name == key);
        member.map(|(_, value)| value.get())
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_replaced_or_made_and_the_rest_keeps_every_byte() {
        for (object, path, expected) in [
            (r#"{"a":1e3,"b":[ 1 ],"c":2}"#, &["b"][..], r#"{"a":1e3,"b":NEW,"c":2}"#),
            (r#"{"a":1}"#, &["b"], r#"{"a":1,"b":NEW}"#),
            ("{}", &["b"], r#"{"b":NEW}"#),
            (" { } ", &["b"], r#" { "b":NEW}"#),
            (r#"{"b":null}"#, &["b"], r#"{"b":NEW}"#),
            (r#"{"b" : { "c":1 } }"#, &["b", "d"], r#"{"b" : { "c":1 ,"d":NEW} }"#),
            (r#"{"b":null,"a":0}"#, &["b", "d"], r#"{"b":{"d":NEW},"a":0}"#),
            (r#"{"a":0}"#, &["b", "d", "e"], r#"{"a":0,"b":{"d":{"e":NEW}}}"#),
            (r#"{"b":1,"b":2}"#, &["b"], r#"{"b":1,"b":NEW}"#),
            (r#"{"\u0062":1}"#, &["b"], r#"{"\u0062":NEW}"#),
            (r#"{"é":"\ud800","b":18446744073709551616}"#, &["b"], r#"{"é":"\ud800","b":NEW}"#),
        ] {
            let new = set(object, path, "NEW").expect("an object");
            assert_eq!(new, expected, "{object}");
        }
    }

    #[test]
    fn a_text_or_a_member_on_the_way_that_is_no_object_is_an_error() {
        for (object, path) in [("[]", &["a"][..]), ("", &["a"]), (r#"{"a":[]}"#, &["a", "b"])] {
            assert!(set(object, path, "1").is_err(), "{object}");
            assert!(get(object, path).is_err(), "{object}");
        }
    }

    #[test]
    fn a_member_that_is_missing_or_null_is_none() {
        let object = r#"{"a":{"b": [1, 2] ,"c":null}}"#;
        assert_eq!(get(object, &["a", "b"]).expect("an object"), Some("[1, 2]"));
        for path in [&["a", "c"][..], &["a", "c", "d"], &["a", "d"], &["b"]] {
            assert_eq!(get(object, path).expect("an object"), None, "{path:?}");
        }
    }
}

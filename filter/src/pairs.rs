//! Header maps as Proxy-Wasm hands them over: the number of pairs, then each pair's name length and
//! value length (all 32 bits, little-endian), then the names and values, each ended by a NUL.

/// The pairs of a serialised map, in order. It ends at the first byte that does not fit.
pub fn pairs(map: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let (count, rest) = map.split_first_chunk().unwrap_or((&[0; 4], &[]));
    let lengths = usize::try_from(u32::from_le_bytes(*count)).ok().and_then(|it| it.checked_mul(8));
    let (lengths, mut text) =
        lengths.and_then(|it| rest.split_at_checked(it)).unwrap_or((&[], &[]));
    let (lengths, _none) = lengths.as_chunks();
    lengths.iter().map_while(move |&[a, b, c, d, e, f, g, h]| {
        let name_length = usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?;
        let value_length = usize::try_from(u32::from_le_bytes([e, f, g, h])).ok()?;
        let (name, rest) = text.split_at_checked(name_length)?;
        let (value, rest) = rest.get(1..)?.split_at_checked(value_length)?;
        text = rest.get(1..)?;
        Some((name, value))
    })
}

/// The values of the header, which is named in lower case, in order.
pub fn values<'a>(map: &'a [u8], name: &str) -> impl Iterator<Item = &'a [u8]> {
    pairs(map).filter(move |(key, _)| *key == name.as_bytes()).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

    fn serialise(map: &Pairs) -> Vec<u8> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_le_bytes();
        let mut bytes = u32::try_from(map.len()).unwrap().to_le_bytes().to_vec();
        bytes.extend(map.iter().flat_map(|(name, value)| [length(name), length(value)]).flatten());
        for (name, value) in map {
            bytes.extend([name.as_slice(), b"\0", value.as_slice(), b"\0"].concat());
        }
        bytes
    }

    #[test]
    fn all_values_of_a_name_are_found_in_order() {
        let map = [("cookie", "a=1"), ("accept", "*"), ("cookie", "b=2")]
            .map(|(name, value)| (name.into(), value.into()));
        let map = serialise(&map.to_vec());
        assert_eq!(values(&map, "cookie").collect::<Vec<_>>(), [b"a=1", b"b=2"]);
    }

    proptest! {
        #[test]
        fn every_map_is_read_back(map: Pairs) {
            let bytes = serialise(&map);
            let read: Pairs = pairs(&bytes).map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
            prop_assert_eq!(read, map);
        }

        #[test]
        fn a_cut_map_is_a_beginning_of_it(map: Pairs, cut: prop::sample::Index) {
            let bytes = serialise(&map);
            let cut = &bytes[..cut.index(bytes.len())];
            for (read, (name, value)) in pairs(cut).zip(&map) {
                prop_assert_eq!(read, (name.as_slice(), value.as_slice()));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            prop_assert!(pairs(&bytes).count() <= bytes.len());
        }
    }
}

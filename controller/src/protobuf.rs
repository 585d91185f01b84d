//! Fields of messages that are put together by hand, of parts that are encoded already. The bytes are
//! those that prost writes.

use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

/// Writes what stands before so many bytes: a message inside another, a text, or bytes.
pub(crate) fn begin(tag: u32, length: usize, out: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
}

/// How much [`begin`] writes.
pub(crate) fn beginning(tag: u32, length: usize) -> usize {
    key_len(tag) + encoded_len_varint(length as u64)
}

/// Writes a text, or bytes. An empty one is the default, and not written.
pub(crate) fn put(tag: u32, content: &[u8], out: &mut Vec<u8>) {
    if !content.is_empty() {
        begin(tag, content.len(), out);
        out.extend_from_slice(content);
    }
}

/// How much [`put`] writes.
pub(crate) fn size(tag: u32, content: &[u8]) -> usize {
    if content.is_empty() { 0 } else { beginning(tag, content.len()) + content.len() }
}

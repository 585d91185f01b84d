//! Delta responses, read while they come: of each resource the name.

use anyhow::{Context as _, bail, ensure};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use prost::bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint, key_len};

/// A `DeltaDiscoveryResponse`, as far as it is looked at.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The names of its resources.
    pub(super) names: Names,
    /// The names of those that are gone.
    pub(super) removed: Names,
    /// Its type.
    pub(super) type_url: Bytes,
    /// Its name on the stream.
    pub(super) nonce: Bytes,
    /// How long it is.
    pub(super) bytes: usize,
}

/// Names, each behind its length as on the wire: many clients hold 10,000 of them.
#[derive(Debug, Default)]
pub(super) struct Names {
    count: usize,
    written: Vec<u8>,
}

impl Names {
    pub(super) fn one(name: &str) -> Self {
        let mut names = Self::default();
        names.push(name.as_bytes());
        names
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    fn push(&mut self, name: &[u8]) {
        self.count += 1;
        encode_varint(name.len() as u64, &mut self.written);
        self.written.put(name);
    }

    /// How much [`Self::write_as`] writes.
    pub(super) fn size_as(&self, field: u32) -> usize {
        self.count * key_len(field) + self.written.len()
    }

    /// Writes them as a repeated field of a message.
    pub(super) fn write_as(&self, field: u32, out: &mut BytesMut) {
        let mut rest = &*self.written;
        while let Ok(length) = decode_varint(&mut rest) {
            let (name, others) = rest.split_at(usize::try_from(length).unwrap_or_default());
            encode_key(field, WireType::LengthDelimited, out);
            encode_varint(length, out);
            out.put(name);
            rest = others;
        }
    }
}

/// The body of a gRPC response, of which messages are read.
#[derive(Debug)]
pub(super) struct Reading {
    body: Incoming,
    /// What has come and is not read.
    piece: Bytes,
}

/// A field of a message that has a length: all that there are here.
struct Field {
    number: u32,
    value: Bytes,
    /// How much of its message it is, in all.
    whole: usize,
}

impl Field {
    /// The field that bytes begin with, if all of it is there.
    fn first_of(bytes: &mut Bytes) -> Option<Self> {
        let mut rest = &**bytes;
        let (number, _) = decode_key(&mut rest).ok()?;
        let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
        let head = bytes.len() - rest.len();
        if rest.len() < length {
            return None;
        }
        bytes.advance(head);
        Some(Self { number, value: bytes.split_to(length), whole: head + length })
    }
}

/// The name of a resource.
fn name_of(mut resource: Bytes) -> anyhow::Result<Bytes> {
    while let Some(field) = Field::first_of(&mut resource) {
        if field.number == 3 {
            return Ok(field.value);
        }
    }
    bail!("a resource without a name")
}

impl Reading {
    pub(super) fn of(body: Incoming) -> Self {
        Self { body, piece: Bytes::new() }
    }

    /// The next message; none at the end.
    pub(super) async fn message(&mut self) -> anyhow::Result<Option<Told>> {
        if !self.has_more().await? {
            return Ok(None);
        }
        let head = self.take(5).await?;
        let (flag, length) = head.split_first().context("a head of 5 bytes")?;
        ensure!(*flag == 0, "a compressed message, which was not asked for");
        let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let mut told = Told { bytes: length, ..Told::default() };
        let mut left = length;
        while left > 0 {
            let Field { number, value, whole } = match Field::first_of(&mut self.piece) {
                Some(field) => field,
                None => self.field_in_pieces().await?,
            };
            left = left.checked_sub(whole).context("a field longer than its message")?;
            match number {
                2 => told.names.push(&name_of(value)?),
                4 => told.type_url = value,
                5 => told.nonce = value,
                6 => told.removed.push(&value),
                _ => {}
            }
        }
        Ok(Some(told))
    }

    /// A field that is not all there yet.
    async fn field_in_pieces(&mut self) -> anyhow::Result<Field> {
        let (key, of_key) = self.varint().await?;
        let (length, of_length) = self.varint().await?;
        let value = self.take(usize::try_from(length)?).await?;
        let number = u32::try_from(key >> 3)?;
        Ok(Field { number, whole: of_key + of_length + value.len(), value })
    }

    /// A number, and how many bytes it takes.
    async fn varint(&mut self) -> anyhow::Result<(u64, usize)> {
        let mut value = 0;
        for at in 0..10 {
            ensure!(self.has_more().await?, "the stream ends within a message");
            let byte = self.piece.get_u8();
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                return Ok((value, at + 1));
            }
        }
        bail!("a number without an end")
    }

    /// So many bytes.
    async fn take(&mut self, length: usize) -> anyhow::Result<Bytes> {
        let mut taken = BytesMut::with_capacity(length);
        while taken.len() < length {
            ensure!(self.has_more().await?, "the stream ends within a message");
            let now = self.piece.len().min(length - taken.len());
            taken.extend_from_slice(&self.piece.split_to(now));
        }
        Ok(taken.freeze())
    }

    /// Whether anything is to be read, now or when it has come.
    async fn has_more(&mut self) -> anyhow::Result<bool> {
        while self.piece.is_empty() {
            match self.body.frame().await.transpose()?.map(hyper::body::Frame::into_data) {
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(_trailers)) => {}
                None => return Ok(false),
            }
        }
        Ok(true)
    }
}

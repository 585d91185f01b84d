//! Delta responses, read while they come: of each resource the name.

use anyhow::{Context as _, ensure};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use prost::bytes::{Buf as _, Bytes, BytesMut};

/// A `DeltaDiscoveryResponse`, as far as it is looked at.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The names of its resources.
    pub(super) names: Vec<Bytes>,
    /// The names of those that are gone.
    pub(super) removed: Vec<Bytes>,
    /// Its type.
    pub(super) type_url: Bytes,
    /// Its name on the stream.
    pub(super) nonce: Bytes,
    /// How long it is.
    pub(super) bytes: usize,
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
    number: u64,
    length: usize,
    /// How much of its message it is, in all.
    whole: usize,
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
            let field = self.field().await?;
            left = left.checked_sub(field.whole).context("a field longer than its message")?;
            match field.number {
                2 => {
                    let name = self.name_of_resource(field.length).await?;
                    told.names.push(name);
                }
                4 => told.type_url = self.take(field.length).await?,
                5 => told.nonce = self.take(field.length).await?,
                6 => {
                    let name = self.take(field.length).await?;
                    told.removed.push(name);
                }
                _ => self.skip(field.length).await?,
            }
        }
        Ok(Some(told))
    }

    async fn name_of_resource(&mut self, length: usize) -> anyhow::Result<Bytes> {
        let (mut left, mut name) = (length, Bytes::new());
        while left > 0 {
            let field = self.field().await?;
            left = left.checked_sub(field.whole).context("a field longer than its resource")?;
            match field.number {
                3 => name = self.take(field.length).await?,
                _ => self.skip(field.length).await?,
            }
        }
        Ok(name)
    }

    async fn field(&mut self) -> anyhow::Result<Field> {
        let (key, of_key) = self.varint().await?;
        ensure!(key & 7 == 2, "a field without a length: {key}");
        let (length, of_length) = self.varint().await?;
        let length = usize::try_from(length)?;
        Ok(Field { number: key >> 3, length, whole: of_key + of_length + length })
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
        anyhow::bail!("a number without an end")
    }

    /// So many bytes, apart from what has come with them.
    async fn take(&mut self, length: usize) -> anyhow::Result<Bytes> {
        let mut taken = BytesMut::with_capacity(length);
        while taken.len() < length {
            ensure!(self.has_more().await?, "the stream ends within a message");
            let now = self.piece.len().min(length - taken.len());
            taken.extend_from_slice(&self.piece.split_to(now));
        }
        Ok(taken.freeze())
    }

    async fn skip(&mut self, mut length: usize) -> anyhow::Result<()> {
        while length > 0 {
            ensure!(self.has_more().await?, "the stream ends within a message");
            let now = self.piece.len().min(length);
            self.piece.advance(now);
            length -= now;
        }
        Ok(())
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

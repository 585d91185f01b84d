//! A response as gRPC carries it, in pieces: it is never in memory as a whole.

use std::mem::take;
use std::sync::Arc;
use std::vec;

use prost::Message;
use prost::bytes::Bytes;

use crate::envoy::{Body, Resource};
use crate::protobuf;

/// How long a piece becomes, in bytes, of resources that are copied. What a client that reads slowly
/// holds is one piece and what HTTP/2 has not sent yet.
pub(super) const PIECE: usize = 32 * 1024;

/// A resource from this length on is a piece of its own, shared by all who get it.
pub(super) const LARGE: usize = 16 * 1024;

/// The field of either variant's response.
const RESOURCES: u32 = 2;

/// What gRPC writes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// A message, piece by piece. Each is made when it is asked for.
#[derive(Debug)]
pub(super) struct Pieces {
    first: Vec<u8>,
    resources: vec::IntoIter<Arc<Resource>>,
    part: fn(&Body) -> &Bytes,
    /// What comes next, where that is a large resource.
    large: Option<Bytes>,
    last: Vec<u8>,
    /// How much there is to copy yet.
    left: usize,
}

/// A message that gRPC cannot carry: its length has 32 bits.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the response is {0} bytes long; gRPC carries less than 4 GiB")]
pub(super) struct TooLong(usize);

impl Pieces {
    /// A message that consists of the fields of `first`, of these parts of resources, and of the
    /// fields of `last`, in the order of their numbers.
    pub(super) fn new<M: Message>(
        first: &M,
        resources: Vec<Arc<Resource>>,
        part: fn(&Body) -> &Bytes,
        last: &M,
    ) -> Result<Self, TooLong> {
        let last = last.encode_to_vec();
        let lengths = || resources.iter().map(|resource| part(resource.body()).len());
        let with_keys = |length| protobuf::beginning(RESOURCES, length) + length;
        let length = first.encoded_len() + lengths().map(with_keys).sum::<usize>() + last.len();
        let shared: usize = lengths().filter(|length| *length >= LARGE).sum();
        let prefix = u32::try_from(length).map_err(|_| TooLong(length))?.to_be_bytes();
        let mut begun = Vec::with_capacity(PREFIX + first.encoded_len());
        begun.push(0);
        begun.extend(prefix);
        begun.extend(first.encode_to_vec());
        let (resources, left) = (resources.into_iter(), PREFIX + length - shared);
        Ok(Self { first: begun, resources, part, large: None, last, left })
    }
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if let Some(large) = self.large.take() {
            return Some(large);
        }
        let mut piece = Vec::with_capacity(self.left.min(PIECE));
        piece.append(&mut self.first);
        while let Some(resource) = self.resources.as_slice().first() {
            let part = (self.part)(resource.body());
            let copied = if part.len() < LARGE { &**part } else { &[] };
            let room = protobuf::beginning(RESOURCES, part.len()) + copied.len();
            if piece.len() + room > PIECE {
                break;
            }
            protobuf::begin(RESOURCES, part.len(), &mut piece);
            piece.extend_from_slice(copied);
            self.large = (part.len() >= LARGE).then(|| part.clone());
            self.resources.next();
            if self.large.is_some() {
                break;
            }
        }
        let is_last = self.large.is_none() && self.resources.as_slice().is_empty();
        if is_last && piece.is_empty() {
            piece = take(&mut self.last);
        } else if is_last && piece.len() + self.last.len() <= PIECE {
            piece.append(&mut self.last);
        }
        self.left = self.left.saturating_sub(piece.len());
        (!piece.is_empty()).then(|| piece.into())
    }
}

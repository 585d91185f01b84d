//! A resource on the wire, encoded once for all who get it.

use std::fmt;
use std::sync::OnceLock;

use prost::bytes::Bytes;

use crate::protobuf::{begin, beginning, put, size};

/// A resource as each variant of the protocol sends it. All share one copy of the bytes:
///
/// ```text
/// Resource ─ version
///          ├ Any ─ type URL
///          │     └ message
///          └ name
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Body {
    resource: Bytes,
    any: Bytes,
    /// Where the message begins in `any`: it is the last of it.
    message: usize,
}

impl Body {
    /// Puts an encoded message into its envelopes.
    pub(super) fn new(type_url: &str, name: &str, version: &str, message: &[u8]) -> Self {
        let [type_url, name, version] = [type_url, name, version].map(str::as_bytes);
        let any = size(1, type_url) + size(2, message);
        let length = size(1, version) + beginning(2, any) + any + size(3, name);
        let mut bytes = Vec::with_capacity(length);
        put(1, version, &mut bytes);
        begin(2, any, &mut bytes);
        let begins = bytes.len();
        put(1, type_url, &mut bytes);
        put(2, message, &mut bytes);
        let ends = bytes.len();
        put(3, name, &mut bytes);
        let resource = Bytes::from(bytes);
        let any = resource.slice(begins..ends);
        Self { message: any.len() - message.len(), resource, any }
    }

    /// The encoded `envoy.service.discovery.v3.Resource`, of which a delta consists.
    pub fn resource(&self) -> &Bytes {
        &self.resource
    }

    /// The encoded `google.protobuf.Any`, of which a state of the world consists.
    pub fn any(&self) -> &Bytes {
        &self.any
    }

    /// The encoded message itself.
    pub fn message(&self) -> &[u8] {
        self.any.get(self.message..).unwrap_or_default()
    }
}

/// A body that is made when it is first asked for.
pub(super) struct Later {
    message: Box<dyn Fn() -> Vec<u8> + Send + Sync>,
    body: OnceLock<Body>,
}

impl Later {
    /// Of the message that comes of this.
    pub(super) fn new(message: impl Fn() -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self { message: Box::new(message), body: OnceLock::new() }
    }

    /// The body, in the envelopes of this type, name and version.
    pub(super) fn body(&self, type_url: &str, name: &str, version: &str) -> &Body {
        self.body.get_or_init(|| Body::new(type_url, name, version, &(self.message)()))
    }
}

impl fmt::Debug for Later {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Later({:?})", self.body.get())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Body({} bytes)", self.resource.len())
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::service::discovery::v3::Resource;
    use envoy_types::pb::google::protobuf::Any;
    use proptest::prelude::{any, proptest};
    use prost::Message;

    use super::*;

    proptest! {
        #[test]
        fn its_bytes_are_those_of_the_messages_that_it_stands_for(
            [type_url, name, version] in any::<[String; 3]>(),
            value in any::<Vec<u8>>(),
            long in 0..300_usize,
        ) {
            for value in [value, vec![1; long]] {
                let body = Body::new(&type_url, &name, &version, &value);
                assert_eq!(body.message(), value);
                let any = Any { type_url: type_url.clone(), value };
                assert_eq!(*body.any(), any.encode_to_vec());
                let (name, version, resource) = (name.clone(), version.clone(), Some(any));
                let whole = Resource { name, version, resource, ..Resource::default() };
                assert_eq!(*body.resource(), whole.encode_to_vec());
            }
        }
    }
}

//! A route configuration with its hosts, put together when somebody asks for it: only state of the
//! world does, which cannot be told of one host.

use std::sync::{Arc, OnceLock};

use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use prost::Message as _;

use super::body::Body;
use super::digest::Digest;
use super::resource::{Kind, Resource, members};
use crate::persistent::Map;
use crate::protobuf;

/// The field of a route configuration.
const VIRTUAL_HOSTS: u32 = 2;

/// A route configuration, and the hosts of all of them.
#[derive(Debug)]
pub(super) struct Assembly {
    /// What stands before the hosts, and what behind them: so the bytes are those of the whole message.
    first: Vec<u8>,
    rest: Vec<u8>,
    hosts: Map<Arc<str>, Resource>,
    body: OnceLock<Body>,
}

impl Assembly {
    /// What comes of a configuration without hosts, and of those hosts that belong to it.
    pub(super) fn new(configuration: &RouteConfiguration, hosts: &Map<Arc<str>, Resource>) -> Self {
        let first = RouteConfiguration {
            name: configuration.name.clone(),
            ..RouteConfiguration::default()
        };
        let rest = RouteConfiguration { name: String::new(), ..configuration.clone() };
        Self {
            first: first.encode_to_vec(),
            rest: rest.encode_to_vec(),
            hosts: hosts.clone(),
            body: OnceLock::new(),
        }
    }

    /// A hash of all but the hosts.
    pub(super) fn digest(&self) -> Digest {
        Digest::of(&[&self.first, &self.rest])
    }

    /// It on the wire, under the configuration's name.
    pub(super) fn body(&self, name: &str, version: &str) -> &Body {
        self.body.get_or_init(|| {
            let mut message = self.first.clone();
            for host in members(&self.hosts, name) {
                protobuf::put(VIRTUAL_HOSTS, host.body().message(), &mut message);
            }
            message.extend_from_slice(&self.rest);
            Body::new(&Kind::WholeRoutes.type_url(), name, version, &message)
        })
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::route::v3::{Route, VirtualHost};
    use envoy_types::pb::google::protobuf::BoolValue;

    use super::*;

    #[test]
    fn it_is_the_whole_message_with_the_hosts_of_its_name_and_no_others() {
        let host = |name: &str| VirtualHost {
            name: name.to_owned(),
            domains: vec!["a.example".to_owned()],
            routes: vec![Route { name: "only".to_owned(), ..Route::default() }],
            ..VirtualHost::default()
        };
        let names = ["http/*", "http/a", "http2/a", "https/c/a", "https/c+k/a", "https/d/a"];
        let all = names.map(|name| {
            let host = Resource::new(Kind::VirtualHost, name, &host(name));
            (Arc::clone(&host.name), host)
        });
        for (name, own) in [("http", &names[..2]), ("https/c", &names[3..4]), ("other", &[])] {
            let configuration = RouteConfiguration {
                name: name.to_owned(),
                validate_clusters: Some(BoolValue { value: true }),
                ..RouteConfiguration::default()
            };
            let assembly = Assembly::new(&configuration, &all.clone().into());
            let virtual_hosts = own.iter().map(|name| host(name)).collect();
            let whole = RouteConfiguration { virtual_hosts, ..configuration };
            assert_eq!(assembly.body(name, "1").message(), whole.encode_to_vec(), "{name}");
        }
    }
}

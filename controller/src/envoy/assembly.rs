//! A route configuration with its hosts, put together when somebody asks for it: only state of the
//! world does, which cannot be told of one host.

use std::sync::Arc;

use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use prost::Message as _;

use super::digest::Digest;
use super::resource::{Kind, Resource, members};
use crate::persistent::Map;
use crate::protobuf;

/// The field of a route configuration.
const VIRTUAL_HOSTS: u32 = 2;

/// What comes of a configuration without hosts, and of those hosts that belong to it; what these add up
/// to is `digest`. The resource names what its hosts name, and they are there too.
pub(super) fn whole(
    configuration: &RouteConfiguration,
    hosts: &Map<Arc<str>, Resource>,
    digest: Digest,
) -> Resource {
    let name = configuration.name.clone();
    // The hosts go between these, so that the bytes are those of the whole message.
    let first = RouteConfiguration { name: name.clone(), ..RouteConfiguration::default() };
    let rest = RouteConfiguration { name: String::new(), ..configuration.clone() };
    let [first, rest] = [first, rest].map(|it| it.encode_to_vec());
    let version = digest.with(Some(Digest::of(&[&first, &rest])), None).to_string();
    let (hosts, routes) = (hosts.clone(), name.clone());
    Resource::later(Kind::WholeRoutes, &name, &version, move || {
        let mut message = first.clone();
        for host in members(&hosts, &routes) {
            protobuf::put(VIRTUAL_HOSTS, host.body().message(), &mut message);
        }
        message.extend_from_slice(&rest);
        message
    })
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
            let resource = whole(&configuration, &all.clone().into(), Digest::default());
            let virtual_hosts = own.iter().map(|name| host(name)).collect();
            let whole = RouteConfiguration { virtual_hosts, ..configuration };
            assert_eq!(resource.body().message(), whole.encode_to_vec(), "{name}");
        }
    }
}

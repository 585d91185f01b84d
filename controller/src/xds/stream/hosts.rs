//! Hosts follow the routes that they belong to.
//!
//! Envoy (1.40) asks for all hosts at once, without their names, and takes those of the routes that it
//! has. What comes before its routes is lost, though Envoy acknowledges it and never asks again. So a
//! host is told when its routes were acknowledged, and told again where these were.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::Stream;
use super::subscription::Subscription;
use crate::envoy::{Kind, collection, members};
use crate::xds::snapshot::Snapshot;

impl Stream {
    /// Whether hosts wait for the answer to their routes.
    pub(super) fn routes_come_first(&self) -> bool {
        self.subscriptions.get(&Kind::Routes).is_some_and(Subscription::is_waiting)
    }

    /// Whether a host of this name may be told that is there, or is gone. Routes that are gone keep their
    /// hosts as long as the client asks for them: connections that are still open are answered by these.
    pub(super) fn turn_of_hosts<'a>(
        &'a self,
        newest: &'a Snapshot,
    ) -> impl Fn(&str, bool) -> bool + 'a {
        let routes = self.subscriptions.get(&Kind::Routes);
        // They are few, and hosts are many.
        let held = LazyCell::new(move || {
            let all = newest.of(Kind::Routes).keys().map(|name| &**name);
            all.filter(|name| routes.is_some_and(|routes| routes.holds(name))).collect()
        });
        move |host, is_there| {
            let held: &BTreeSet<&str> = &held;
            // Each that is there belongs to routes that are there: who has them all has its own.
            if is_there && held.len() == newest.of(Kind::Routes).len() {
                return true;
            }
            match (routes, collection(Kind::VirtualHost, host)) {
                (Some(_), Some(own)) if is_there => held.contains(own),
                (Some(routes), Some(own)) => {
                    newest.of(Kind::Routes).contains_key(own) || !routes.names(own)
                }
                _ => true,
            }
        }
    }

    /// Makes the hosts of these routes be sent, even if the client has them.
    pub(super) fn send_hosts_of(&mut self, routes: &[Arc<str>], newest: &Snapshot) {
        let hosts = self.subscriptions.get_mut(&Kind::VirtualHost);
        let Some(hosts) = hosts.filter(|hosts| hosts.may_hold_any()) else { return };
        for routes in routes {
            for host in members(newest.of(Kind::VirtualHost), routes) {
                hosts.doubt(&host.name);
            }
        }
    }
}

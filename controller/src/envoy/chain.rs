//! Hosts → the filter chains of the HTTPS listener: which certificate answers for which names.

use std::collections::BTreeMap;

use crate::labels::{Certificate, Host, HostPattern};
use crate::routing::{PoolName, Routes, SiteTls};

/// What stands between a certificate's two secrets; no secret's name has one.
pub(super) const SEPARATOR: char = '+';

/// The TLS connections that are treated alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain<'a> {
    /// Its name, unique within the listener.
    pub(super) name: String,
    /// The names (SNI) that lead to it. No other chain has one of them.
    pub(super) names: Names<'a>,
    /// Where its connections end.
    pub(super) end: End<'a>,
}

/// The names that lead to a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Names<'a> {
    /// These.
    Of(Vec<&'a HostPattern>),
    /// Those that lead to no other chain, and none at all.
    AllOthers,
}

/// Where TLS connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End<'a> {
    /// Here, with this certificate.
    Here(&'a Certificate),
    /// In a task of this pool.
    InTask(&'a PoolName),
}

/// The chains of a node cluster. Hosts with the same certificate share one; so do those that are
/// passed through to the same pool.
pub(super) fn of(routes: &Routes) -> Vec<Chain<'_>> {
    let mut by_end: BTreeMap<End<'_>, Vec<&HostPattern>> = BTreeMap::new();
    let mut fallback = None;
    for (host, site) in &routes.sites {
        let end = match &site.tls {
            SiteTls::None => continue,
            SiteTls::Terminated(certificate) => End::Here(certificate),
            SiteTls::Passthrough(pool) => End::InTask(pool),
        };
        match host {
            Host::Named(host) => by_end.entry(end).or_default().push(host),
            Host::AnyOther => fallback = Some(end),
        }
    }
    let named = by_end.into_iter().map(|(end, names)| {
        let name = match end {
            End::Here(certificate) => format!("https/{}", certificate_name(certificate)),
            End::InTask(pool) => format!("passthrough/{pool}"),
        };
        Chain { name, names: Names::Of(names), end }
    });
    let fallback = fallback.map(|end| {
        let kind = match end {
            End::Here(_) => "https",
            End::InTask(_) => "passthrough",
        };
        Chain { name: format!("{kind}/*"), names: Names::AllOthers, end }
    });
    named.chain(fallback).collect()
}

/// The name of a certificate: that of its secret, or of both.
pub(super) fn certificate_name(certificate: &Certificate) -> String {
    let (chain, key) = (&certificate.chain.name, &certificate.key.name);
    if chain == key { chain.to_string() } else { format!("{chain}{SEPARATOR}{key}") }
}

//! Claims and pools → a host: which pool answers which path of it, and what else it does.

use std::collections::BTreeMap;

use super::{Route, SiteRoutes, SiteTls};
use crate::labels::{Host, Intent, PathPrefix, Scheme, Tls};

/// How a host is answered, with these paths. Its holder decides about the rest.
pub(super) fn build(
    host: &Host,
    paths: BTreeMap<PathPrefix, Route>,
    holder: &Intent,
) -> SiteRoutes {
    let mut site = SiteRoutes { paths, ..SiteRoutes::default() };
    apply(holder, host, &mut site);
    site
}

/// Does with a host what its holder asks for.
fn apply(owner: &Intent, host: &Host, site: &mut SiteRoutes) {
    site.tls = match &owner.site.tls {
        Tls::None => SiteTls::None,
        Tls::Terminated(certificate) => SiteTls::Terminated(certificate.clone()),
        Tls::Passthrough => match site.paths.get(&PathPrefix::root()) {
            Some(route) => SiteTls::Passthrough(route.pool.clone()),
            None => SiteTls::None,
        },
    };
    site.plain = owner.site.plain;
    site.http_redirect = owner.site.redirects.on(Scheme::Http, host).cloned();
    site.https_redirect = owner.site.redirects.on(Scheme::Https, host).cloned();
}

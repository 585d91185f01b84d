//! What Envoys refuse, told to the services at fault.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::quarantine::{LeftOut, Reason};
use crate::envoy::{self, Kind};
use crate::labels::{Code, Host, Problem, Severity};
use crate::routing::{PoolName, Routing};
use crate::swarm::ServiceId;
use crate::xds::{Opinion, Opinions};

const FIX_SECRET: &str = "mount a whole certificate with its key into the proxy's service, and name \
                          it in the label";

const FIX: &str = "correct what the message names; labels that lead here are a defect of Waggle";

/// What a service is told.
type Told = (ServiceId, (Code, Severity, String, &'static str));

/// Adds the problems of services that are left out, and of those whose own resources are refused.
pub(super) fn tell(routing: &mut Arc<Routing>, left_out: LeftOut, opinions: &Opinions) {
    let shared = left_out.into_iter().map(|(id, reason)| of_shared(id, reason));
    let own = opinions.iter().flat_map(|opinion| of_own(opinion, routing));
    let told: Vec<Told> = shared.chain(own).collect();
    for (id, (code, severity, message, fix)) in told {
        let Some(outcome) = Arc::make_mut(routing).services.get_mut(&id) else { continue };
        let service = (&id, &outcome.name);
        outcome.problems.push(Problem::new(code, severity, service, message, fix));
        outcome.problems.sort();
        outcome.problems.dedup();
    }
}

fn of_shared(id: ServiceId, reason: Reason) -> Told {
    let refused = "a proxy refuses all routes with this service among them";
    let (severity, message) = match reason {
        Reason::Culprit(words) => {
            (Severity::Error, format!("{refused}: {words}; it is left out until it changes"))
        }
        Reason::Suspect => {
            let why = "it is left out for a moment, to see whether it is at fault";
            (Severity::Information, format!("{refused}; {why}"))
        }
    };
    (id, (Code::RefusedByProxy, severity, message, FIX))
}

/// What those services are told that a refused resource belongs to; nobody is told of a shared one.
fn of_own(opinion: &Opinion, routing: &Routing) -> Vec<Told> {
    let routes = routing.clusters.get(&opinion.node_cluster);
    let (Some(routes), Some(refused)) = (routes, &opinion.refused) else { return Vec::new() };
    let words = &refused.message;
    let (services, told): (Vec<&ServiceId>, _) = match opinion.kind {
        Kind::Cluster | Kind::Endpoints => {
            let pool = routes.pools.get(&PoolName::new(opinion.name.as_str()));
            let message = format!(
                "a proxy refuses the {} of this service: {words}; it keeps what it had, and answers \
                 503 if it had nothing",
                opinion.kind.as_str()
            );
            let services = pool.into_iter().flat_map(|pool| &pool.services).collect();
            (services, (Code::RefusedByProxy, Severity::Error, message, FIX))
        }
        Kind::Secret => {
            let names: BTreeSet<_> = envoy::secrets_of(&opinion.name).collect();
            let asked = routes.secrets.iter().filter(|(name, _)| names.contains(name.as_str()));
            let shown: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            let message = format!(
                "a proxy cannot use secret {}: {words}; TLS connections that need it fail",
                shown.join(" and ")
            );
            let services = asked.flat_map(|(_, services)| services).collect();
            (services, (Code::CertificateRefused, Severity::Error, message, FIX_SECRET))
        }
        Kind::VirtualHost => {
            let is_refused = |host: &&Host| {
                opinion.name.rsplit_once('/').is_some_and(|(_, it)| it == host.to_string())
            };
            let Some(host) = routes.sites.keys().find(is_refused) else { return Vec::new() };
            let message = format!(
                "a proxy refuses the routes of host `{host}`: {words}; it keeps those that it had, and \
                 answers 503 if it had none"
            );
            let paths = routes.sites.get(host).into_iter().flat_map(|site| site.paths.values());
            let pools = paths.filter_map(|path| routes.pools.get(&path.pool));
            let services = pools.flat_map(|pool| &pool.services).collect();
            (services, (Code::RefusedByProxy, Severity::Error, message, FIX))
        }
        Kind::Extension | Kind::Listener | Kind::Routes | Kind::WholeRoutes => return Vec::new(),
    };
    services.into_iter().map(|id| (id.clone(), told.clone())).collect()
}

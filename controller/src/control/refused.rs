//! What Envoys refuse, told to the services at fault.

use std::sync::Arc;

use super::quarantine::{LeftOut, Reason};
use crate::envoy::Kind;
use crate::labels::{Code, Problem, Severity};
use crate::routing::{PoolName, Routing};
use crate::swarm::ServiceId;
use crate::xds::{Opinion, Opinions};

const FIX: &str = "correct what the message names; labels that lead here are a defect of Waggle";

/// Adds the problems of services that are left out, and of those whose own resources are refused.
pub(super) fn tell(routing: &mut Arc<Routing>, left_out: LeftOut, opinions: &Opinions) {
    let shared = left_out.into_iter().map(|(id, reason)| (id, of_shared(reason)));
    let own = opinions.iter().flat_map(|opinion| of_pool(opinion, routing));
    let told: Vec<_> = shared.chain(own).collect();
    for (id, (severity, message)) in told {
        let Some(outcome) = Arc::make_mut(routing).services.get_mut(&id) else { continue };
        let service = (&id, &outcome.name);
        let problem = Problem::new(Code::RefusedByProxy, severity, service, message, FIX);
        outcome.problems.push(problem);
        outcome.problems.sort();
        outcome.problems.dedup();
    }
}

fn of_shared(reason: Reason) -> (Severity, String) {
    let refused = "a proxy refuses all routes with this service among them";
    match reason {
        Reason::Culprit(words) => {
            (Severity::Error, format!("{refused}: {words}; it is left out until it changes"))
        }
        Reason::Suspect => {
            let why = "it is left out for a moment, to see whether it is at fault";
            (Severity::Information, format!("{refused}; {why}"))
        }
    }
}

/// What the services of a pool are told; nobody is told of other resources.
fn of_pool(opinion: &Opinion, routing: &Routing) -> Vec<(ServiceId, (Severity, String))> {
    let is_of_pool = matches!(opinion.kind, Kind::Cluster | Kind::Endpoints);
    let pool = routing.pools.get(&PoolName::new(opinion.name.as_str()));
    let (true, Some(pool), Some(refused)) = (is_of_pool, pool, &opinion.refused) else {
        return Vec::new();
    };
    let message = format!(
        "a proxy refuses the {} of this service: {}; it keeps what it had, and answers 503 if it had \
         nothing",
        opinion.kind.as_str(),
        refused.message
    );
    pool.services.iter().map(|id| (id.clone(), (Severity::Error, message.clone()))).collect()
}

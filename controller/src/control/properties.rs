//! What holds for every history, from pictures to snapshots.

use proptest::prelude::*;

use super::tests::routing_settings;
use super::*;
use crate::envoy::Kind;
use crate::routing::properties::{HOSTS, some_edit, some_swarm};
use crate::xds::Snapshot;

proptest! {
    #[test]
    fn what_envoys_are_told_after_a_change_is_as_if_all_had_been_made_anew(
        start in some_swarm(HOSTS),
        history in proptest::collection::vec((some_edit(), 0..3000u64), 1..12),
    ) {
        let settings = routing::Settings { linger: Duration::from_secs(1), ..routing_settings() };
        let envoy = crate::envoy::testing::settings();
        let others = Built::without_routes(&envoy);
        let (mut swarm, mut now) = (start, SystemTime::UNIX_EPOCH);
        let (mut turn, mut built) = (Turn::default(), others.clone());
        let mut snapshot = Snapshot::default();
        for (edit, wait) in history {
            swarm = edit.apply(swarm);
            now += Duration::from_millis(wait);
            turn = routing::route(&swarm.picture, &settings, &turn, now);
            let routes = turn.routing.clusters.get(&NodeCluster::default());
            let routes = routes.cloned().unwrap_or_default();
            built = built.next(&routes, &envoy);
            let anew = others.next(&routes, &envoy);
            prop_assert_eq!(built.resources(), anew.resources());
            snapshot = snapshot.next(built.resources().clone()).unwrap();
            let whole = anew.resources().iter().cloned().collect();
            let whole = Snapshot::new(whole).unwrap();
            for kind in Kind::ALL {
                prop_assert_eq!(snapshot.version(kind), whole.version(kind));
            }
        }
    }
}

//! A snapshot for each node cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::snapshot::{Inconsistent, Snapshot};
use crate::envoy::Resources;
use crate::labels::NodeCluster;

/// What the Envoys of each node cluster are to be told. Clusters share nothing but resources: a
/// change in one leaves the snapshots of the others in place.
#[derive(Debug, Default, PartialEq)]
pub struct Snapshots {
    clusters: BTreeMap<NodeCluster, Arc<Snapshot>>,
    others: Arc<Snapshot>,
}

impl Snapshots {
    /// The snapshots of these resources. `others` are for Envoys of a node cluster that is not
    /// named. What equals its snapshot in `self` is that one.
    pub fn next(
        &self,
        clusters: impl IntoIterator<Item = (NodeCluster, Resources)>,
        others: Resources,
    ) -> Result<Self, Inconsistent> {
        let others = following(&self.others, others)?;
        let clusters = clusters.into_iter().map(|(cluster, resources)| {
            let last = self.clusters.get(&cluster).unwrap_or(&others);
            let next = following(last, resources)?;
            Ok((cluster, next))
        });
        Ok(Self { clusters: clusters.collect::<Result<_, _>>()?, others })
    }

    /// The snapshot for an Envoy of this node cluster, as it says.
    pub fn for_cluster(&self, named: &str) -> &Arc<Snapshot> {
        let cluster = NodeCluster::parse(named).ok();
        cluster.and_then(|cluster| self.clusters.get(&cluster)).unwrap_or(&self.others)
    }
}

/// The same for all Envoys.
impl From<Snapshot> for Snapshots {
    fn from(snapshot: Snapshot) -> Self {
        Self { clusters: BTreeMap::new(), others: Arc::new(snapshot) }
    }
}

fn following(last: &Arc<Snapshot>, resources: Resources) -> Result<Arc<Snapshot>, Inconsistent> {
    let next = last.next(resources)?;
    Ok(if next == **last { last.clone() } else { Arc::new(next) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xds::fixtures::resources;

    const LISTENERS: &str = "r/1= http/1>r";

    fn snapshots(last: &Snapshots, lines: &[(&str, &str)]) -> Snapshots {
        let all = |line: &str| resources(line).into_iter().collect();
        let cluster = |(name, line): &(&str, &str)| (NodeCluster::parse(name).unwrap(), all(line));
        last.next(lines.iter().map(cluster), all(LISTENERS)).unwrap()
    }

    #[test]
    fn an_envoy_gets_the_snapshot_of_its_node_cluster() {
        let all = snapshots(
            &Snapshots::default(),
            &[("", "a/1/1 r/2=a http/1>r"), ("edge", "b/1/1 r/3=b http/1>r")],
        );
        for (named, cluster) in [("", "a"), ("default", "a"), ("edge", "b")] {
            let (snapshot, mut alone) = (all.for_cluster(named), resources(LISTENERS));
            alone.extend(resources(&format!("{cluster}/1/1")));
            let expected = Snapshot::new(alone).unwrap();
            let kind = crate::envoy::Kind::Cluster;
            assert_eq!(snapshot.version(kind), expected.version(kind), "{named:?}");
        }
        let others = Snapshot::new(resources(LISTENERS)).unwrap();
        for named in ["Edge", "unknown", "no name!", &"x".repeat(65)] {
            assert_eq!(**all.for_cluster(named), others, "{named:?}");
        }
    }

    #[test]
    fn a_change_in_one_cluster_leaves_the_snapshots_of_the_others_in_place() {
        let (a, b) = ("a/1/1 r/1=a http/1>r", "b/1/1 r/1=b http/1>r");
        let last = snapshots(&Snapshots::default(), &[("", a), ("edge", b)]);
        let next = snapshots(&last, &[("", "a/2/1 r/1=a http/1>r"), ("edge", b)]);
        let is_kept = |named| Arc::ptr_eq(last.for_cluster(named), next.for_cluster(named));
        assert_eq!(["", "edge", "unknown"].map(is_kept), [false, true, true]);
    }

    #[test]
    fn a_cluster_without_services_any_more_is_one_of_the_others() {
        let last = snapshots(&Snapshots::default(), &[("edge", "a/1/1 r/1=a http/1>r")]);
        let next = snapshots(&last, &[]);
        assert!(Arc::ptr_eq(next.for_cluster("edge"), next.for_cluster("unknown")));
    }
}

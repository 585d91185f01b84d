//! `service_cluster`: whose proxies answer.

use super::fix::Edit;
use super::reader::{Fault, Instead, Reader, Said};
use super::{Code, Label, NodeCluster};

pub(super) const LABEL: Label = Label {
    name: "service_cluster",
    kind: "name",
    default: "the default cluster",
    about: "Only proxies whose Envoy node cluster (`--service-cluster`) has this name answer for the \
            service. The default cluster is `default`, as in the bootstrap.",
};

/// The node cluster; none where the label is broken and always was: in the default cluster the
/// service could take part in what another one answers.
pub(super) fn read(reader: &mut Reader<'_>, last: Option<&NodeCluster>) -> Option<NodeCluster> {
    let fix = format!(
        "{} (CLUSTER: the name of Envoy's node cluster)",
        reader.update(&[Edit::Set(LABEL.name, "CLUSTER")])
    );
    let said = reader.parse(
        &LABEL,
        || Instead::last_valid(last),
        |value| {
            NodeCluster::parse(value).map_err(|fault| Fault {
                code: Code::BadClusterName,
                message: fault.to_string(),
                fix,
            })
        },
    );
    match said {
        Said::Value(cluster) => Some(cluster),
        Said::Nonsense => last.cloned(),
        Said::Nothing => Some(NodeCluster::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::testing::{a_service, codes, intent, read, read_after};

    #[test]
    fn a_service_belongs_to_one_cluster() {
        let web = a_service("web").serving("a.example");
        for (value, name) in [("east", "east"), (" us-1 ", "us-1"), ("", "default")] {
            let web = web.clone().label("service_cluster", value);
            assert_eq!(intent(&web).cluster.as_str(), name, "{value:?}");
        }
        assert!(intent(&web).cluster.is_default());
    }

    #[test]
    fn a_broken_name_never_means_the_default_cluster() {
        let good = a_service("web").serving("a.example").label("service_cluster", "east");
        let broken = good.clone().label("service_cluster", "e a s t");
        assert_eq!(codes(&broken), [Code::BadClusterName]);
        assert_eq!(read(&broken).unwrap().intent, None);
        let after = read_after(&good, &broken);
        assert_eq!(after.intent.unwrap().cluster.as_str(), "east");
    }
}

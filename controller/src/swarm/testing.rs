//! What tests begin with.

use std::time::SystemTime;

use super::{Resolution, Scale, Service, ServiceId, ServiceName, Update};

/// A service of one replica in its first version, on no network and without labels.
pub(crate) fn a_service(id: &str, name: &str) -> Service {
    Service {
        id: ServiceId::new(id),
        name: ServiceName::new(name),
        created_at: SystemTime::UNIX_EPOCH,
        version: 1,
        labels: [].into(),
        misplaced_labels: [].into(),
        networks: Vec::new(),
        resolution: Resolution::VirtualIp,
        vips: [].into(),
        secrets: Vec::new(),
        scale: Scale::Replicated(1),
        update: Update::Idle,
    }
}

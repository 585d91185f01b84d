//! A stack, as Compose files describe it and as far as labels care.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::finding::{Finding, Place};
use crate::swarm::{Resolution, Scale};

/// A stack, as one file describes it.
#[derive(Debug)]
pub(super) struct Stack {
    /// Its name: the prefix of its services' names.
    pub(super) name: String,
    /// Its services by their names within the stack.
    pub(super) services: BTreeMap<Rc<str>, Service>,
    /// Its networks by their keys.
    pub(super) networks: BTreeMap<Rc<str>, Resource>,
    /// Its secrets by their keys.
    pub(super) secrets: BTreeMap<Rc<str>, Resource>,
    /// What is wrong with the file itself.
    pub(super) findings: Vec<Finding>,
}

/// A service.
#[derive(Debug)]
pub(super) struct Service {
    /// Where its key is.
    pub(super) place: Place,
    /// Its labels (`deploy.labels`).
    pub(super) labels: BTreeMap<String, Label>,
    /// The labels of its containers (`labels`).
    pub(super) misplaced: BTreeMap<String, Label>,
    /// The keys of its networks, and where each is named; none is the default network.
    pub(super) networks: BTreeMap<String, Place>,
    /// `deploy.mode`.
    pub(super) mode: Option<String>,
    /// `deploy.replicas`.
    pub(super) replicas: Option<String>,
    /// `deploy.endpoint_mode`.
    pub(super) endpoint_mode: Option<String>,
}

impl Service {
    /// Applies what a later file of the stack says.
    pub(super) fn change(&mut self, later: Self) {
        self.labels.extend(later.labels);
        self.misplaced.extend(later.misplaced);
        self.networks.extend(later.networks);
        self.mode = later.mode.or(self.mode.take());
        self.replicas = later.replicas.or(self.replicas.take());
        self.endpoint_mode = later.endpoint_mode.or(self.endpoint_mode.take());
    }

    /// How many tasks it asks for.
    pub(super) fn scale(&self) -> Scale {
        let replicas = self.replicas.as_deref().and_then(|written| written.parse().ok());
        match self.mode.as_deref() {
            Some("global") => Scale::Global,
            Some("replicated-job" | "global-job") => Scale::Job,
            _ => Scale::Replicated(replicas.unwrap_or(1)),
        }
    }

    /// Whether Swarm gives it virtual IPs.
    pub(super) fn resolution(&self) -> Resolution {
        match self.endpoint_mode.as_deref() {
            Some("dnsrr") => Resolution::RoundRobin,
            _ => Resolution::VirtualIp,
        }
    }
}

/// A label's value, and where the label is.
#[derive(Debug, Clone)]
pub(super) struct Label {
    /// Its value, variables replaced.
    pub(super) value: String,
    /// Its key, or its item of the list.
    pub(super) place: Place,
}

/// A network or a secret that a file names.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    /// Its name in the Swarm.
    pub(super) name: String,
    /// Whether the stack makes it, or expects it.
    pub(super) origin: Origin,
    /// A network's driver; none is the default.
    pub(super) driver: Option<String>,
}

/// Who makes a network or a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The stack does.
    Stack,
    /// It must be there (`external`).
    External,
}

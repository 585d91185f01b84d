//! xDS: snapshots of resources, served to every Envoy that connects.

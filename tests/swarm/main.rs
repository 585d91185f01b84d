//! Tests on a real one-node Swarm. They need root, and say so without it.

mod rig;

//! Tests on a real one-node Swarm: the rig, and the product as its users run it. They need root, and
//! say so without it.

mod headers;
mod modes;
mod rig;
mod walkthroughs;
mod world;

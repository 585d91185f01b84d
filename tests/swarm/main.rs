//! Tests on a real Swarm, of one node where nothing else is said: the rig, and the product as its users run it. They need root, and
//! say so without it.

mod clusters;
mod headers;
mod load;
mod manage;
mod modes;
mod networks;
mod nodes;
mod outages;
mod problems;
mod rig;
mod secrecy;
mod sessions;
mod sessions_under_change;
mod silence;
mod tls;
mod updates;
mod walkthroughs;
mod watch;
mod world;

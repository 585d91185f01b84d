//! A configuration of the plugin, read: what all of its streams share.

use std::cell::RefCell;

use crate::config::{ConfigError, InfoHeaders, PluginConfig, Sessions};
use crate::opened::Opener;
use crate::token::KeyRing;

/// What the streams of one configuration share.
#[derive(Debug)]
pub struct Plugin {
    /// `None` on routes that are not sticky.
    pub opener: Option<RefCell<Opener>>,
    /// Whether responses carry debug headers.
    pub info_headers: InfoHeaders,
}

impl Plugin {
    /// Reads what [`PluginConfig::encode`] made, with its keys.
    pub fn read(bytes: &[u8]) -> Result<Self, ConfigError> {
        let config = PluginConfig::decode(bytes)?;
        let opener = match config.sessions {
            Sessions::Kept => Some(RefCell::new(Opener::new(KeyRing::new(&config.keys)?))),
            Sessions::Left => None,
        };
        Ok(Self { opener, info_headers: config.info_headers })
    }
}

//! Modules.

use grid_protocol::client::ModuleInfo;
use serde::Serialize;

use crate::view::document::Listed;

/// A module that the manager keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ModuleView {
    /// Its length, in bytes.
    pub bytes: u64,
    /// Its digest, which is its id: 64 hexadecimal digits.
    pub digest: String,
    /// `core`, `command`, `command with files` or `component`.
    pub entry_point: String,
    /// When its manifest expires, in seconds since 1970; 0 for never.
    pub expires: u64,
    /// True if the manager already had it when it was uploaded.
    pub known: bool,
    /// Its name.
    pub name: String,
    /// The key that signed its manifest.
    pub publisher: String,
    /// The serial of the release: the highest of a name is the newest.
    pub serial: u64,
    /// Its version, for people; may be empty.
    pub version: String,
}

impl From<&ModuleInfo> for ModuleView {
    fn from(module: &ModuleInfo) -> Self {
        Self {
            bytes: module.length,
            digest: module.digest.to_string(),
            entry_point: module.entry_point.clone(),
            expires: module.expires,
            known: module.known,
            name: module.name.clone(),
            publisher: module.publisher.to_string(),
            serial: module.serial,
            version: module.version.clone(),
        }
    }
}

impl Listed for ModuleView {
    const LIST: &'static str = "modules";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::{json, key};
    use grid_protocol::digest::Digest;
    use serde_json::json;

    #[test]
    fn a_module() {
        let module = ModuleInfo {
            digest: Digest::of(b"module"),
            name: "primes".to_owned(),
            serial: 1_700_000_000,
            version: "1.2".to_owned(),
            publisher: key(1),
            length: 20_000,
            expires: 0,
            entry_point: "command".to_owned(),
            known: true,
        };
        let expected = json!({
            "bytes": 20_000,
            "digest": Digest::of(b"module").to_string(),
            "entry_point": "command",
            "expires": 0,
            "known": true,
            "name": "primes",
            "publisher": key(1).to_string(),
            "serial": 1_700_000_000,
            "version": "1.2",
        });
        assert_eq!(json(&ModuleView::from(&module)), expected);
    }
}

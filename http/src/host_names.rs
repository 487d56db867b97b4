//! Host names: for whom a request was meant.
//!
//! A page of a stranger can have its own name point to our address (DNS rebinding); the browser then lets its scripts
//! read our answers. Such a request names the stranger's host. An address cannot be rebound, so addresses pass.

use std::net::IpAddr;

/// The names by which a server may be addressed.
#[derive(Debug, Clone, Default)]
pub struct HostNames(Vec<String>);

impl HostNames {
    /// These names, and `localhost` and every address.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    /// True if a request with this `Host` header, `NAME`, `NAME:PORT` or `[ADDRESS]:PORT`, is meant for the server.
    pub fn allow(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => match rest.split_once(']') {
                Some((address, port)) if is_port(port) => address,
                _ => return false,
            },
            None => match host.rsplit_once(':') {
                Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
                Some(_) => return false,
                None => host,
            },
        };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        name == "localhost" || name.parse::<IpAddr>().is_ok() || self.0.contains(&name)
    }
}

fn is_port(text: &str) -> bool {
    text.is_empty()
        || text.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_known_names_pass_and_a_strangers_name_does_not() {
        let names = HostNames::new(["Grid.Example".to_owned()]);
        let ours = ["127.0.0.1", "127.0.0.1:4748", "[::1]:4748", "[::1]", "localhost:1", "grid.example:1"];
        assert!(ours.iter().all(|host| names.allow(host)));
        let strangers = [
            "",
            "evil.example",
            "evil.example:4748",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "grid.example@evil.example",
            "127.0.0.1:4748@evil.example",
            "[::1]evil.example",
            "[::1",
            "127.0.0.1:evil",
        ];
        assert_eq!(strangers.iter().find(|host| names.allow(host)), None);
    }
}

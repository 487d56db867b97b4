//! Versions: of this program, of the manager and of the hosts.

use std::collections::BTreeMap;

use wasm_grid::view::CheckView;
use wasm_grid::{HostInfo, HostState};

use crate::command::doctor::reach::ProbedManager;
use crate::command::output::counted;

const OWN: &str = env!("CARGO_PKG_VERSION");

/// Hosts of another version that are named; the others are counted.
const NAMED_MAX: usize = 3;

/// Judges the versions that are known.
pub(super) fn judge(manager: &ProbedManager<'_>) -> CheckView {
    let own = format!("this program {OWN}");
    match manager.greeting() {
        Ok(greeting) => compare(OWN, greeting.software.as_deref(), greeting.hosts.as_deref()),
        Err(why) => CheckView::ok(CHECK, own).warning(format!("not compared: {why}"), ""),
    }
}

const CHECK: &str = "versions";

/// Compares one's own version with the manager's, and with those of the hosts that are there.
fn compare(own: &str, manager: Option<&str>, hosts: Result<&[HostInfo], &String>) -> CheckView {
    let is_there = |host: &&HostInfo| !matches!(host.state, HostState::Gone | HostState::Away);
    let there: Vec<_> = hosts.unwrap_or_default().iter().filter(is_there).collect();
    let mut found = format!("this program {own}, manager {}", manager.unwrap_or("too old to say"));
    let mut others: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for host in &there {
        others.entry(&host.capacity.software).or_default().push(&host.capacity.name);
    }
    for (version, names) in &others {
        found.push_str(&format!(", {} {version}", counted(names.len() as u64, "host")));
    }
    let check = CheckView::ok(CHECK, found);
    let expected = manager.unwrap_or(own);
    let mut different: Vec<String> = Vec::new();
    if manager != Some(own) {
        different.push("this program and the manager differ".to_owned());
    }
    for (version, names) in others.iter().filter(|(version, _)| **version != expected) {
        let named: Vec<_> = names.iter().take(NAMED_MAX).copied().collect();
        let more = names.len() - named.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        different.push(format!(
            "{}{more} {} {version}",
            named.join(", "),
            if names.len() == 1 { "has" } else { "have" }
        ));
    }
    if !different.is_empty() {
        let advice = "install the newest version everywhere, the manager first: cargo install --path cli; on hosts: \
                      cargo install --path host";
        return check.warning(different.join("; "), advice);
    }
    match hosts {
        Ok(_) => check,
        Err(why) => check.warning(format!("the hosts were not compared: {why}"), ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_grid::view::CheckState::{Ok as Well, Warning};
    use wasm_grid::{HostCapacity, SecretKey};

    fn host(name: &str, software: &str, state: HostState) -> HostInfo {
        HostInfo {
            key: SecretKey::from_seed(&[1; 32]).public(),
            state,
            capacity: HostCapacity {
                name: name.to_owned(),
                slots: 1,
                memory_bytes: 0,
                labels: Vec::new(),
                platform: String::new(),
                software: software.to_owned(),
            },
            address: String::new(),
            workers: 0,
            module_bytes_sent: 0,
            compilations: 0,
            compile_us: 0,
        }
    }

    #[test]
    fn a_version_that_differs_is_a_warning_that_names_who_has_it() {
        let same = [host("a", "2.0", HostState::Ready), host("gone", "1.0", HostState::Gone)];
        let check = compare("2.0", Some("2.0"), Ok(&same));
        assert_eq!((check.state, check.found.as_str()), (Well, "this program 2.0, manager 2.0, 1 host 2.0"));
        let old: Vec<_> = ["a", "b", "c", "d", "e"].map(|name| host(name, "1.9", HostState::Ready)).into();
        let check = compare("2.0", Some("2.0"), Ok(&old));
        assert_eq!((check.state, check.reason.unwrap().as_str()), (Warning, "a, b, c and 2 more have 1.9"));
        let check = compare("2.0", Some("1.9"), Ok(&old));
        assert_eq!(check.reason.unwrap(), "this program and the manager differ");
        assert_eq!(compare("2.0", None, Ok(&[])).state, Warning);
        assert_eq!(compare("2.0", Some("2.0"), Err(&"no answer".to_owned())).state, Warning);
    }
}

//! Why no manager was reached.

use std::path::Path;

use wasm_grid::view::CheckView;
use wasm_grid::{AddressFault, ManagerAddress, ProbeError, REACH_TIME_MAX, UnreachedAddress};

use crate::command::doctor::folder::quoted;
use crate::command::doctor::reach::ManagerSource;

/// Judges why no manager was reached.
pub(super) fn judge(
    error: &ProbeError,
    manager: &ManagerAddress,
    source: ManagerSource,
    home: &Path,
) -> CheckView {
    let check = |found: &str| CheckView::ok("manager", found);
    match error {
        ProbeError::KnownManagers(error) => {
            let file = quoted(&home.join("known-managers"));
            check("not asked")
                .fails(error.to_string(), format!("mend the file, or move it aside: mv {file} {file}.old"))
        }
        ProbeError::Bind(error) => {
            check("not asked").fails(error.to_string(), "allow this program to open UDP sockets")
        }
        ProbeError::Unreached(faults) => match faults.iter().max_by_key(|fault| tells(&fault.why)) {
            Some(fault) => {
                let (reason, advice) = explain(fault, manager, source, home);
                let others = faults.len() - 1;
                let others = if others > 0 { format!(", and {others} more") } else { String::new() };
                let named = fault.address.map_or_else(|| fault.name.clone(), |address| address.to_string());
                check(&format!("not reached at {named}{others}")).fails(reason, advice)
            }
            None => check("not asked").fails(
                "its ticket names no address",
                "ask for a ticket that does: grid up --advertise HOST:PORT",
            ),
        },
        _ => check("not reached").fails("for a reason that this program does not know", "grid --version"),
    }
}

/// How much a fault tells: of several addresses the one that tells most is shown.
fn tells(fault: &AddressFault) -> u8 {
    match fault {
        AddressFault::WrongKey { .. } => 5,
        AddressFault::Unlike(_) => 4,
        AddressFault::Refused => 3,
        AddressFault::Silent => 2,
        AddressFault::Unsent(_) => 1,
        _ => 0,
    }
}

/// Why no manager is at an address, and what mends it.
fn explain(
    fault: &UnreachedAddress,
    manager: &ManagerAddress,
    source: ManagerSource,
    home: &Path,
) -> (String, String) {
    let port = fault.name.rsplit(':').next().unwrap_or_default();
    match &fault.why {
        AddressFault::Unresolved(why) => {
            let host = fault.name.rsplit_once(':').map_or(fault.name.as_str(), |(host, _)| host);
            (format!("the name does not resolve: {why}"), format!("check the name: getent hosts {host}"))
        }
        AddressFault::Unsent(why) => {
            let to = fault.address.map_or_else(String::new, |address| format!(" {}", address.ip()));
            (
                format!("this machine cannot send there: {why}"),
                format!("check the way there: ip route get{to}"),
            )
        }
        AddressFault::Refused if source == ManagerSource::Here => {
            ("nothing listens there: the manager of this machine has ended".to_owned(), "grid up".to_owned())
        }
        AddressFault::Refused => (
            format!("nothing listens at UDP port {port} there, or a firewall turns it away"),
            format!("start the manager there: grid up --listen 0.0.0.0:{port}; or open UDP port {port}"),
        ),
        AddressFault::Silent => (
            format!(
                "nothing answers within {} s: UDP is what is needed, and a firewall may drop it",
                REACH_TIME_MAX.as_secs()
            ),
            format!(
                "open UDP port {port} on the manager's machine: sudo ufw allow {port}/udp; and see that grid up runs there"
            ),
        ),
        AddressFault::Unlike(why) => (
            format!(
                "something answers at UDP port {port}, and it is no manager that this program understands: {why}"
            ),
            "check the address; on the manager: grid status, and grid --version on both".to_owned(),
        ),
        AddressFault::WrongKey { expected, shown } => {
            let both =
                format!("{} was expected and {} was shown", expected.fingerprint(), shown.fingerprint());
            if manager.key().is_some() {
                let reason = format!("another manager is there: {both}");
                return (
                    reason,
                    "use a ticket of this manager, from grid ticket new there, or check the address"
                        .to_owned(),
                );
            }
            let file = quoted(&home.join("known-managers"));
            let reason = format!("the manager there has another key than the remembered one: {both}");
            let forget = format!("sed -i '/^{} /d' {file}", pattern(&fault.name));
            (reason, format!("if it was set up anew: {forget}; if not, somebody stands in its place"))
        }
        _ => ("for a reason that this program does not know".to_owned(), "grid --version".to_owned()),
    }
}

/// A text as a pattern of sed that matches it and nothing else.
fn pattern(text: &str) -> String {
    let mut pattern = String::new();
    for letter in text.chars() {
        if r"\/.[]*^$'".contains(letter) {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_grid::view::CheckState::Fails;
    use wasm_grid::{PublicKey, SecretKey};

    fn key(seed: u8) -> PublicKey {
        SecretKey::from_seed(&[seed; 32]).public()
    }

    fn fault(why: AddressFault) -> UnreachedAddress {
        let address =
            (!matches!(why, AddressFault::Unresolved(_))).then(|| "192.0.2.7:4747".parse().unwrap());
        UnreachedAddress { name: "lab.example:4747".to_owned(), address, why }
    }

    fn judged(why: Vec<AddressFault>, manager: &str, source: ManagerSource) -> CheckView {
        let error = ProbeError::Unreached(why.into_iter().map(fault).collect());
        judge(&error, &manager.parse().unwrap(), source, Path::new("/home/me/grid"))
    }

    #[test]
    fn each_fault_says_another_thing_and_what_to_type() {
        let wrong_key = AddressFault::WrongKey { expected: key(1), shown: key(2) };
        let cases = [
            (
                AddressFault::Unresolved("no such name".to_owned()),
                "does not resolve",
                "getent hosts lab.example",
            ),
            (AddressFault::Unsent("no route".to_owned()), "cannot send", "ip route get 192.0.2.7"),
            (AddressFault::Silent, "UDP is what is needed", "4747/udp"),
            (AddressFault::Refused, "nothing listens at UDP port 4747", "grid up --listen 0.0.0.0:4747"),
            (AddressFault::Unlike("a web server".to_owned()), "a web server", "grid --version"),
            (wrong_key, "another key than the remembered one", "known-managers"),
        ];
        for (why, reason, advice) in cases {
            let check = judged(vec![why], "lab.example:4747", ManagerSource::Named);
            assert_eq!(check.state, Fails);
            assert!(check.reason.as_ref().is_some_and(|text| text.contains(reason)), "{check:?}");
            assert!(check.advice.as_ref().is_some_and(|text| text.contains(advice)), "{check:?}");
        }
    }

    #[test]
    fn of_several_addresses_the_one_that_tells_most_is_shown_and_the_others_are_counted() {
        let why = vec![AddressFault::Silent, AddressFault::Refused, AddressFault::Unresolved(String::new())];
        let check = judged(why, "lab.example:4747", ManagerSource::Named);
        assert_eq!(check.found, "not reached at 192.0.2.7:4747, and 2 more");
        assert!(check.reason.unwrap().contains("nothing listens"));
    }

    #[test]
    fn a_manager_of_this_machine_that_has_ended_is_started_again_with_one_command() {
        let check = judged(vec![AddressFault::Refused], "127.0.0.1:4747", ManagerSource::Here);
        assert_eq!(check.advice.as_deref(), Some("grid up"));
    }

    #[test]
    fn a_key_that_was_given_is_not_looked_for_among_the_remembered_ones() {
        let wrong_key = AddressFault::WrongKey { expected: key(1), shown: key(2) };
        let check = judged(vec![wrong_key], &format!("{}@lab.example:4747", key(1)), ManagerSource::Named);
        let advice = check.advice.unwrap();
        assert!(advice.contains("grid ticket new") && !advice.contains("known-managers"), "{advice}");
    }

    #[test]
    fn the_pattern_of_an_address_matches_no_other() {
        assert_eq!(pattern("[::1]:4747"), r"\[::1\]:4747");
        assert_eq!(pattern("lab.example:4747"), r"lab\.example:4747");
    }
}

//! What the user's key may do at the manager.

use wasm_grid::view::CheckView;
use wasm_grid::{GreetingError, JoinRefusal, ManagerAddress, ManagerGreeting};

use crate::command::output::time;

/// Judges what the user's key may do there, at `now`, in seconds since 1970.
pub(super) fn judge(
    greeting: &Result<ManagerGreeting, GreetingError>,
    manager: &ManagerAddress,
    has_host: bool,
    now: u64,
) -> CheckView {
    let check = |found: &str| CheckView::ok("role", found);
    let error = match greeting {
        Ok(greeting) => return check(&greeting.roles.to_string()),
        Err(error) => error,
    };
    let why = match error {
        GreetingError::NoKey => "there is no key of this user yet".to_owned(),
        GreetingError::Refused(JoinRefusal::NotAllowed { .. }) => {
            "this user's key has no role there".to_owned()
        }
        GreetingError::Refused(refusal @ JoinRefusal::Version { .. }) => {
            return check("none")
                .fails(refusal.to_string(), "upgrade the older of the two: grid --version on both");
        }
        GreetingError::Refused(refusal @ JoinRefusal::Revoked { .. }) => {
            let advice =
                "a revoked key stays out: with another home folder, grid --home DIR, you have another one";
            return check("none").fails(refusal.to_string(), advice);
        }
        GreetingError::Refused(refusal) => refusal.to_string(),
        GreetingError::Key(error) => return check("none").fails(error.to_string(), "see the check `home`"),
        GreetingError::Broken(why) => {
            return check("not known")
                .fails(why, "ask again: grid doctor; and look at what the manager writes");
        }
        _ => "the manager does not say why".to_owned(),
    };
    let ask = "ask an admin of the grid for a ticket: grid ticket new --role client";
    if let ManagerAddress::Ticket(ticket) = manager {
        let until = time(ticket.expires);
        let what =
            format!("none yet; the ticket lets one {} in until {until}, unless it was used", ticket.role);
        if ticket.expires < now {
            return check(&what)
                .fails(format!("{why}, and the ticket has expired"), "ask for another one: grid ticket new");
        }
        return check(&what);
    }
    if has_host {
        let reason = format!("{why}; the host on this machine has a key of its own and needs none");
        return check("none").warning(reason, ask);
    }
    check("none").fails(why, ask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use grid_protocol::ticket::Ticket;
    use wasm_grid::view::CheckState::{self, Fails, Ok as Well, Warning};
    use wasm_grid::{Role, SecretKey};

    fn judged(error: GreetingError, manager: &ManagerAddress, has_host: bool, now: u64) -> CheckState {
        judge(&Err(error), manager, has_host, now).state
    }

    #[test]
    fn a_key_without_a_role_fails_unless_a_ticket_or_a_host_makes_up_for_it() {
        let key = SecretKey::from_seed(&[1; 32]).public();
        let bare = ManagerAddress::Bare { address: "lab:1".to_owned() };
        let ticket = Ticket::new(vec!["lab:1".to_owned()], key, Role::Host, 1000, [1; 16], [2; 32]);
        let ticket = ManagerAddress::Ticket(ticket);
        let no_role = || GreetingError::Refused(JoinRefusal::NotAllowed { key, role: Role::Client });
        assert_eq!(judged(no_role(), &bare, false, 0), Fails);
        assert_eq!(judged(no_role(), &bare, true, 0), Warning);
        assert_eq!(judged(GreetingError::NoKey, &bare, false, 0), Fails);
        assert_eq!(judged(GreetingError::NoKey, &ticket, false, 1000), Well);
        assert_eq!(judged(GreetingError::NoKey, &ticket, false, 1001), Fails);
        let revoked = GreetingError::Refused(JoinRefusal::Revoked { key });
        assert_eq!(judged(revoked, &ticket, true, 0), Fails);
        assert_eq!(judged(GreetingError::Broken(String::new()), &bare, true, 0), Fails);
    }
}

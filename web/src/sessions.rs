//! Sessions of the page: who has logged in with which browser.

use std::collections::HashMap;
use std::time::Duration;

use grid_manager::Asker;
use grid_protocol::digest::Digest;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Sessions at a time; the one that was idle longest goes.
const SESSIONS_MAX: usize = 1000;

/// A session that is not used for so long ends.
const IDLE_MAX: Duration = Duration::from_secs(12 * 3600);

/// A session ends after so long, however much it is used.
const AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// The sessions. They are kept by the digests of their secrets, so that a look at memory gives none away.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<Digest, PageSession>>);

/// A session.
#[derive(Debug, Clone)]
pub(crate) struct PageSession {
    pub(crate) asker: Asker,
    /// What a request that changes something must show, which only scripts of the page itself can read.
    pub(crate) csrf: String,
    began: Instant,
    used: Instant,
}

/// Hexadecimal digits.
fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Sessions {
    /// Begins a session with two secrets that were drawn at random; gives the one that the cookie holds.
    pub(crate) fn begin(&self, asker: Asker, secrets: [[u8; 32]; 2], now: Instant) -> String {
        let [secret, csrf] = secrets.map(|secret| text(&secret));
        let mut sessions = self.0.lock();
        sessions.retain(|_, session| session.is_good(now));
        if sessions.len() >= SESSIONS_MAX {
            let idle = sessions.iter().min_by_key(|(_, session)| session.used).map(|(digest, _)| *digest);
            idle.map(|digest| sessions.remove(&digest));
        }
        sessions.insert(Digest::of(secret.as_bytes()), PageSession { asker, csrf, began: now, used: now });
        secret
    }

    /// The session of this secret, which is used now.
    pub(crate) fn find(&self, secret: &str, now: Instant) -> Option<PageSession> {
        let mut sessions = self.0.lock();
        let session =
            sessions.get_mut(&Digest::of(secret.as_bytes())).filter(|session| session.is_good(now))?;
        session.used = now;
        Some(session.clone())
    }

    /// Ends a session.
    pub(crate) fn end(&self, secret: &str) {
        self.0.lock().remove(&Digest::of(secret.as_bytes()));
    }
}

impl PageSession {
    fn is_good(&self, now: Instant) -> bool {
        now.duration_since(self.used) < IDLE_MAX && now.duration_since(self.began) < AGE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grid_manager::Via;
    use grid_protocol::key::SecretKey;
    use grid_protocol::role::Roles;

    fn asker() -> Asker {
        Asker { key: SecretKey::from_seed(&[1; 32]).public(), at_most: Roles::ALL, via: Via::Page }
    }

    fn secrets(number: usize) -> [[u8; 32]; 2] {
        let mut secret = [0; 32];
        secret[..8].copy_from_slice(&number.to_be_bytes());
        [secret, [1; 32]]
    }

    #[test]
    fn a_session_ends_when_it_is_idle_or_old_or_ended() {
        let sessions = Sessions::default();
        let start = Instant::now();
        let secret = sessions.begin(asker(), secrets(1), start);
        assert!(sessions.find("00", start).is_none());
        for hours in (0..7 * 24).step_by(11) {
            assert!(sessions.find(&secret, start + Duration::from_secs(hours * 3600)).is_some());
        }
        assert!(sessions.find(&secret, start + AGE_MAX).is_none(), "it is old");
        let secret = sessions.begin(asker(), secrets(2), start);
        assert!(sessions.find(&secret, start + IDLE_MAX).is_none(), "it was idle");
        let secret = sessions.begin(asker(), secrets(3), start);
        sessions.end(&secret);
        assert!(sessions.find(&secret, start).is_none());
    }

    #[test]
    fn many_logins_cost_no_memory_and_the_newest_stays() {
        let sessions = Sessions::default();
        let start = Instant::now();
        let begin =
            |number| sessions.begin(asker(), secrets(number), start + Duration::from_millis(number as u64));
        let newest = (0..2 * SESSIONS_MAX).map(begin).last().unwrap();
        assert_eq!(sessions.0.lock().len(), SESSIONS_MAX);
        assert!(sessions.find(&newest, start + Duration::from_secs(10)).is_some());
    }
}

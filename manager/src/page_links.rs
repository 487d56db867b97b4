//! Links to the page: codes that log somebody in, once, within a minute.

use std::collections::VecDeque;
use std::time::Duration;

use grid_protocol::digest::Digest;
use grid_protocol::time::Moment;
use parking_lot::Mutex;

use crate::asker::Asker;

/// How long a code is good.
const GOOD_FOR: Duration = Duration::from_secs(60);

/// Codes that wait to be used; the oldest goes.
const CODES_MAX: usize = 64;

/// The page's address, and the codes that wait to be used.
#[derive(Debug, Default)]
pub(crate) struct PageLinks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    page: Option<(String, Option<Digest>)>,
    codes: VecDeque<Code>,
}

#[derive(Debug)]
struct Code {
    /// Of the code, so that a look at memory gives none.
    digest: Digest,
    asker: Asker,
    until: Moment,
}

impl PageLinks {
    /// The page is served at this address, `https://HOST:PORT`; with the digest of a certificate of its own.
    pub(crate) fn serve_at(&self, address: String, certificate: Option<Digest>) {
        self.0.lock().page = Some((address, certificate));
    }

    /// A link that logs `asker` in, with a code that was drawn at random; `None` if no page is served.
    pub(crate) fn make(&self, asker: Asker, code: [u8; 16], now: Moment) -> Option<(String, Option<Digest>)> {
        let mut state = self.0.lock();
        let (address, certificate) = state.page.clone()?;
        let text: String = code.iter().map(|byte| format!("{byte:02x}")).collect();
        if state.codes.len() >= CODES_MAX {
            state.codes.pop_front();
        }
        let digest = Digest::of(text.as_bytes());
        state.codes.push_back(Code { digest, asker, until: now + GOOD_FOR });
        // Behind `#`: a browser sends that to nobody.
        Some((format!("{address}/#code={text}"), certificate))
    }

    /// Who the code logs in; it does so once.
    pub(crate) fn redeem(&self, code: &str, now: Moment) -> Option<Asker> {
        let mut state = self.0.lock();
        state.codes.retain(|code| code.until > now);
        let digest = Digest::of(code.as_bytes());
        let place = state.codes.iter().position(|code| code.digest == digest)?;
        state.codes.remove(place).map(|code| code.asker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grid_protocol::key::SecretKey;

    fn asker() -> Asker {
        Asker::client(SecretKey::from_seed(&[1; 32]).public())
    }

    fn links() -> PageLinks {
        let links = PageLinks::default();
        links.serve_at("http://127.0.0.1:4748".to_owned(), None);
        links
    }

    #[test]
    fn a_code_is_good_once_and_for_a_minute() {
        let links = links();
        let start = Moment::ZERO;
        let (url, _) = links.make(asker(), [1; 16], start).unwrap();
        let code = url.strip_prefix("http://127.0.0.1:4748/#code=").unwrap();
        assert!(links.redeem("01", start).is_none());
        assert_eq!(links.redeem(code, start), Some(asker()));
        assert!(links.redeem(code, start).is_none(), "once");
        links.make(asker(), [1; 16], start).unwrap();
        assert!(links.redeem(code, start + GOOD_FOR).is_none(), "a minute");
    }

    #[test]
    fn codes_that_nobody_uses_cost_no_memory() {
        let links = links();
        for number in 0..1000_u16 {
            let mut code = [0; 16];
            code[..2].copy_from_slice(&number.to_be_bytes());
            links.make(asker(), code, Moment::ZERO).unwrap();
        }
        assert_eq!(links.0.lock().codes.len(), CODES_MAX);
    }

    #[test]
    fn there_is_no_link_without_a_page() {
        assert_eq!(PageLinks::default().make(asker(), [1; 16], Moment::ZERO), None);
    }
}

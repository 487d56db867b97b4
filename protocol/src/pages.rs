//! Pages: a list that is too long for one frame is sent in several, each a reply of its own, until the stream ends.

use alloc::vec::Vec;

use crate::client::Reply;
use crate::wire::Wire;

/// Frames that one reply may take: 64 MiB, some two million keys.
pub const PAGES_MAX: usize = 64;

/// A reply that cannot be divided any further is longer than a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it has {length} bytes; {max} is the limit")]
pub struct PageTooLong {
    /// Length of the shortest part, in bytes.
    pub length: usize,
    /// The limit, in bytes.
    pub max: usize,
}

impl Reply {
    /// The bodies of the frames that carry the reply, each of at most `max` bytes: one, unless it is a long list.
    ///
    /// # Errors
    ///
    /// [`PageTooLong`] if the reply is no list, if one entry is longer than a frame, or if there are more than [`PAGES_MAX`].
    pub fn into_pages(self, max: usize) -> Result<Vec<Vec<u8>>, PageTooLong> {
        let mut pages = Vec::new();
        let mut left = alloc::vec![self];
        while let Some(mut reply) = left.pop() {
            let body = reply.to_body();
            if body.len() <= max && pages.len() < PAGES_MAX {
                pages.push(body);
                continue;
            }
            let rest = reply.split().filter(|_| body.len() > max);
            let rest = rest.ok_or(PageTooLong { length: body.len(), max })?;
            left.push(rest);
            left.push(reply);
        }
        Ok(pages)
    }

    /// True if more frames of the same list may follow.
    pub fn is_list(&self) -> bool {
        matches!(
            self,
            Self::Tickets(_)
                | Self::Hosts(_)
                | Self::Modules(_)
                | Self::Workers(_)
                | Self::Deployments(_)
                | Self::Keys(_)
                | Self::Audit(_)
                | Self::Tokens(_)
        )
    }

    /// Adds the next page of the same list; false, and nothing is added, if it is another reply.
    pub fn append(&mut self, page: Self) -> bool {
        match (self, page) {
            (Self::Tickets(all), Self::Tickets(more)) => all.extend(more),
            (Self::Hosts(all), Self::Hosts(more)) => all.extend(more),
            (Self::Modules(all), Self::Modules(more)) => all.extend(more),
            (Self::Workers(all), Self::Workers(more)) => all.extend(more),
            (Self::Deployments(all), Self::Deployments(more)) => all.extend(more),
            (Self::Keys(all), Self::Keys(more)) => all.extend(more),
            (Self::Audit(all), Self::Audit(more)) => all.extend(more),
            (Self::Tokens(all), Self::Tokens(more)) => all.extend(more),
            _ => return false,
        }
        true
    }

    /// Takes the second half of a list out of it; `None` if it has fewer than two entries.
    fn split(&mut self) -> Option<Self> {
        fn half<T>(list: &mut Vec<T>) -> Option<Vec<T>> {
            (list.len() > 1).then(|| list.split_off(list.len() / 2))
        }
        match self {
            Self::Tickets(list) => half(list).map(Self::Tickets),
            Self::Hosts(list) => half(list).map(Self::Hosts),
            Self::Modules(list) => half(list).map(Self::Modules),
            Self::Workers(list) => half(list).map(Self::Workers),
            Self::Deployments(list) => half(list).map(Self::Deployments),
            Self::Keys(list) => half(list).map(Self::Keys),
            Self::Audit(list) => half(list).map(Self::Audit),
            Self::Tokens(list) => half(list).map(Self::Tokens),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::KeyInfo;
    use crate::key::SecretKey;
    use crate::role::Roles;

    fn keys(count: u8) -> Reply {
        let info = |seed| KeyInfo {
            key: SecretKey::from_seed(&[seed; 32]).public(),
            roles: Roles::NONE,
            revoked: false,
        };
        Reply::Keys((0..count).map(info).collect())
    }

    #[test]
    fn a_list_in_pages_is_the_list_again_in_its_order() {
        let whole = keys(100);
        let pages = whole.clone().into_pages(300).unwrap();
        assert!(pages.len() > 10 && pages.iter().all(|page| page.len() <= 300));
        let mut pages = pages.iter().map(|page| Reply::from_body(page).unwrap());
        let mut read = pages.next().unwrap();
        pages.for_each(|page| assert!(read.append(page)));
        assert_eq!(read, whole);
    }

    #[test]
    fn a_short_reply_is_one_page_and_an_entry_that_is_too_long_none() {
        assert_eq!(keys(0).into_pages(300).unwrap().len(), 1);
        assert_eq!(Reply::Done.into_pages(1).unwrap().len(), 1);
        assert!(keys(1).into_pages(20).is_err());
        assert!(keys(100).into_pages(36).is_err(), "more pages than there may be");
    }

    #[test]
    fn a_page_of_another_list_is_refused() {
        assert!(!keys(1).append(Reply::Workers(Vec::new())));
    }
}

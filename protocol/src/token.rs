//! Tokens: secret texts for programs that have no key of their own.
//!
//! A token is the seed of a key that nobody signs with: its public half names it, and the manager keeps only that.

use alloc::string::String;

use crate::codec::{Decode, Encode};
use crate::key::{PublicKey, SecretKey};
use crate::role::Role;
use crate::text::{self, TextError};

const PREFIX: &str = "gridtoken1";

/// Longest text that is read as a token, in bytes.
const TEXT_BYTES_MAX: usize = 128;

/// The secret text of a token.
pub struct Token(SecretKey);

impl Token {
    /// The token with this seed, which the caller has drawn.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SecretKey::from_seed(seed))
    }

    /// Reads what [`Self::text`] wrote.
    ///
    /// # Errors
    ///
    /// [`TextError`]: whoever typed it must act.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let bytes = text::read(PREFIX, text, TEXT_BYTES_MAX)?;
        let seed = <[u8; 32]>::try_from(bytes).map_err(|_| TextError::Mistyped)?;
        Ok(Self::from_seed(&seed))
    }

    /// The token as text; a secret.
    pub fn text(&self) -> String {
        text::write(PREFIX, &*self.0.seed())
    }

    /// Its public half, which names it.
    pub fn id(&self) -> PublicKey {
        self.0.public()
    }
}

/// A token: a secret text that lets its bearer act for the key that made it, within a role and until an instant.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TokenInfo {
    /// The token's public half, which is its id.
    pub id: PublicKey,
    /// The key that it acts for.
    pub owner: PublicKey,
    /// What it may do at most.
    pub role: Role,
    /// When it expires, in seconds since 1970.
    pub expires: u64,
    /// What it is for, in the words of who made it.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_as_it_was_written_and_a_mistyped_one_does_not() {
        let token = Token::from_seed(&[7; 32]);
        let text = token.text();
        assert_eq!(Token::parse(&text).map(|read| read.id()), Ok(token.id()));
        let mistyped = text.replace("gridtoken1", "gridtoken1a");
        assert!(Token::parse(&mistyped).is_err());
        assert!(Token::parse(&"x".repeat(10_000)).is_err());
    }
}

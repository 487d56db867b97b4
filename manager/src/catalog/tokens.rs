//! Tokens in the catalog.

use grid_protocol::key::PublicKey;
use grid_protocol::token::TokenInfo;
use grid_protocol::wire::Wire;

use crate::catalog::{Catalog, CatalogError, full};
use crate::store::Table;

/// Tokens kept.
const TOKENS_MAX: usize = 10_000;

impl Catalog {
    /// Keeps a token. Tokens that have expired make room for it if there are too many.
    pub(crate) fn add_token(&mut self, token: TokenInfo, now: u64) -> Result<(), CatalogError> {
        if self.tokens.len() >= TOKENS_MAX {
            let past: Vec<_> =
                self.tokens.values().filter(|token| token.expires <= now).map(|token| token.id).collect();
            for id in past {
                self.remove_token(&id)?;
            }
        }
        full("tokens", self.tokens.len(), TOKENS_MAX, self.tokens.contains_key(&token.id))?;
        self.put(Table::Token, token.id.as_bytes(), token.to_body())?;
        self.tokens.insert(token.id, token);
        Ok(())
    }

    /// The token with this public half, unless it has expired.
    pub(crate) fn token(&self, id: &PublicKey, now: u64) -> Option<&TokenInfo> {
        self.tokens.get(id).filter(|token| token.expires > now)
    }

    /// The tokens that have not expired.
    pub(crate) fn tokens(&self, now: u64) -> impl Iterator<Item = &TokenInfo> {
        self.tokens.values().filter(move |token| token.expires > now)
    }

    /// Deletes a token.
    pub(crate) fn remove_token(&mut self, id: &PublicKey) -> Result<(), CatalogError> {
        self.remove(Table::Token, id.as_bytes())?;
        self.tokens.remove(id);
        Ok(())
    }
}

//! `grid key token`: tokens, for programs that have no key of their own.

use serde::Serialize;
use wasm_grid::view::TokenView;
use wasm_grid::{PublicKey, Reply, Request, Role, Token};

use crate::command::Common;
use crate::command::cli_error::CliError;
use crate::command::output::{Output, Rows, time};

/// A token that is made.
#[derive(Debug, clap::Args)]
pub(crate) struct TokenArgs {
    /// What it may do at most: viewer, client, publisher or admin. Your own key must be able to.
    #[arg(long, default_value = "client")]
    role: Role,
    /// For how many days it is good.
    #[arg(long, default_value_t = 30.0, value_name = "DAYS")]
    days: f64,
    /// What it is for, to tell it from others.
    #[arg(long, default_value = "", value_name = "TEXT")]
    name: String,
}

/// A token as it was just made, with its secret.
#[derive(Serialize)]
struct IssuedToken<'a> {
    id: String,
    role: &'static str,
    token: &'a str,
    ttl_s: u64,
}

impl TokenArgs {
    pub(crate) async fn run(&self, common: &Common, output: &Output) -> Result<(), CliError> {
        let lasting = std::time::Duration::try_from_secs_f64(self.days * 24.0 * 3600.0);
        let ttl_s = lasting.map_err(|error| CliError::usage(format!("--days: {error}")))?.as_secs();
        let seed = grid_disk::random().map_err(|error| CliError::failed("no token can be made", error))?;
        let token = Token::from_seed(&seed);
        let (role, name) = (self.role, self.name.clone());
        let request = Request::TokenNew { token: token.id(), role, ttl_s, name };
        common.client()?.request(request).await?;
        output.say(&format!(
            "acts for your key with the role {role}, for {} days; it is shown once:",
            self.days
        ));
        let text = token.text();
        let (id, role) = (token.id().to_string(), role.name());
        output.one(&text, &text, IssuedToken { id, role, token: &text, ttl_s })
    }
}

/// Lists the tokens.
pub(super) async fn list(common: &Common, output: &Output) -> Result<(), CliError> {
    let Reply::Tokens(tokens) = common.client()?.request(Request::TokenList).await? else {
        return Err(CliError::failed("no tokens", "the manager answered something else"));
    };
    let row = |token: wasm_grid::TokenInfo| {
        let view = TokenView::from(&token);
        let cells = vec![
            view.id.clone(),
            view.role.to_owned(),
            time(view.expires),
            token.owner.fingerprint(),
            view.name.clone(),
        ];
        (cells, view)
    };
    output.rows(Rows {
        headings: &["id", "role", "expires", "acts for", "name"],
        rows: tokens.into_iter().map(row).collect(),
        empty: "no tokens; `grid key token` makes one",
    })
}

/// Makes a token useless.
pub(super) async fn remove(common: &Common, output: &Output, id: PublicKey) -> Result<(), CliError> {
    common.client()?.request(Request::TokenRemove { token: id }).await?;
    output.done("the token is useless now")
}

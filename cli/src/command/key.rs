//! `grid key`.

mod token;

use std::path::PathBuf;

use serde::Serialize;
use wasm_grid::view::KeyView;
use wasm_grid::{KeyInfo, PublicKey, Reply, Request, Role};

use crate::command::Common;
use crate::command::cli_error::CliError;
use crate::command::output::{Output, Rows};

/// Keys and what they may do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum KeySubcommand {
    /// Make a key in a file, for a publisher who signs offline; without a file, show your own key.
    New {
        /// The file.
        file: Option<PathBuf>,
    },
    /// List the keys that the manager knows, and what they may do.
    Ls,
    /// Give a key a role.
    Trust {
        /// The key, as `grid key new` prints it.
        key: PublicKey,
        /// What it may be: host, client, publisher, admin or viewer.
        #[arg(long, default_value = "publisher")]
        role: Role,
    },
    /// Take away everything that a key may do, and its connections.
    Revoke {
        /// The key.
        key: PublicKey,
    },
    /// Make a token: a secret text by which a program without a key acts for you, over HTTP.
    Token(token::TokenArgs),
    /// List your tokens; for an admin, everybody's.
    Tokens,
    /// Make a token useless.
    RmToken {
        /// Its id, as `grid key tokens` prints it.
        id: PublicKey,
    },
}

/// A key in a file of this machine.
#[derive(Serialize)]
struct OwnKey<'a> {
    file: &'a str,
    fingerprint: String,
    key: &'a str,
}

impl KeySubcommand {
    pub(crate) async fn run(&self, common: &Common, output: &Output) -> Result<(), CliError> {
        match self {
            Self::New { file } => {
                let path = file.clone().unwrap_or_else(|| common.home.join("user.key"));
                if file.is_some() && path.exists() {
                    return Err(CliError::failed(
                        "no key is made",
                        format!("{} is there already", path.display()),
                    ));
                }
                let key = grid_disk::load_or_make_key(&path)
                    .map_err(|error| CliError::failed("no key can be made", error))?
                    .public();
                output.say(&format!("kept in {}; the public half is:", path.display()));
                let text = key.to_string();
                let file = path.to_string_lossy();
                output.one(&text, &text, OwnKey { file: &file, fingerprint: key.fingerprint(), key: &text })
            }
            Self::Ls => match common.client()?.request(Request::KeyList).await? {
                Reply::Keys(keys) => print(output, keys),
                _ => Err(CliError::failed("no keys", "the manager answered something else")),
            },
            Self::Token(token) => token.run(common, output).await,
            Self::Tokens => token::list(common, output).await,
            Self::RmToken { id } => token::remove(common, output, *id).await,
            Self::Trust { key, role } => {
                common.client()?.request(Request::KeyTrust { key: *key, role: *role }).await?;
                output.done(&format!("{} is a {role} now", key.fingerprint()))
            }
            Self::Revoke { key } => {
                common.client()?.request(Request::KeyRevoke { key: *key }).await?;
                output.done(&format!("{} may do nothing any more", key.fingerprint()))
            }
        }
    }
}

fn print(output: &Output, keys: Vec<KeyInfo>) -> Result<(), CliError> {
    let row = |info: KeyInfo| {
        let view = KeyView::from(&info);
        let may = if view.revoked { "revoked".to_owned() } else { view.roles.join(",") };
        (vec![view.key.clone(), may, info.key.fingerprint()], view)
    };
    output.rows(Rows {
        headings: &["key", "may be", "fingerprint"],
        rows: keys.into_iter().map(row).collect(),
        empty: "no keys",
    })
}

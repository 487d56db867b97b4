//! `grid ui`: opens the manager's page.

use serde::Serialize;
use wasm_grid::{Digest, Reply, Request};

use crate::command::Common;
use crate::command::cli_error::CliError;
use crate::command::output::Output;

/// Open the manager's page in a browser, logged in with your key.
#[derive(Debug, clap::Args)]
pub(crate) struct UiArgs {
    /// Print the link and open nothing. It is good once, for a minute: whoever opens it is you.
    #[arg(long)]
    print: bool,
}

/// A link to the page.
#[derive(Serialize)]
struct PageLink {
    /// The SHA-256 of the certificate that the manager made itself; null if there is none.
    certificate: Option<String>,
    /// The link, a secret.
    url: String,
}

impl UiArgs {
    pub(crate) async fn run(&self, common: &Common, output: &Output) -> Result<(), CliError> {
        let Reply::PageLink { url, certificate } = common.client()?.request(Request::PageLink).await? else {
            return Err(CliError::failed("no link", "the manager answered something else"));
        };
        if let Some(certificate) = &certificate {
            output.say(
                "the manager made the certificate itself, so that the browser will warn; its SHA-256 is",
            );
            output.say(&pairs(certificate));
        }
        let link = PageLink { certificate: certificate.map(|digest| digest.to_string()), url: url.clone() };
        if self.print || output.is_json() {
            return output.one(&url, &url, link);
        }
        match open::that_detached(&url) {
            Ok(()) => output.done("the page opens in your browser"),
            Err(error) => {
                output.say(&format!("no browser can be opened here ({error}); open this within a minute:"));
                output.one(&url, &url, link)
            }
        }
    }
}

/// A digest as browsers show it.
fn pairs(digest: &Digest) -> String {
    let text = digest.to_string().to_uppercase();
    let pairs: Vec<_> = text.as_bytes().chunks(2).map(String::from_utf8_lossy).collect();
    pairs.join(":")
}

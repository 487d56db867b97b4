//! `grid ticket`.

mod qr;

use std::io::IsTerminal;

use wasm_grid::view::{IssuedTicketView, TicketContentsView, TicketView};
use wasm_grid::{ManagerAddress, Reply, Request, Role, TICKET_TTL_S};

use crate::command::Common;
use crate::command::cli_error::CliError;
use crate::command::output::{Output, Rows, time};

/// Tickets: lines of text that let machines and people in.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum TicketSubcommand {
    /// Make a ticket; it lets one machine or person in.
    New {
        /// What it lets in: host, client, publisher, admin or viewer.
        #[arg(long, default_value = "host")]
        role: Role,
        /// For how many hours it is good.
        #[arg(long, default_value_t = TICKET_TTL_S as f64 / 3600.0, value_name = "HOURS")]
        hours: f64,
        /// Draw the line that is to be typed as a QR code, too, to be read off the screen; for people, so not with
        /// --json or --quiet.
        #[arg(long)]
        qr: bool,
    },
    /// List the tickets.
    Ls,
    /// Make a ticket useless.
    Rm {
        /// Its id, or the beginning of it, as `grid ticket ls` prints it.
        id: String,
    },
    /// Explain a ticket, without talking to anybody.
    Show {
        /// The ticket.
        ticket: String,
    },
}

impl TicketSubcommand {
    pub(crate) async fn run(&self, common: &Common, output: &Output) -> Result<(), CliError> {
        match self {
            Self::New { role, hours, qr } => new(common, output, *role, *hours, *qr).await,
            Self::Ls => list(common, output).await,
            Self::Rm { id } => remove(common, output, id).await,
            Self::Show { ticket } => show(output, ticket),
        }
    }
}

async fn new(common: &Common, output: &Output, role: Role, hours: f64, qr: bool) -> Result<(), CliError> {
    let lasting = std::time::Duration::try_from_secs_f64(hours * 3600.0);
    let ttl_s = lasting.map_err(|error| CliError::usage(format!("--hours: {error}")))?.as_secs();
    let Reply::Ticket { text } = common.client()?.request(Request::TicketNew { role, ttl_s }).await? else {
        return Err(CliError::failed("no ticket", "the manager answered something else"));
    };
    output.say(&format!(
        "lets one {role} in, for {hours} {}; type there:",
        if hours == 1.0 { "hour" } else { "hours" }
    ));
    let issued = IssuedTicketView::new(text, role, ttl_s);
    output.one(&issued.join, &issued.ticket, &issued)?;
    if !qr || !output.talks() {
        return Ok(());
    }
    let drawn = qr::drawing(&issued.join, has_colours())
        .map_err(|error| CliError::failed("the line cannot be drawn; type it", error))?;
    output.raw(drawn.as_bytes())
}

/// True if standard output is a terminal that has colours. A wish for none (`NO_COLOR`) is about ornaments; a code without its
/// colours cannot be read on a light terminal.
fn has_colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

async fn list(common: &Common, output: &Output) -> Result<(), CliError> {
    let Reply::Tickets(tickets) = common.client()?.request(Request::TicketList).await? else {
        return Err(CliError::failed("no tickets", "the manager answered something else"));
    };
    let row = |ticket: wasm_grid::TicketInfo| {
        let view = TicketView::from(&ticket);
        let used = ticket.used_by.map_or_else(|| "-".to_owned(), |key| key.fingerprint());
        (vec![view.id.clone(), view.role.to_owned(), time(view.expires), used], view)
    };
    output.rows(Rows {
        headings: &["id", "role", "expires", "used by"],
        rows: tickets.into_iter().map(row).collect(),
        empty: "no tickets; `grid ticket new` makes one",
    })
}

async fn remove(common: &Common, output: &Output, id: &str) -> Result<(), CliError> {
    let client = common.client()?;
    let Reply::Tickets(tickets) = client.request(Request::TicketList).await? else {
        return Err(CliError::failed("no tickets", "the manager answered something else"));
    };
    let found: Vec<_> =
        tickets.iter().filter(|ticket| TicketView::from(*ticket).id.starts_with(id)).collect();
    let [ticket] = found.as_slice() else {
        return Err(CliError::not_found(match found.len() {
            0 => format!("no ticket begins with `{id}`"),
            several => format!("{several} tickets begin with `{id}`"),
        })
        .help("`grid ticket ls` lists them"));
    };
    client.request(Request::TicketRemove { id: ticket.id }).await?;
    output.done("the ticket is useless now")
}

fn show(output: &Output, ticket: &str) -> Result<(), CliError> {
    let address = ticket.parse::<ManagerAddress>().map_err(|error| CliError::usage(error.to_string()))?;
    let ManagerAddress::Ticket(ticket) = address else {
        return Err(CliError::usage("this is an address, not a ticket".to_owned()));
    };
    let view = TicketContentsView::from(&ticket);
    let lines = [
        format!("id        {}", view.id),
        format!("lets in   one {}", ticket.role),
        format!("expires   {}", time(ticket.expires)),
        format!("manager   {}", ticket.manager.fingerprint()),
        format!("addresses {}", ticket.addresses.join(", ")),
    ];
    output.one(&lines[..], &view.id, &view)
}

//! `grid up`: a manager on this machine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use grid_host::terminated;
use serde::Serialize;
use wasm_grid::view::join_line;
use wasm_grid::{Manager, ManagerAddress, Role};

use crate::command::Common;
use crate::command::cli_error::CliError;
use crate::command::otlp::OtlpArgs;
use crate::command::output::Output;
use crate::command::page::PageArgs;

/// Start a manager on this machine and print the line that joins a host.
#[derive(Debug, clap::Args)]
pub(crate) struct UpArgs {
    /// Where to listen (UDP).
    #[arg(long, env = "GRID_LISTEN", default_value = "0.0.0.0:4747", value_name = "ADDR:PORT")]
    listen: SocketAddr,
    /// The address that hosts shall dial, if it is not the one listened on; may be given again.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    advertise: Vec<String>,
    /// Let hosts in that nobody approved [default: only when listening on loopback alone].
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "true|false")]
    open_join: Option<bool>,
    /// Run workers on this machine, too, so many at once.
    #[arg(long, default_value_t = 0, value_name = "SLOTS")]
    local: u32,
    /// Where the manager keeps its key, its store and its modules [default: `manager` in the home folder].
    #[arg(long, env = "GRID_MANAGER_STATE", value_name = "DIR")]
    state: Option<PathBuf>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    otlp: OtlpArgs,
}

/// How long workers may take to finish when the manager stops.
const GRACE: Duration = Duration::from_secs(10);

/// A manager that was just started.
#[derive(Serialize)]
struct StartedManager<'a> {
    join: &'a str,
    listening: String,
    manager: String,
    /// Where the page is served; null if it is not.
    page: Option<&'a str>,
    ticket: &'a str,
}

impl UpArgs {
    pub(crate) async fn run(&self, common: &Common, output: &Output) -> Result<(), CliError> {
        // Listens before anything starts, so that a signal never kills a manager that runs.
        let terminated = tokio::spawn(terminated());
        tokio::task::yield_now().await;
        let state = self.state.clone().unwrap_or_else(|| common.home.join("manager"));
        let user = grid_disk::load_or_make_key(&common.home.join("user.key"))
            .map_err(|error| CliError::failed("your key cannot be used", error))?;
        let program =
            std::env::current_exe().map_err(|error| CliError::failed("the manager cannot start", error))?;
        let mut builder = Manager::builder()
            .home(&common.home)
            .state(&state)
            .listen(self.listen)
            .local_slots(self.local)
            .local_program(program);
        for address in &self.advertise {
            builder = builder.advertise(address);
        }
        if let Some(open) = self.open_join {
            builder = builder.open_join(open);
        }
        let failed = |error: &dyn std::fmt::Display| CliError::failed("the manager cannot start", error);
        let manager = builder.start().map_err(|error| failed(&error).help(error.help()))?;
        manager.grant(user.public(), Role::Admin).map_err(|error| failed(&error))?;
        let traces = self.otlp.export(&manager, *output);
        let ticket = manager.ticket(Role::Host).await?;
        let listening = manager.listening().unwrap_or(self.listen);
        let key = manager.manager_key();
        let reached = if listening.ip().is_unspecified() {
            SocketAddr::new([127, 0, 0, 1].into(), listening.port())
        } else {
            listening
        };
        // Before the file that commands find the manager by: a manager that does not start must not name itself there.
        let page = self.page.bind(listening, &state, output).await?;
        let page_address = page.as_ref().map(|page| page.address.clone());
        if let Some(page) = page {
            page.serve(&manager);
        }
        let running = format!("{key}@{reached}");
        grid_disk::replace(&common.running_file(), running.as_bytes()).map_err(|error| failed(&error))?;
        let join = join_line(Role::Host, &ticket);
        output.say(&format!("manager {} listens on {listening}", key.fingerprint()));
        if let Some(address) = &page_address {
            output.say(&format!("its page is at {address}; `grid ui` opens it"));
        }
        output.say("on another machine, within a day, type:");
        let started = StartedManager {
            join: &join,
            listening: listening.to_string(),
            manager: key.to_string(),
            page: page_address.as_deref(),
            ticket: &ticket,
        };
        output.one(&join, &ticket, started)?;
        let failed = tokio::select! {
            biased;
            _ = terminated => false,
            () = manager.ended() => true,
        };
        if failed {
            drop(manager);
        } else {
            output.say("stopping");
            manager.stop(GRACE).await;
        }
        traces.finish().await;
        let file = common.running_file();
        // The file may belong to another manager, started since; then it stays.
        if std::fs::read(&file).is_ok_and(|named| named == running.as_bytes()) {
            let _ = std::fs::remove_file(file);
        }
        if failed {
            let cause = "a thread of it ended by a fault of its own, which it wrote above";
            return Err(CliError::failed("the manager serves no more", cause)
                .help("start it again: what it acknowledged is kept; and report what it wrote"));
        }
        Ok(())
    }
}

/// Parses an address for tickets.
fn address(text: &str) -> Result<String, String> {
    match text.parse() {
        Ok(ManagerAddress::Bare { address }) => Ok(address),
        Ok(_) => Err("write HOST:PORT alone, as in 192.0.2.7:4747".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

//! `grid top`: the grid on a terminal, as it changes.

mod data;
mod deed;
mod description;
mod draw;
mod help;
mod known;
mod layout;
mod resource;
mod run;
#[cfg(test)]
mod samples;
mod state;
mod table;
mod terminal;
mod text;
mod thing;

use std::io::IsTerminal;
use std::time::Duration;

use crate::command::Common;
use crate::command::cli_error::CliError;
use crate::command::output::Output;

/// Watch the grid: hosts, jobs, workers, modules and events, on the whole terminal; `?` shows the keys.
#[derive(Debug, clap::Args)]
pub(crate) struct TopArgs {
    /// Change nothing: keys that would are refused.
    #[arg(long)]
    read_only: bool,
    /// Seconds between two looks at the grid, 0.1 or more.
    #[arg(long, default_value = "1", value_name = "SECONDS", value_parser = interval)]
    interval: Duration,
}

impl TopArgs {
    pub(crate) async fn run(&self, common: &Common, output: &Output) -> Result<(), CliError> {
        let instead = "`grid status`, `grid host ls`, `grid job ls` and `grid worker ls` print, with `--json` for scripts";
        if !output.talks() {
            return Err(CliError::usage("`grid top` draws, and prints nothing".to_owned()).help(instead));
        }
        let is_dumb = std::env::var_os("TERM").is_some_and(|kind| kind == "dumb");
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() || is_dumb {
            let what =
                "`grid top` draws on a terminal, and there is none here that it can draw on".to_owned();
            return Err(CliError::usage(what).help(instead));
        }
        run::run(common.client()?, self.interval, self.read_only).await
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "write a number of seconds, as in 0.5".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(interval) if interval >= Duration::from_millis(100) => Ok(interval),
        _ => Err("write 0.1 or more".to_owned()),
    }
}

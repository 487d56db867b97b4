//! `grid status`.

use wasm_grid::view::StatusView;
use wasm_grid::{Reply, Request};

use crate::command::Common;
use crate::command::cli_error::CliError;
use crate::command::output::{Output, counted};

pub(crate) async fn run(common: &Common, output: &Output) -> Result<(), CliError> {
    let Reply::Status(status) = common.client()?.request(Request::Status).await? else {
        return Err(CliError::failed("no status", "the manager answered something else"));
    };
    let seconds = status.uptime_ms / 1000;
    let (manager, slots) = (status.manager.fingerprint(), counted(status.slots.into(), "slot"));
    let up = format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut lines = vec![
        format!("manager     {manager} (grid {}), up {up}", status.software),
        format!("hosts       {} ({} waiting for approval), {slots}", status.hosts, status.pending_hosts),
        format!("workers     {}", status.workers),
        format!("modules     {}", status.modules),
        format!("deployments {}", status.deployments),
    ];
    if let Some(why) = &status.store_trouble {
        lines.push(format!("store       takes nothing: {why}"));
    }
    output.one(&lines[..], &status.manager.to_string(), StatusView::from(&status))
}

//! `grid status`.

use serde_json::json;
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
    let value = json!({
        "manager": status.manager.to_string(),
        "software": status.software,
        "uptime_ms": status.uptime_ms,
        "hosts": status.hosts,
        "pending_hosts": status.pending_hosts,
        "slots": status.slots,
        "workers": status.workers,
        "modules": status.modules,
        "deployments": status.deployments,
        "store_trouble": status.store_trouble,
    });
    output.one(&lines[..], &status.manager.to_string(), value)
}

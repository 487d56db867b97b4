//! `grid status`.

use serde_json::json;
use wasm_grid::{Reply, Request};

use crate::command::Common;
use crate::command::fault::Fault;
use crate::command::output::Output;

pub(crate) async fn run(common: &Common, output: &Output) -> Result<(), Fault> {
    let Reply::Status(status) = common.client()?.request(Request::Status).await? else {
        return Err(Fault::failed("no status", "the manager answered something else"));
    };
    let seconds = status.uptime_ms / 1000;
    let line = format!(
        "manager {} (grid {}), up {}:{:02}:{:02}\nhosts   {} ({} waiting for approval), {} slots\nworkers {}\nmodules {}\norders  {}",
        status.manager.fingerprint(),
        status.software,
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        status.hosts,
        status.pending_hosts,
        status.slots,
        status.workers,
        status.modules,
        status.orders,
    );
    let value = json!({
        "manager": status.manager.to_string(),
        "software": status.software,
        "uptime_ms": status.uptime_ms,
        "hosts": status.hosts,
        "pending_hosts": status.pending_hosts,
        "slots": status.slots,
        "workers": status.workers,
        "modules": status.modules,
        "orders": status.orders,
    });
    output.one(&line, &status.manager.to_string(), value)
}

//! `grid host`.

use wasm_grid::view::HostView;
use wasm_grid::{Client, HostInfo, PublicKey, Reply, Request};

use crate::command::Common;
use crate::command::cli_error::CliError;
use crate::command::output::{Output, Rows, bytes};

/// Hosts: the machines that run workers.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum HostSubcommand {
    /// List the hosts.
    Ls,
    /// Let a host in that waits for approval.
    Approve {
        /// Its name, its fingerprint or its key.
        host: String,
    },
    /// Give a host no more workers, and send it away when those that it has are done.
    Drain {
        /// Its name, its fingerprint or its key.
        host: String,
    },
    /// Send a host away for good: its key is revoked.
    Rm {
        /// Its name, its fingerprint or its key.
        host: String,
    },
}

impl HostSubcommand {
    pub(crate) async fn run(&self, common: &Common, output: &Output) -> Result<(), CliError> {
        let client = common.client()?;
        let hosts = list(&client).await?;
        match self {
            Self::Ls => print(output, hosts),
            Self::Approve { host } => {
                let host = find(&hosts, host)?;
                client.request(Request::HostApprove { host: host.key }).await?;
                output.done(&format!("{} is in", host.capacity.name))
            }
            Self::Drain { host } => {
                let host = find(&hosts, host)?;
                client.request(Request::HostDrain { host: host.key }).await?;
                output
                    .done(&format!("{} takes no more workers, and goes when it has none", host.capacity.name))
            }
            Self::Rm { host } => {
                // A key is used as it is: it may belong to a host that never joined.
                let (key, name) = match host.parse::<PublicKey>() {
                    Ok(key) => (key, key.fingerprint()),
                    Err(_) => find(&hosts, host).map(|host| (host.key, host.capacity.name.clone()))?,
                };
                client.request(Request::HostRemove { host: key }).await?;
                output.done(&format!("{name} is out, and stays out"))
            }
        }
    }
}

/// Lists the hosts of the grid.
pub(crate) async fn list(client: &Client) -> Result<Vec<HostInfo>, CliError> {
    match client.request(Request::HostList).await? {
        Reply::Hosts(hosts) => Ok(hosts),
        _ => Err(CliError::failed("no hosts", "the manager answered something else")),
    }
}

/// True if at least one host has this name, fingerprint or key.
pub(crate) fn is_known(hosts: &[HostInfo], name: &str) -> bool {
    hosts.iter().any(|host| goes_by(host, name))
}

fn goes_by(host: &HostInfo, name: &str) -> bool {
    let key = &host.key;
    host.capacity.name == name || key.to_string() == name || key.fingerprint().starts_with(name)
}

/// The only host with this name, fingerprint or key.
pub(crate) fn find<'a>(hosts: &'a [HostInfo], name: &str) -> Result<&'a HostInfo, CliError> {
    let found: Vec<_> = hosts.iter().filter(|host| goes_by(host, name)).collect();
    match found.as_slice() {
        [host] => Ok(host),
        [] => {
            Err(CliError::not_found(format!("no host is called `{name}`")).help("`grid host ls` lists them"))
        }
        several => Err(CliError::not_found(format!("{} hosts are called `{name}`", several.len()))
            .help("name it by its fingerprint, which `grid host ls` shows")),
    }
}

fn print(output: &Output, hosts: Vec<HostInfo>) -> Result<(), CliError> {
    let row = |host: HostInfo| {
        let view = HostView::from(&host);
        let cells = vec![
            view.name.clone(),
            view.state.to_owned(),
            format!("{}/{}", view.workers, view.slots),
            bytes(view.memory_bytes),
            view.platform.clone(),
            view.labels.join(","),
            view.walls.join(","),
            view.address.clone(),
            bytes(view.module_bytes_sent),
            view.fingerprint.clone(),
        ];
        (cells, view)
    };
    output.rows(Rows {
        headings: &[
            "name",
            "state",
            "workers",
            "memory",
            "platform",
            "labels",
            "walls",
            "address",
            "modules sent",
            "fingerprint",
        ],
        rows: hosts.into_iter().map(row).collect(),
        empty: "no hosts; `grid ticket new` prints the line that joins one",
    })
}

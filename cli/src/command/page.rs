//! The page of a manager: where it is served, and how.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use grid_http::{Certificate, HostNames, HttpBindError, HttpListener};
use grid_web::PageConfig;
use wasm_grid::{Digest, Manager};

use crate::command::cli_error::CliError;
use crate::command::output::Output;

/// Where the page is served.
#[derive(Debug, clap::Args)]
pub(crate) struct PageArgs {
    /// Where to serve the page, the HTTP API and the metrics (TCP); with TLS unless it is a loopback address
    /// [default: 127.0.0.1 and the port above that of --listen].
    #[arg(long, env = "GRID_HTTP", value_name = "ADDR:PORT")]
    http: Option<SocketAddr>,
    /// Serve no page, no HTTP API and no metrics.
    #[arg(long, conflicts_with = "http")]
    no_http: bool,
    /// A name by which browsers reach the page, besides localhost and addresses; may be given again.
    #[arg(long, value_name = "NAME")]
    http_name: Vec<String>,
    /// The certificate of the page, as a PEM file with its chain [default: one that the manager makes itself].
    #[arg(long, value_name = "FILE", requires = "http_key")]
    http_cert: Option<PathBuf>,
    /// The key of that certificate, as a PEM file.
    #[arg(long, value_name = "FILE", requires = "http_cert")]
    http_key: Option<PathBuf>,
}

/// A page that is ready to be served.
pub(crate) struct BoundPage {
    listener: HttpListener,
    config: PageConfig,
    /// `https://HOST:PORT`.
    pub(crate) address: String,
    /// The digest of a certificate that the manager made itself.
    pub(crate) certificate: Option<Digest>,
}

impl PageArgs {
    /// Listens for the page of a manager that listens at `listen` and keeps its state in `state`; `None` if no page is
    /// to be served, or the default address is taken.
    pub(crate) async fn bind(
        &self,
        listen: SocketAddr,
        state: &Path,
        output: &Output,
    ) -> Result<Option<BoundPage>, CliError> {
        if self.no_http {
            return Ok(None);
        }
        let beside = SocketAddr::new(
            Ipv4Addr::LOCALHOST.into(),
            match listen.port() {
                0 => 0,
                port => port.checked_add(1).unwrap_or(0),
            },
        );
        let listener = match HttpListener::bind(self.http.unwrap_or(beside)).await {
            Ok(listener) => listener,
            // Nobody asked for it: the grid works without.
            Err(error) if self.http.is_none() => {
                output.say(&format!("no page is served: {error}; --http ADDR:PORT chooses another address"));
                return Ok(None);
            }
            Err(error) => return Err(unserved(error)),
        };
        let address = listener.address().map_err(|error| CliError::failed("no page can be served", error))?;
        self.secure(listener, address, state).map(Some).map_err(unserved)
    }

    fn secure(
        &self,
        listener: HttpListener,
        address: SocketAddr,
        state: &Path,
    ) -> Result<BoundPage, HttpBindError> {
        let loopback = address.ip().is_loopback();
        let certificate = match (&self.http_cert, &self.http_key) {
            (Some(chain), Some(key)) => Some(Certificate::from_files(chain, key)?),
            _ if loopback => None,
            _ => Some(Certificate::own(&state.join("page.key"), self.own_names(address.ip()))?),
        };
        let digest = certificate.as_ref().and_then(Certificate::own_digest);
        let tls = certificate.is_some();
        let listener = match certificate {
            Some(certificate) => listener.with_tls(certificate)?,
            None => listener,
        };
        let reached = match self.http_name.first() {
            Some(name) => format!("{name}:{}", address.port()),
            None if address.ip().is_unspecified() => format!("localhost:{}", address.port()),
            None => address.to_string(),
        };
        let names = HostNames::new(self.http_name.iter().cloned());
        Ok(BoundPage {
            listener,
            config: PageConfig { names, port: address.port(), tls, loopback },
            address: format!("{}://{reached}", if tls { "https" } else { "http" }),
            certificate: digest,
        })
    }

    /// The names for which the manager makes a certificate.
    fn own_names(&self, address: IpAddr) -> Vec<String> {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        if !address.is_unspecified() {
            names.push(address.to_string());
        }
        names.extend(self.http_name.iter().cloned());
        names
    }
}

fn unserved(error: HttpBindError) -> CliError {
    let help = match &error {
        HttpBindError::Address { .. } => "choose another address with --http, or none with --no-http",
        _ => "name the files of a certificate with --http-cert and --http-key, in PEM",
    };
    CliError::failed("the manager cannot start", error).help(help)
}

impl BoundPage {
    /// Serves the page of a manager for as long as the process lives.
    pub(crate) fn serve(self, manager: &Manager) {
        let access = manager.http_access();
        access.page_is_at(self.address, self.certificate);
        tokio::spawn(self.listener.serve(grid_web::router(access, &self.config)));
    }
}

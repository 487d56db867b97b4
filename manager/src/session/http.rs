//! Access for the page and the HTTP API, which are served by the same process: requests on behalf of whoever has logged in.

use std::sync::Arc;

use bytes::Bytes;
use grid_protocol::activity::GridEvent;
use grid_protocol::client::{Denial, Reply, Request};
use grid_protocol::digest::Digest;
use grid_protocol::host::JoinRefusal;
use grid_protocol::job::{BlobRef, JobId};
use grid_protocol::key::SecretKey;
use grid_protocol::role::{Role, Roles};
use grid_protocol::ticket::Ticket;
use grid_protocol::token::Token;
use tokio::sync::watch;

use crate::api::{self, activity};
use crate::asker::{Asker, Via};
use crate::audit::Deed;
use crate::catalog::CatalogError;
use crate::context::Context;
use crate::session::local::stopped;

/// Answers requests of the page and the HTTP API. Clones share one access.
#[derive(Clone)]
pub struct HttpAccess {
    context: Arc<Context>,
    /// Closed when the manager has stopped.
    serving: watch::Receiver<()>,
}

impl HttpAccess {
    pub(crate) fn new(context: Arc<Context>, serving: watch::Receiver<()>) -> Self {
        Self { context, serving }
    }

    /// Says where the page is served, for the links that log people in: `https://HOST:PORT`, and the digest of a
    /// certificate that the manager made itself.
    pub fn page_is_at(&self, address: String, certificate: Option<Digest>) {
        self.context.page_links.serve_at(address, certificate);
    }

    /// Makes a request for `asker`; `body` is that of an upload or of a blob.
    pub async fn request(&self, asker: Asker, request: Request, body: Option<Bytes>) -> Reply {
        let mut serving = self.serving.clone();
        tokio::select! {
            biased;
            _ = serving.changed() => Reply::Denied(stopped()),
            reply = api::handle(&self.context, asker, request, body) => reply,
        }
    }

    /// Reads a blob of a job.
    ///
    /// # Errors
    ///
    /// The [`Denial`]: the job does not exist, is somebody else's or does not refer to the blob, or the blob cannot be
    /// read.
    pub async fn fetch(&self, asker: Asker, job: JobId, payload: BlobRef) -> Result<Bytes, Denial> {
        api::jobs::fetch(&self.context, asker, job, payload).await
    }

    /// The roles that `asker` has now.
    pub fn roles(&self, asker: Asker) -> Roles {
        asker.roles(&self.context)
    }

    /// Who the code of a link logs in, from this address; it does so once.
    pub fn redeem_code(&self, code: &str, from: &str) -> Option<Asker> {
        let Some(asker) = self.context.page_links.redeem(code, self.context.now()) else {
            self.context.activity.metrics.refused("page-code");
            return None;
        };
        let asker = Asker { via: Via::Page, ..asker };
        self.note_login(asker, from);
        Some(asker)
    }

    /// Notes a login to the page, by somebody who says to be at `from`.
    fn note_login(&self, asker: Asker, from: &str) {
        self.context.activity.note(GridEvent::Login { key: asker.key, from: from.to_owned() });
        self.context.audit.record(Deed {
            unix: self.context.unix_now(),
            key: asker.key,
            via: asker.via.label(),
            action: "login",
            subject: from.to_owned(),
            refused: None,
        });
    }

    /// Who a ticket logs in: a key of its own, which has the ticket's role from now on, and which nobody can sign with.
    ///
    /// # Errors
    ///
    /// [`JoinRefusal`]: the ticket is good for nothing, was used already, or is for a host.
    pub async fn redeem_ticket(&self, ticket: &Ticket, from: &str) -> Result<Asker, JoinRefusal> {
        let fault = |error: CatalogError| JoinRefusal::Malformed { why: error.to_string() };
        let seed = self.context.config.machine.random().map_err(|error| fault(error.into()))?;
        let key = SecretKey::from_seed(&seed).public();
        let proof = ticket.prove(&key, &[0; 32]);
        let now = self.context.unix_now();
        let redeemed = self
            .context
            .catalog(move |catalog| {
                if catalog.ticket_role(&proof.id) == Some(Role::Host) {
                    return Ok(Err(JoinRefusal::NotAllowed { key, role: Role::Viewer }));
                }
                catalog.redeem(&proof, key, &[0; 32], now)
            })
            .await
            .map_err(fault)?;
        match redeemed {
            Ok(_) => {
                let asker = Asker { key, at_most: Roles::ALL, via: Via::Page };
                self.note_login(asker, from);
                Ok(asker)
            }
            Err(refusal) => {
                self.context.activity.metrics.refused(refusal.label());
                Err(refusal)
            }
        }
    }

    /// Who a token acts for; `None` if it was deleted, has expired or never was.
    pub fn token(&self, text: &str) -> Option<Asker> {
        let id = Token::parse(text).ok()?.id();
        let catalog = self.context.catalog_now();
        let token = catalog.token(&id, self.context.unix_now())?;
        let at_most = if token.role == Role::Admin { Roles::ALL } else { Roles::of(token.role) };
        Some(Asker { key: token.owner, at_most, via: Via::Token })
    }

    /// All metrics in the text format of OpenMetrics.
    pub fn metrics(&self) -> String {
        let snapshot = activity::snapshot(&self.context);
        // Writing to a string does not fail.
        self.context.activity.metrics.text(&snapshot).unwrap_or_default()
    }

    /// Why the manager is not ready to take tasks; `None` if it is.
    pub fn trouble(&self) -> Option<String> {
        if self.serving.has_changed().is_err() {
            return Some("the manager has stopped".to_owned());
        }
        self.context.cluster().coordinator.trouble().map(str::to_owned)
    }
}

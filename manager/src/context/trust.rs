//! Changes of trust, put into force everywhere: connections, workers, deployments, jobs, and what hosts trust.
//!
//! Roles are changed only through [`Context::with_catalog`], which calls [`apply`] before the catalog is unlocked,
//! so nobody sees the change earlier. Nothing else announces it.

use grid_protocol::host::HostCommand;
use grid_protocol::time::Moment;
use grid_protocol::worker::End;
use grid_scheduler::HostChange;

use crate::catalog::Catalog;
use crate::catalog::banned::Banned;
use crate::cluster::Cluster;
use crate::cluster::connection::Ending;
use crate::context::Context;

/// Puts the catalog's present trust into force. The caller holds the catalog, so that changes are announced in order.
pub(crate) fn apply(context: &Context, catalog: &Catalog) {
    let banned = Banned::new(catalog);
    let (trusted, revoked) = catalog.publishers();
    context.change(|cluster, now| {
        cluster.ban(banned, now);
        // A host that refused a job because of its publisher may trust the publisher now.
        cluster.coordinator.jobs.forget_refusals(None);
        let hosts: Vec<_> = cluster.sessions.keys().copied().collect();
        for host in hosts {
            cluster.command(
                host,
                &HostCommand::Publishers { trusted: trusted.clone(), revoked: revoked.clone() },
            );
        }
    });
}

impl Cluster {
    /// Ends the connections of revoked keys, and the workers and jobs that are theirs or run their modules.
    fn ban(&mut self, banned: Banned, now: Moment) {
        self.pending.retain(|key, waiting| {
            let out = banned.has(key);
            if out {
                waiting.conn.end(Ending::Revoked);
            }
            !out
        });
        for conn in self.clients.values().filter(|conn| banned.has(conn.peer())) {
            conn.end(Ending::Revoked);
        }
        let hosts: Vec<_> = self.sessions.keys().filter(|key| banned.has(key)).copied().collect();
        for key in hosts {
            if let Some(conn) = self.sessions.get_mut(&key).and_then(|session| session.conn.take()) {
                conn.end(Ending::Revoked);
            }
            self.handle_host(now, key, HostChange::Gone { end: &End::HostRemoved });
            self.carry_out(now);
            if let Some(session) = self.sessions.remove(&key) {
                self.router.queues.remove(session.queue);
            }
        }
        self.scheduler.withdraw(|spec| banned.on(&spec.owner.key, &spec.module).is_some());
        self.coordinator.withdraw(now, &banned);
        self.banned = banned;
    }
}

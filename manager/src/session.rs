//! Sessions: each serves one connection, from the handshake to its end.

pub(crate) mod client;
pub(crate) mod handshake;
pub(crate) mod host;
pub(crate) mod http;
pub(crate) mod local;
mod requests;
mod transfers;

use grid_net::{Conn, code};

use crate::cluster::connection::{ConnectionHandle, Ending};

/// The handle by which the cluster ends a connection.
fn handle(conn: &Conn) -> ConnectionHandle {
    let ended = conn.clone();
    ConnectionHandle::new(conn.peer(), move |why| match why {
        Ending::Revoked => ended.close(code::REVOKED, "the key was revoked"),
        Ending::Replaced(why) => ended.close(code::REPLACED, why),
        Ending::Protocol(why) => ended.close(code::PROTOCOL, why),
        Ending::Shutdown => ended.close(code::SHUTDOWN, "the manager shuts down"),
    })
}

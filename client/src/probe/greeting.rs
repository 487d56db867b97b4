//! Greeting a manager, to hear what it says of itself.

use std::time::{Duration, SystemTime};

use grid_net::{Conn, FrameReader, StreamError};
use grid_protocol::client::{ClientGreeting, ClientHello, HostInfo, Reply, Request};
use grid_protocol::extensions::Extensions;
use grid_protocol::host::PROTOCOL_VERSION;
use grid_protocol::limits::CONTROL_FRAME_BYTES_MAX;
use grid_protocol::wire::Wire;
use tokio::time::timeout;

use crate::connection::ask;
use crate::probe::{ClockReading, GreetingError, ManagerGreeting};

/// Time limit of the list of hosts.
const HOSTS_TIME_MAX: Duration = Duration::from_secs(2);

pub(super) fn broken(why: impl ToString) -> GreetingError {
    GreetingError::Broken(why.to_string())
}

/// Says hello without a ticket, and asks for the hosts.
pub(super) async fn greeting(conn: &Conn) -> Result<ManagerGreeting, GreetingError> {
    let (mut send, recv) = conn.open_bi().await.map_err(broken)?;
    send.go_first();
    let extensions = Extensions::default().with_software(env!("CARGO_PKG_VERSION"));
    let hello = ClientHello { version: PROTOCOL_VERSION, proof: None, attach: None, extensions };
    let before = unix_time();
    send.write_frame(&hello.to_body(), CONTROL_FRAME_BYTES_MAX).await.map_err(broken)?;
    let mut reader = FrameReader::new(recv, CONTROL_FRAME_BYTES_MAX);
    let frame = reader.next().await.map_err(broken)?.ok_or_else(|| broken("the manager said nothing"))?;
    let after = unix_time();
    match ClientGreeting::from_body(&frame) {
        Ok(ClientGreeting::Welcome { roles, extensions, .. }) => {
            let clock = extensions.unix_time().map(|unix_s| ClockReading {
                // It told whole seconds, of which half of one is past on average.
                manager: Duration::from_secs(unix_s).saturating_add(Duration::from_millis(500)),
                here: before.saturating_add(after.saturating_sub(before) / 2),
            });
            let hosts = hosts(conn).await;
            Ok(ManagerGreeting { roles, software: extensions.software(), clock, hosts })
        }
        Ok(ClientGreeting::Refused(refusal)) => Err(GreetingError::Refused(refusal)),
        Ok(_) | Err(_) => Err(broken("the manager's greeting makes no sense")),
    }
}

fn unix_time() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

async fn hosts(conn: &Conn) -> Result<Vec<HostInfo>, String> {
    let frame = Request::HostList.to_body();
    let asked = timeout(HOSTS_TIME_MAX, ask(conn, &frame, None)).await;
    match asked.unwrap_or_else(|_| Err(StreamError::Broken { reason: "no answer came".to_owned() })) {
        Ok((Reply::Hosts(hosts), _)) => Ok(hosts),
        Ok((Reply::Denied(denial), _)) => Err(denial.why),
        Ok(_) => Err("the manager answered something else".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

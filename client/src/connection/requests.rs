//! Requests over a connection, each on a stream of its own.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use grid_net::{Conn, FrameReader, StreamError};
use grid_protocol::client::{Denial, DenialCode, Reply, Request};
use grid_protocol::limits::{CONTROL_FRAME_BYTES_MAX, MESSAGE_BYTES_MAX};
use grid_protocol::pages::PAGES_MAX;
use grid_protocol::wire::Wire;

use crate::access::Access;
use crate::connection::Connection;

/// How long a request may take, waiting for a connection included and the transfer of its bytes not.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);

impl Connection {
    /// Sends a request and the bytes that follow it; returns the reply and the bytes that follow that.
    pub(super) async fn exchange(&self, request: Request, body: Option<Bytes>) -> (Reply, Bytes) {
        let frame = request.to_body();
        if frame.len() > CONTROL_FRAME_BYTES_MAX {
            return (Reply::Denied(too_long(frame.len())), Bytes::new());
        }
        let asked = async {
            loop {
                let mut conns = self.shared.conn.subscribe();
                let decided = |conn: &Option<Conn>| conn.is_some() || self.sent_away().is_some();
                let Ok(conn) = conns.wait_for(decided).await.map(|conn| conn.clone()) else {
                    break;
                };
                let Some(conn) = conn else { break };
                let frame = match (&request, self.shared.knows_traces.load(Relaxed)) {
                    (Request::JobTraces { .. }, false) => {
                        return Ok((Reply::Denied(no_traces()), Bytes::new()));
                    }
                    (Request::JobNewTraced { job, spec, .. }, false) => {
                        &Request::JobNew { job: *job, spec: spec.clone() }.to_body()
                    }
                    _ => &frame,
                };
                match ask(&conn, frame, body.as_ref()).await {
                    Ok(reply) => return Ok(reply),
                    // The manager may have carried it out: only what is safe to repeat is repeated.
                    Err(error) if !is_question(&request) => return Err(error.to_string()),
                    // The stream broke but the connection did not: the caller decides what to do.
                    Err(error) if conn.close_reason().is_none() => return Err(error.to_string()),
                    Err(_) => {
                        conn.closed().await;
                        // Lets the task that keeps the connection up notice the loss, too.
                        tokio::task::yield_now().await;
                    }
                }
            }
            Err("the client was stopped".to_owned())
        };
        let most = REQUEST_TIME_MAX + transfer_time(&request);
        let answered = tokio::time::timeout(most, asked).await;
        let answered = answered.unwrap_or_else(|_| Err(format!("no answer for {most:?}")));
        answered.unwrap_or_else(|why| {
            if let Some(denial) = self.sent_away() {
                return (Reply::Denied(denial.clone()), Bytes::new());
            }
            let help = "check that the manager runs, and ask again".to_owned();
            let denied = Reply::Denied(Denial {
                code: DenialCode::ManagerFault,
                what: "the manager did not answer".to_owned(),
                why,
                help,
            });
            (denied, Bytes::new())
        })
    }
}

/// The manager is older than traces, and would not know what is asked.
fn no_traces() -> Denial {
    Denial {
        code: DenialCode::NotFound,
        what: "traces".to_owned(),
        why: "the manager is older than this program, and traces nothing".to_owned(),
        help: "upgrade it".to_owned(),
    }
}

fn too_long(length: usize) -> Denial {
    Denial {
        code: DenialCode::BadRequest,
        what: "request".to_owned(),
        why: format!("it has {length} bytes; {CONTROL_FRAME_BYTES_MAX} is the limit"),
        help: "ask for less at once".to_owned(),
    }
}

fn is_question(request: &Request) -> bool {
    match request {
        // Repeated, they would find another state: more dead tasks, or no job.
        Request::JobRetry { .. } | Request::JobForget { .. } => false,
        Request::Status
        | Request::TicketList
        | Request::HostList
        | Request::ModuleList
        | Request::ModuleSerial { .. }
        | Request::ModuleUpload { .. }
        | Request::WorkerList { .. }
        | Request::WorkerLogs { .. }
        | Request::WorkerPing { .. }
        | Request::DeploymentList
        | Request::KeyList
        | Request::PayloadKeep { .. }
        | Request::PayloadFetch { .. } => true,
        // The client numbers jobs and tasks, so that repeating these changes nothing.
        other => other.is_about_jobs(),
    }
}

/// How long the bytes that follow a request or its reply may take, in addition.
fn transfer_time(request: &Request) -> Duration {
    let length = match request {
        // The manager answers when there is an outcome, or after as long as it was asked to wait.
        Request::JobResults { wait_ms, .. } => return Duration::from_millis(u64::from(*wait_ms)),
        Request::ModuleUpload { length, .. } => *length,
        Request::PayloadKeep { payload, .. } | Request::PayloadFetch { payload, .. } => payload.length,
        Request::MessageSend { length, .. } => *length,
        _ => 0,
    };
    Duration::from_secs(length / SLOW_BYTES_A_SECOND)
}

/// The slowest line that a transfer is given time for.
const SLOW_BYTES_A_SECOND: u64 = 64 << 10;

/// Sends an encoded request and the bytes that follow it, on a stream of its own; returns the reply and the bytes that follow that.
pub(crate) async fn ask(
    conn: &Conn,
    request: &[u8],
    body: Option<&Bytes>,
) -> Result<(Reply, Bytes), StreamError> {
    let (mut send, mut recv) = conn.open_bi().await?;
    let asking = async {
        send.write_frame(request, CONTROL_FRAME_BYTES_MAX).await?;
        if let Some(body) = body {
            send.write_chunk(body.clone()).await?;
        }
        send.finish().await;
        Ok::<_, StreamError>(())
    };
    // A manager that refuses an upload answers before it has read all of it.
    let (_, reply) = tokio::join!(asking, recv.read_frame(CONTROL_FRAME_BYTES_MAX));
    let reply = reply?;
    let broken = |error: grid_protocol::DecodeError| StreamError::Broken { reason: error.to_string() };
    let mut reply = Reply::from_body(&reply).map_err(broken)?;
    if reply.is_list() {
        let mut pages = FrameReader::new(recv, CONTROL_FRAME_BYTES_MAX);
        let mut count = 1;
        while let Some(page) = pages.next().await? {
            count += 1;
            let page = Reply::from_body(&page).map_err(broken)?;
            if count > PAGES_MAX || !reply.append(page) {
                return Err(StreamError::Broken { reason: "the pages of a list make no sense".to_owned() });
            }
        }
        return Ok((reply, Bytes::new()));
    }
    let length = if let Reply::Payload { length } = reply { length } else { 0 };
    let bounded = usize::try_from(length).ok().filter(|length| *length <= MESSAGE_BYTES_MAX);
    let bounded = bounded.ok_or(StreamError::Truncated)?;
    Ok((reply, recv.read_body(bounded).await?))
}

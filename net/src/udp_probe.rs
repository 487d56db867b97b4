//! Asking over UDP whether anything listens at an address, apart from any connection: it tells a port that is closed from
//! one that is silent, which QUIC does not.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

/// What came back from an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UdpAnswer {
    /// A datagram: something listens there, and datagrams get through both ways.
    Answered,
    /// Word that nothing listens there (ICMP, port unreachable); some firewalls send it, too.
    Refused,
    /// Nothing.
    Nothing,
}

/// Pause before the question is asked again, in case a datagram was lost; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Length of the question: a server of QUIC passes over shorter ones, so that nobody can use it to flood others.
const QUESTION_BYTES: usize = 1200;

/// The beginning of a datagram with a version of QUIC that does not exist: whoever speaks QUIC answers with the versions that
/// it knows, and keeps nothing (RFC 9000, sections 6 and 15). A flag byte, the version, and two ids of 8 bytes, each with its
/// length.
const HEAD: [u8; 23] = *b"\xc0\x0a\x0a\x0a\x0a\x08question\x08who-asks";

/// Asks at an address, again and again for as long as `patience`, whether anything listens there.
///
/// # Errors
///
/// The system's, if datagrams do not get there: there is no way to that network or machine, or a filter of this machine forbids
/// it.
pub async fn ask_over_udp(address: SocketAddr, patience: Duration) -> io::Result<UdpAnswer> {
    let any =
        if address.is_ipv6() { SocketAddr::from(([0u16; 8], 0)) } else { SocketAddr::from(([0u8; 4], 0)) };
    let socket = UdpSocket::bind(any).await?;
    // A socket that is connected is told what comes back by ICMP.
    socket.connect(address).await?;
    let mut question = HEAD.to_vec();
    question.resize(QUESTION_BYTES, 0);
    let (until, mut pause) = (Instant::now() + patience, FIRST_PAUSE);
    let mut answer = [0; 64];
    while Instant::now() < until {
        match socket.send(&question).await {
            // The word of the network on what was sent before.
            Err(error) if is_refusal(&error) => return Ok(UdpAnswer::Refused),
            sent => sent.map(drop)?,
        }
        match timeout_at(until.min(Instant::now() + pause), socket.recv(&mut answer)).await {
            Err(_) => pause *= 2,
            Ok(Ok(_)) => return Ok(UdpAnswer::Answered),
            Ok(Err(error)) if is_refusal(&error) => return Ok(UdpAnswer::Refused),
            Ok(Err(error)) => return Err(error),
        }
    }
    Ok(UdpAnswer::Nothing)
}

fn is_refusal(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Endpoint, Timing};
    use grid_protocol::key::SecretKey;

    #[tokio::test]
    async fn an_endpoint_answers_a_closed_port_refuses_and_a_deaf_one_says_nothing() {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let key = SecretKey::from_seed(&[7; 32]);
        let endpoint = Endpoint::serve(loopback, &key, Timing::default()).unwrap();
        let patience = Duration::from_secs(20);
        let (address, asked) = (endpoint.local_address().unwrap(), endpoint.clone());
        let serving = tokio::spawn(async move { asked.accept().await.is_some() });
        assert_eq!(ask_over_udp(address, patience).await.unwrap(), UdpAnswer::Answered);
        assert!(!serving.is_finished(), "a question is no newcomer");
        let deaf = std::net::UdpSocket::bind(loopback).unwrap();
        let silent = ask_over_udp(deaf.local_addr().unwrap(), Duration::from_millis(50)).await;
        assert_eq!(silent.unwrap(), UdpAnswer::Nothing);
        let closed = deaf.local_addr().unwrap();
        drop(deaf);
        assert_eq!(ask_over_udp(closed, patience).await.unwrap(), UdpAnswer::Refused);
    }
}

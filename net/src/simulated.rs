//! Random numbers of QUIC and TLS from a seed, for a simulated network, so that a run can be repeated
//! exactly.
//!
//! Equal lengths and times are not enough: to the server, a late packet of an ended connection is a packet of
//! a new one, and whether its encrypted header looks valid depends on every byte. So keys, nonces and
//! connection ids come from the seed, too. The state is per thread; a simulation runs on one thread.

use std::cell::RefCell;
use std::time::Duration;

use curve25519_dalek::MontgomeryPoint;
use grid_protocol::digest::Digest;
use quinn_proto::{ConnectionId, ConnectionIdGenerator};
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret, SupportedKxGroup,
};
use rustls::{Error, NamedGroup, PeerMisbehaved};

thread_local! {
    static SEEDED: RefCell<Digest> = RefCell::new(Digest::of(&[]));
}

/// Restarts the sequence from a seed.
pub(crate) fn begin(seed: [u8; 32]) {
    SEEDED.set(Digest::of(&seed));
}

/// The next 32 bytes of the sequence.
fn draw() -> [u8; 32] {
    SEEDED.with_borrow_mut(|state| {
        *state = Digest::of(state.as_bytes());
        *state.as_bytes()
    })
}

/// The usual TLS algorithms, with secrets from the seed.
pub(crate) fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![&SeededX25519],
        secure_random: &Seeded,
        ..rustls::crypto::ring::default_provider()
    }
}

/// Connection ids from the seed.
#[derive(Debug)]
pub(crate) struct SeededIds;

impl ConnectionIdGenerator for SeededIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let [a, b, c, d, e, f, g, h, ..] = draw();
        ConnectionId::new(&[a, b, c, d, e, f, g, h])
    }

    fn cid_len(&self) -> usize {
        8
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[derive(Debug)]
struct Seeded;

impl SecureRandom for Seeded {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        for chunk in bytes.chunks_mut(32) {
            for (byte, drawn) in chunk.iter_mut().zip(draw()) {
                *byte = drawn;
            }
        }
        Ok(())
    }
}

/// X25519 (RFC 7748) with secrets from the seed.
#[derive(Debug)]
struct SeededX25519;

impl SupportedKxGroup for SeededX25519 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let secret = draw();
        let public = MontgomeryPoint::mul_base_clamped(secret).to_bytes();
        Ok(Box::new(Exchange { secret, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

struct Exchange {
    secret: [u8; 32],
    public: [u8; 32],
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let peer = peer.try_into().map_err(|_| PeerMisbehaved::InvalidKeyShare)?;
        Ok(MontgomeryPoint(peer).mul_clamped(self.secret).as_bytes().as_slice().into())
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

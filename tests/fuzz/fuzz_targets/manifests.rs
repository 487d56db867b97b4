//! Papers: manifests, tickets, keys and addresses, whatever somebody pastes or serves.
#![no_main]

use grid_protocol::key::PublicKey;
use grid_protocol::manifest::{SignedManifest, Trust};
use grid_protocol::ticket::{ManagerAddress, Ticket};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(signed) = SignedManifest::from_bytes(bytes) {
        assert!(Trust::default().admit_manifest(&signed, 0).is_err(), "nobody is trusted");
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(ticket) = text.parse::<Ticket>() {
            assert_eq!(ticket.to_string().parse::<Ticket>().as_ref(), Ok(&ticket));
        }
        let _ = text.parse::<PublicKey>();
        let _ = text.parse::<ManagerAddress>();
    }
});

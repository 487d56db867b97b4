//! Sessions: two honest ends over a path that loses, repeats and cuts never lose or double a note; a dishonest end is
//! found out and nothing panics.
#![no_main]

use grid_protocol::control::{HostEnd, ManagerEnd};
use grid_protocol::host::HostEvent;

libfuzzer_sys::fuzz_target!(|steps: Vec<(u8, Vec<u8>)>| {
    let (mut host, mut manager) = (HostEnd::default(), ManagerEnd::default());
    let (mut sent, mut taken) = (0u64, 0u64);
    for (step, bytes) in steps {
        match step % 5 {
            0 => {
                sent += 1;
                host.send(&HostEvent::ModuleReady {
                    module: grid_protocol::digest::Digest::from_bytes([0; 32]),
                    fetched_bytes: sent,
                    compile_us: None,
                });
            }
            1 => {
                if let Some(frame) = host.poll_transmit() {
                    if let Some(report) = manager.handle_frame(&frame).expect("an honest end is believed") {
                        taken += 1;
                        assert!(
                            matches!(report, HostEvent::ModuleReady { fetched_bytes, .. } if fetched_bytes == taken)
                        );
                    }
                }
            }
            2 => {
                if let Some(frame) = manager.poll_transmit() {
                    host.handle_frame(&frame).expect("an honest end is believed");
                }
            }
            3 => {
                // The connection is cut: what was on its way is gone, and both resume.
                let (theirs, ours) = (manager.position(), host.position());
                host.resume(theirs).expect("an honest end is believed");
                manager.resume(ours).expect("an honest end is believed");
            }
            _ => {
                let _ = ManagerEnd::default().handle_frame(&bytes);
                let _ = HostEnd::default().handle_frame(&bytes);
            }
        }
    }
    assert!(taken <= sent);
});

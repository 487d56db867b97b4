use std::sync::atomic::{AtomicBool, Ordering};

use grid_disk::{Machine, SimulatedMachine};
use tokio::time::timeout;

use super::*;

/// A machine whose clock panics when it is read, once the test has set the flag.
#[derive(Debug, Default)]
struct Breaking(AtomicBool);

impl SimulatedMachine for Breaking {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }

    fn unix_time(&self) -> Duration {
        Duration::from_secs(1_800_000_000)
    }

    fn pace(&self) -> f64 {
        assert!(!self.0.load(Ordering::SeqCst), "the clock is broken, on purpose");
        1.0
    }
}

#[tokio::test]
async fn a_manager_whose_thread_panics_is_known_to_serve_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Breaking::default());
    let machine = Machine::simulated(clock.clone());
    let manager =
        ManagerServer::start(ManagerConfig { machine, ..ManagerConfig::new(folder.path().to_path_buf()) })
            .unwrap();
    assert!(timeout(Duration::from_millis(50), manager.ended()).await.is_err(), "it serves");
    clock.0.store(true, Ordering::SeqCst);
    timeout(Duration::from_secs(20), manager.ended()).await.expect("its timer reads the clock every second");
    drop(manager);
}

#[tokio::test]
async fn a_manager_that_cannot_start_says_why_to_whoever_starts_it_on_a_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let listen = Some(taken.local_addr().unwrap());
    let refused =
        ManagerServer::start(ManagerConfig { listen, ..ManagerConfig::new(folder.path().to_path_buf()) });
    assert!(matches!(refused, Err(StartError::Bind(_))));
    // The failed start must have released the store.
    drop(ManagerServer::start(ManagerConfig::new(folder.path().to_path_buf())).unwrap());
}

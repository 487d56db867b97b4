use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use grid_disk::{Machine, SimulatedMachine};
use grid_protocol::digest::Digest;
use grid_protocol::job::{GiveUp, JobId, JobSpec, Payload};
use grid_protocol::submission::EncodedPayload;
use tokio::time::{sleep, timeout};

use super::*;
use crate::jobs::inputs::InputReader;
use crate::store::{Change, FileStore, Store, StoreError, Table};

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

/// A store that refuses every change while the test says so.
#[derive(Debug)]
struct Refusing {
    file: FileStore,
    refuses: AtomicBool,
}

impl Store for Refusing {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.file.get(table, key)
    }

    fn first(&self, table: Table, range: Range<&[u8]>) -> Result<Option<(Vec<u8>, Bytes)>, StoreError> {
        self.file.first(table, range)
    }

    fn scan(
        &self,
        table: Table,
        range: Range<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        self.file.scan(table, range, visit)
    }

    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(StoreError { path: "refusing".into(), reason: "on purpose".to_owned() });
        }
        self.file.commit(changes)
    }
}

#[tokio::test]
async fn a_manager_that_stops_while_its_store_refuses_writes_what_was_refused_before_what_came_later() {
    const JOB: JobId = JobId([7; 16]);
    let folder = tempfile::tempdir().unwrap();
    let file = FileStore::open(&folder.path().join("store.redb")).unwrap();
    let store = Arc::new(Refusing { file, refuses: AtomicBool::new(false) });
    let config =
        ManagerConfig { store: Some(store.clone()), ..ManagerConfig::new(folder.path().join("state")) };
    let manager = ManagerServer::start(config).unwrap();
    let spec = JobSpec {
        name: "stops".into(),
        module: Digest::from_bytes([1; 32]),
        arguments: Vec::new(),
        labels: Vec::new(),
        memory_bytes: 0,
        priority: 0,
        timeout_ms: 1000,
        attempts_max: 3,
        give_up: GiveUp::Never,
    };
    store.refuses.store(true, Ordering::SeqCst);
    let owner = manager.key();
    let input = |byte| [EncodedPayload::of(Payload::Here(vec![byte].into()))];
    manager.context.change(|cluster, _| {
        cluster.coordinator.add(JOB, owner, spec, 0).unwrap();
        cluster.coordinator.submit(JOB, 0, &input(0)).unwrap();
        cluster.coordinator.wake.notify_one();
    });
    while manager.context.cluster().coordinator.trouble().is_none() {
        sleep(Duration::from_millis(1)).await;
    }
    manager.context.change(|cluster, _| cluster.coordinator.submit(JOB, 1, &input(1)).unwrap());
    store.refuses.store(false, Ordering::SeqCst);
    drop(manager);
    let kept = JobStore::new(store);
    let recovered = kept.recover(2, Moment::ZERO).unwrap();
    assert_eq!(recovered.jobs.jobs()[&JOB].submitted(), 2);
    let inputs = InputReader::new(&kept).read(JOB, &[0, 1]).unwrap();
    assert!(inputs.len() == 2 && inputs.iter().all(Option::is_some), "both inputs are on disk");
}

#[test]
fn a_manager_does_not_start_with_a_job_whose_record_makes_no_sense() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(FileStore::open(&folder.path().join("store.redb")).unwrap());
    store.commit(&[Change::put(Table::Job, [7; 16], *b"from a newer version")]).unwrap();
    let config =
        ManagerConfig { store: Some(store.clone()), ..ManagerConfig::new(folder.path().join("state")) };
    let refused = ManagerServer::start(config).map(drop);
    assert!(matches!(refused, Err(StartError::Catalog(CatalogError::Record { table: Table::Job }))));
    assert!(store.get(Table::Job, &[7; 16]).unwrap().is_some(), "nothing was deleted");
}

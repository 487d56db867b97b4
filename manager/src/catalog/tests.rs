use grid_protocol::client::{Channel, Placement, SpawnRequest};
use grid_protocol::worker::{LimitsAsked, Restart};

use super::*;

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 24 * 3600;

fn key(seed: u8) -> PublicKey {
    SecretKey::from_seed(&[seed; 32]).public()
}

fn ticket(catalog: &mut Catalog, now: u64) -> Ticket {
    catalog.make_ticket(Role::Host, vec!["192.0.2.1:1".to_owned()], now, DAY).unwrap()
}

fn bring(catalog: &mut Catalog, ticket: &Ticket, newcomer: PublicKey, now: u64) -> Result<(), JoinRefusal> {
    let exporter = [9; 32];
    catalog.redeem(&ticket.prove(&newcomer, &exporter), newcomer, &exporter, now).unwrap()
}

#[test]
fn a_clock_that_was_wrong_once_takes_nobodys_right_away() {
    let folder = tempfile::tempdir().unwrap();
    let mut catalog = Catalog::open(folder.path(), None).unwrap();
    // The clock says 1970 when a host joins; then it is right; then decades ahead, for one ticket; then right again.
    let early = ticket(&mut catalog, 5);
    assert_eq!(bring(&mut catalog, &early, key(1), 6), Ok(()));
    let unused = ticket(&mut catalog, NOW);
    ticket(&mut catalog, 2 * NOW);
    assert_eq!(bring(&mut catalog, &unused, key(2), NOW + 1), Ok(()), "a ticket of a day, after a second");
    drop(catalog);
    let catalog = Catalog::open(folder.path(), None).unwrap();
    for host in [key(1), key(2)] {
        assert!(catalog.roles(&host).has(Role::Host));
    }
    assert!(
        catalog.tickets(NOW + 2).iter().all(|ticket| ticket.expires > NOW),
        "those that are past are not shown"
    );
}

#[test]
fn tickets_that_are_past_make_room_for_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let mut catalog = Catalog::open(folder.path(), None).unwrap();
    for number in 0..TICKETS_MAX as u64 {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_le_bytes());
        let ticket = Ticket::new(Vec::new(), key(1), Role::Host, NOW + number, id, [1; 32]);
        catalog.tickets.insert(id, ticket.record());
    }
    let full = catalog.make_ticket(Role::Host, Vec::new(), NOW - 1, DAY);
    assert!(matches!(full, Err(CatalogError::Full { what: "tickets", .. })), "none is past");
    ticket(&mut catalog, NOW + 10);
    assert_eq!(catalog.tickets.len(), TICKETS_MAX);
}

#[test]
fn a_revocation_removes_the_deployments_of_the_key_in_the_same_commit() {
    let folder = tempfile::tempdir().unwrap();
    let mut catalog = Catalog::open(folder.path(), None).unwrap();
    for (owner, channel) in [(key(1), 1), (key(2), 2)] {
        let request = SpawnRequest {
            channel: Channel(channel),
            module: Digest::of(b"module"),
            arguments: Vec::new(),
            place: Placement::EverySlot,
            labels: Vec::new(),
            memory_bytes: 0,
            limits: LimitsAsked::default(),
            restart: Restart::Never,
            ttl_ms: 0,
        };
        catalog.grant(owner, Role::Client).unwrap();
        catalog.add_deployment(DeploymentInfo { id: DeploymentId(0), request, owner, workers: 0 }).unwrap();
    }
    catalog.revoke(key(1)).unwrap();
    drop(catalog);
    let catalog = Catalog::open(folder.path(), None).unwrap();
    let owners: Vec<_> = catalog.deployments().values().map(|deployment| deployment.owner).collect();
    assert_eq!(owners, [key(2)]);
}

#[test]
fn a_first_start_that_went_no_further_than_its_key_is_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    drop(FileStore::open(&folder.path().join("manager.redb")).unwrap());
    drop(Catalog::open(folder.path(), None).unwrap());
    let again = tempfile::tempdir().unwrap();
    drop(FileStore::open(&again.path().join("manager.redb")).unwrap());
    grid_disk::load_or_make_key(&again.path().join("manager.key")).unwrap();
    drop(Catalog::open(again.path(), None).unwrap());
}

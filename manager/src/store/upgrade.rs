//! Upgrades the store of an earlier program.
//!
//! Schema 1 kept the input, the lease and the outcome of each task in a record of its own, and one more for each task that
//! was over. Each becomes a block of one;
//! that of an input or an outcome is the same bytes.

use grid_protocol::job::{AttemptId, JobId, Outcome};
use grid_protocol::key::PublicKey;
use grid_protocol::record::{EndBlock, LeaseBlock, OutcomeRecord, TaskEnd};
use grid_protocol::wire::Wire;
use redb::{ReadableTable, TableDefinition, WriteTransaction};

use super::table::Table;

type OldTable = TableDefinition<'static, &'static [u8], &'static [u8]>;

const TASKS: OldTable = TableDefinition::new("task");
const LEASES: OldTable = TableDefinition::new("lease");
const OUTCOMES: OldTable = TableDefinition::new("outcome");
const TASKS_OVER: OldTable = TableDefinition::new("over");

/// Rewrites the records of schema 1 as those of schema 2.
///
/// # Errors
///
/// Those of redb.
pub(super) fn from_1_to_2(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    {
        let mut inputs = transaction.open_table(Table::Input.definition())?;
        for record in transaction.open_table(TASKS)?.iter()? {
            let (key, input) = record?;
            inputs.insert(key.value(), input.value())?;
        }
        let mut leases = transaction.open_table(Table::Lease.definition())?;
        for record in transaction.open_table(LEASES)?.iter()? {
            let (key, lease) = record?;
            // What makes no sense held nothing in schema 1 either.
            if let Some(block) = lease_of(key.value(), lease.value()) {
                leases.insert(key.value(), &block.to_body()[..])?;
            }
        }
        let mut outcomes = transaction.open_table(Table::Outcome.definition())?;
        let mut ends = transaction.open_table(Table::End.definition())?;
        for record in transaction.open_table(OUTCOMES)?.iter()? {
            let (key, outcome) = record?;
            if let Some(end) = end_of(outcome.value()) {
                ends.insert(key.value(), &EndBlock { ends: vec![end] }.to_body()[..])?;
                outcomes.insert(key.value(), outcome.value())?;
            }
        }
    }
    for old in [TASKS, LEASES, OUTCOMES, TASKS_OVER] {
        transaction.delete_table(old)?;
    }
    Ok(())
}

fn lease_of(key: &[u8], value: &[u8]) -> Option<LeaseBlock> {
    let attempt = AttemptId::from_u64(u64::from_be_bytes(key.try_into().ok()?));
    let (job, rest) = value.split_first_chunk()?;
    let (task, host) = rest.split_first_chunk()?;
    let host = PublicKey::from_bytes(host.try_into().ok()?).ok()?;
    Some(LeaseBlock { job: JobId(*job), host, attempts: [(attempt, u64::from_be_bytes(*task))].into() })
}

fn end_of(outcome: &[u8]) -> Option<TaskEnd> {
    let OutcomeRecord { task, ran_us, outcome, .. } = OutcomeRecord::from_body(outcome).ok()?;
    Some(TaskEnd { task, dead: matches!(outcome, Outcome::Dead { .. }), ran_us })
}

#[cfg(test)]
mod tests {
    use grid_protocol::key::SecretKey;
    use redb::Database;

    use super::*;
    use crate::store::{FileStore, LAST_KEY, Store};

    #[test]
    fn jobs_of_an_earlier_program_are_there_after_an_upgrade() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let (job, host) = ([1; 16], SecretKey::from_seed(&[1; 32]).public());
        let key = |number: u64| [&job[..], &number.to_be_bytes()].concat();
        let record =
            |task, outcome| OutcomeRecord { task, host: "host".into(), ran_us: 5, outcome }.to_body();
        let done = record(3, Outcome::Done(Vec::new()));
        let dead = record(4, Outcome::Dead { why: "it failed".to_owned(), attempts: Vec::new() });
        let old = [
            (TASKS, key(3), b"third".to_vec()),
            (TASKS, key(4), b"fourth".to_vec()),
            (LEASES, 9u64.to_be_bytes().to_vec(), [&key(5)[..], host.as_bytes()].concat()),
            (OUTCOMES, key(1), done.clone()),
            (OUTCOMES, key(2), dead),
            (TASKS_OVER, key(3), b"what it says is in the outcome, too".to_vec()),
            (Table::Counter.definition(), b"schema".to_vec(), vec![1]),
            (Table::Job.definition(), job.to_vec(), b"a job".to_vec()),
        ];
        let database = Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        for (table, key, value) in &old {
            transaction.open_table(*table).unwrap().insert(&key[..], &value[..]).unwrap();
        }
        transaction.commit().unwrap();
        drop(database);
        for opened in ["upgraded", "opened again"] {
            let store = FileStore::open(&path).unwrap();
            let first = |table| store.first(table, &[]..LAST_KEY).unwrap().unwrap();
            let input = (key(3), b"third".to_vec().into());
            assert_eq!(first(Table::Input), input, "{opened}");
            let lease = LeaseBlock { job: JobId(job), host, attempts: [(AttemptId::from_u64(9), 5)].into() };
            assert_eq!(LeaseBlock::from_body(&first(Table::Lease).1), Ok(lease));
            assert_eq!(first(Table::Outcome), (key(1), done.clone().into()));
            let end = |task, dead| EndBlock { ends: vec![TaskEnd { task, dead, ran_us: 5 }] };
            let ends = store.read(Table::End).unwrap();
            let ends = ends.iter().map(|(key, body)| (key.clone(), EndBlock::from_body(body).unwrap()));
            assert_eq!(ends.collect::<Vec<_>>(), [(key(1), end(3, false)), (key(2), end(4, true))]);
            assert_eq!(store.read(Table::Job).unwrap(), [(job.to_vec(), b"a job".to_vec())]);
        }
    }
}

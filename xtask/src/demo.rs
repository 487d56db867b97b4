//! The demonstration.
use crate::chore::ChoreError;
pub(crate) fn run(_again: bool) -> Result<(), ChoreError> { Ok(()) }

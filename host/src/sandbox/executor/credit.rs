//! Credit: how much may be on its way between a host and a guest in an executor, in each direction.

/// Messages that a guest may have been handed and not have handled.
///
/// Tasks are given ahead as far as they are short, and taken back if they turn out not to be: with more of them the processes
/// change places less often. A worker that is spoken to would answer later.
pub(super) fn unhandled_max(of_tasks: bool) -> usize {
    if of_tasks { 256 } else { 64 }
}

/// Bytes of such messages at which no other is handed over. One message of any length always is.
pub(super) const UNHANDLED_BYTES_MAX: usize = 256 << 10;

/// Bytes that a guest may send before the host says that there is room for more. The last message may exceed it.
pub(super) const ROOM_BYTES: i64 = 256 << 10;

/// What a message counts as, so that many short ones do not count as nothing.
pub(super) fn message_cost(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX).saturating_add(256)
}

/// Memory that messages of a few bytes share where a ring is read, in bytes; as long as one of them is kept, all of it is.
///
/// Those of tasks are done in their order, and the manager has the results before long. A worker's may be kept for long: theirs
/// is less than four times what such a message counts as, and so little that the allocator finds it quickly.
pub(super) fn gathered_bytes(of_tasks: bool) -> usize {
    if of_tasks { 4096 } else { 960 }
}

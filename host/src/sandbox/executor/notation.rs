//! How a host writes limits and entry points for an executor, and how that reads them.

use std::time::Duration;

use grid_inspect::{ComponentEntry, CoreEntry, EntryPoint, LoopKind};
use grid_protocol::executor::{ExecutorSetup, GuestLimits};
use grid_protocol::time::micros;

use crate::sandbox::engine::{CodeForm, Reservation};
use crate::sandbox::{Limits, Policy};

/// How an executor is to set itself up for guests of this policy; with `namespaces` of its own or not at all.
pub(super) fn setup(policy: &Policy, form: CodeForm, namespaces: bool) -> ExecutorSetup {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    ExecutorSetup {
        shared: form.interruptible,
        reservation_bytes: form.reservation.bytes(),
        guests_max: count(policy.workers_max),
        threads: count(policy.compute_threads),
        limits: write_limits(&policy.limits),
        namespaces,
    }
}

pub(super) fn policy(setup: &ExecutorSetup) -> Policy {
    Policy {
        limits: limits(&setup.limits),
        workers_max: setup.guests_max as usize,
        compute_threads: setup.threads as usize,
        components: true,
    }
}

pub(super) fn form(setup: &ExecutorSetup) -> CodeForm {
    CodeForm { reservation: Reservation::of_bytes(setup.reservation_bytes), interruptible: setup.shared }
}

pub(super) fn write_limits(limits: &Limits) -> GuestLimits {
    GuestLimits {
        memory_bytes: limits.memory_bytes as u64,
        table_elements: limits.table_elements as u64,
        message_bytes: limits.message_bytes as u64,
        call_us: micros(limits.call),
        start_us: micros(limits.start),
        stop_us: micros(limits.stop),
        log_burst_bytes: limits.log_burst_bytes,
        log_bytes_per_s: limits.log_bytes_per_s,
    }
}

pub(super) fn limits(written: &GuestLimits) -> Limits {
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    Limits {
        memory_bytes: size(written.memory_bytes),
        table_elements: size(written.table_elements),
        message_bytes: size(written.message_bytes),
        call: Duration::from_micros(written.call_us),
        start: Duration::from_micros(written.start_us),
        stop: Duration::from_micros(written.stop_us),
        log_burst_bytes: written.log_burst_bytes,
        log_bytes_per_s: written.log_bytes_per_s,
    }
}

/// An entry point as a number: its kind, and a bit for each export.
pub(super) fn write_entry_point(entry_point: EntryPoint) -> Option<u32> {
    let bits = |flags: &[bool]| flags.iter().rev().fold(0, |bits, flag| bits << 1 | u32::from(*flag));
    match entry_point {
        EntryPoint::Core(CoreEntry { turn, init, stop, initialize }) => {
            let turn = match turn {
                LoopKind::Absent => 0,
                LoopKind::Answering => 1,
                LoopKind::Polled => 2,
            };
            Some(CORE | turn << 8 | bits(&[init, stop, initialize]) << 16)
        }
        EntryPoint::Command => Some(COMMAND),
        EntryPoint::Component(ComponentEntry { start, turns, stop }) => {
            Some(COMPONENT | bits(&[start, turns, stop]) << 16)
        }
        _ => None,
    }
}

/// Reads what [`write_entry_point`] wrote.
pub(super) fn read_entry_point(written: u32) -> Option<EntryPoint> {
    let bit = |index: u32| written >> (16 + index) & 1 == 1;
    match written & 0xff {
        CORE => {
            let turn = match written >> 8 & 0xff {
                0 => LoopKind::Absent,
                1 => LoopKind::Answering,
                2 => LoopKind::Polled,
                _ => return None,
            };
            Some(EntryPoint::Core(CoreEntry { turn, init: bit(0), stop: bit(1), initialize: bit(2) }))
        }
        COMMAND => Some(EntryPoint::Command),
        COMPONENT => {
            Some(EntryPoint::Component(ComponentEntry { start: bit(0), turns: bit(1), stop: bit(2) }))
        }
        _ => None,
    }
}

const CORE: u32 = 1;
const COMMAND: u32 = 2;
const COMPONENT: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_entry_points_are_read_as_they_were_meant() {
        let limits = Limits { log_burst_bytes: 1, ..Limits::default() };
        assert_eq!(super::limits(&write_limits(&limits)), limits);
        let mut entry_points = vec![EntryPoint::Command];
        for bits in 0..8 {
            let [a, b, c] = [bits & 1 > 0, bits & 2 > 0, bits & 4 > 0];
            entry_points.push(EntryPoint::Component(ComponentEntry { start: a, turns: b, stop: c }));
            for turn in [LoopKind::Absent, LoopKind::Answering, LoopKind::Polled] {
                entry_points.push(EntryPoint::Core(CoreEntry { turn, init: a, stop: b, initialize: c }));
            }
        }
        for entry_point in entry_points {
            assert_eq!(write_entry_point(entry_point).and_then(read_entry_point), Some(entry_point));
        }
        assert_eq!(read_entry_point(9), None);
    }
}

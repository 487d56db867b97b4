//! Limits: what a host needs of descriptors, mappings, address space, memory and buffers, and what there is.

use grid_host::{HostNeeds, HostRoom, SLOT_MEMORY_BYTES};
use wasm_grid::SOCKET_BUFFER_BYTES;
use wasm_grid::view::CheckView;

use crate::command::doctor::machine::MachineFigures;
use crate::command::output::{bytes, counted};

/// What is said where the system does not tell a figure.
const UNTOLD: &str = "the system does not say";

/// Linux's own limit of mappings, which is advised where there are fewer.
const MAPPINGS_USUAL: u64 = 65_530;

/// The limit of descriptors that is advised where there are fewer.
const DESCRIPTORS_USUAL: u64 = 1024;

fn slots(needs: HostNeeds) -> String {
    counted(needs.slots.into(), "slot")
}

/// Judges the limit of open files.
pub(super) fn descriptors(machine: &MachineFigures, needs: HostNeeds) -> CheckView {
    const CHECK: &str = "descriptors";
    let Some(limit) = machine.descriptors else { return CheckView::ok(CHECK, UNTOLD) };
    let number = |limit: u64| if limit == u64::MAX { "unlimited".to_owned() } else { limit.to_string() };
    let needed = needs.descriptors;
    let found = format!("{}; a host of {} needs {needed}", number(limit.soft), slots(needs));
    let check = CheckView::ok(CHECK, found);
    if limit.soft >= needed {
        return check;
    }
    let advised = needed.max(DESCRIPTORS_USUAL);
    let reason = "with too few open files modules cannot be compiled, and nothing new can be connected";
    if limit.hard >= advised {
        return check.fails(reason, format!("ulimit -n {advised}"));
    }
    let hard = format!("the most that this user may set is {}", number(limit.hard));
    check.fails(
        format!("{reason}; {hard}"),
        format!("sudo prlimit --pid $$ --nofile={advised}; for a service, LimitNOFILE={advised} in its unit"),
    )
}

/// Judges the limit of memory mappings.
pub(super) fn mappings(machine: &MachineFigures, needs: HostNeeds) -> CheckView {
    const CHECK: &str = "mappings";
    let Some(limit) = machine.mappings else { return CheckView::ok(CHECK, UNTOLD) };
    let needed = needs.mappings;
    let check = CheckView::ok(CHECK, format!("{limit}; a host of {} needs {needed} at least", slots(needs)));
    let advice = format!("sudo sysctl -w vm.max_map_count={}", needed.max(MAPPINGS_USUAL));
    match limit {
        _ if limit < needed => {
            check.fails("each worker takes four mappings; without them none starts", advice)
        }
        _ if limit < MAPPINGS_USUAL => {
            check.warning("Linux gives 65530 by itself, and a host sets half of them aside", advice)
        }
        _ => check,
    }
}

/// Judges the address space, from what came of making room for guests: the room, why there is none, or no answer.
pub(super) fn address_space(
    machine: &MachineFigures,
    needs: HostNeeds,
    room: Option<Result<HostRoom, String>>,
) -> CheckView {
    const CHECK: &str = "address-space";
    let limit = machine.address_space.map_or(u64::MAX, |limit| limit.soft);
    let strict = machine.overcommit == Some(2);
    let said = match (limit, strict) {
        (u64::MAX, false) => "unlimited".to_owned(),
        (u64::MAX, true) => "limited by vm.overcommit_memory=2".to_owned(),
        (limit, _) => bytes(limit),
    };
    let advice = match limit {
        u64::MAX if strict => "sudo sysctl -w vm.overcommit_memory=0",
        _ => "ulimit -v unlimited",
    };
    let wanted = slots(needs);
    match room {
        None => CheckView::ok(CHECK, said).warning("making room for workers took too long to be judged", ""),
        Some(Err(why)) => CheckView::ok(CHECK, said).fails(why, advice),
        Some(Ok(room)) if room.slots < needs.slots => CheckView::ok(CHECK, said)
            .warning(format!("there is room for {} of the {wanted} of a host here", room.slots), advice),
        Some(Ok(HostRoom { is_ample: false, .. })) => {
            let reason =
                "workers run with bounds checks, which takes longer: each has too little address space";
            CheckView::ok(CHECK, said).warning(reason, advice)
        }
        Some(Ok(_)) => CheckView::ok(CHECK, format!("{said}, ample for {wanted}")),
    }
}

/// Judges the memory against what a host offers by default.
pub(super) fn memory(machine: &MachineFigures, needs: HostNeeds) -> CheckView {
    const CHECK: &str = "memory";
    let memory = machine.memory;
    let Some(free) = [memory.available, memory.left_of_share].into_iter().flatten().min() else {
        return CheckView::ok(CHECK, UNTOLD);
    };
    let of = if memory.left_of_share == Some(free) { " of this container or service" } else { "" };
    let offered = bytes(needs.memory_bytes);
    let found = format!("{} free{of}; a host of {} offers {offered}", bytes(free), slots(needs));
    let check = CheckView::ok(CHECK, found);
    if free >= needs.memory_bytes {
        return check;
    }
    let reason = "if workers take all that a host offers, the system ends programs";
    // A quarter stays for the host itself, and for everybody else.
    let mebibytes = (free / 4 * 3) >> 20;
    let fitting = (mebibytes << 20) / SLOT_MEMORY_BYTES;
    if fitting == 0 {
        return check.warning(
            reason,
            format!("grid-host --slots 1 --memory {mebibytes}MiB --worker-memory {mebibytes}MiB"),
        );
    }
    check.warning(reason, format!("grid-host --slots {fitting} --memory {mebibytes}MiB"))
}

/// Judges the receive buffer that a socket may have.
pub(super) fn buffer(machine: &MachineFigures) -> CheckView {
    const CHECK: &str = "buffer";
    let Some(most) = machine.receive_buffer else { return CheckView::ok(CHECK, UNTOLD) };
    let asked = SOCKET_BUFFER_BYTES as u64;
    let check = CheckView::ok(CHECK, format!("{} to receive", bytes(most)));
    if most >= asked {
        return check;
    }
    check.warning(
        format!(
            "a manager of many hosts asks for {}, or loses datagrams when they all come together",
            bytes(asked)
        ),
        format!("sudo sysctl -w net.core.rmem_max={asked}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::doctor::machine::{Limit, MemoryFigures};
    use wasm_grid::view::CheckState::{Fails, Ok as Well, Warning};

    fn needs() -> HostNeeds {
        HostNeeds::of(4)
    }

    fn advice(check: &CheckView) -> &str {
        check.advice.as_deref().unwrap_or_default()
    }

    #[test]
    fn too_few_descriptors_fail_with_the_command_that_this_user_may_type() {
        let with = |soft, hard| {
            let machine =
                MachineFigures { descriptors: Some(Limit { soft, hard }), ..MachineFigures::default() };
            descriptors(&machine, needs())
        };
        assert_eq!(with(needs().descriptors, 4096).state, Well);
        assert_eq!(with(u64::MAX, u64::MAX).state, Well);
        let raised = with(needs().descriptors - 1, 4096);
        assert_eq!((raised.state, advice(&raised)), (Fails, "ulimit -n 1024"));
        let barred = with(20, 100);
        assert!(barred.state == Fails && advice(&barred).starts_with("sudo prlimit"), "{barred:?}");
        let many = HostNeeds::of(1000);
        let machine = MachineFigures {
            descriptors: Some(Limit { soft: 1024, hard: 20_000 }),
            ..MachineFigures::default()
        };
        assert_eq!(advice(&descriptors(&machine, many)), format!("ulimit -n {}", many.descriptors));
        assert_eq!(descriptors(&MachineFigures::default(), needs()).state, Well);
    }

    #[test]
    fn too_few_mappings_fail() {
        let with = |mappings| MachineFigures { mappings: Some(mappings), ..MachineFigures::default() };
        assert_eq!(mappings(&with(65_530), needs()).state, Well);
        assert_eq!(mappings(&with(65_529), needs()).state, Warning);
        let few = mappings(&with(1000), needs());
        assert_eq!((few.state, advice(&few)), (Fails, "sudo sysctl -w vm.max_map_count=65530"));
    }

    #[test]
    fn address_space_is_judged_by_the_room_that_was_made_and_mended_where_it_is_limited() {
        let ample = HostRoom { slots: 4, is_ample: true };
        let unlimited = MachineFigures::default();
        let shell = MachineFigures {
            address_space: Some(Limit { soft: 4 << 30, hard: u64::MAX }),
            ..MachineFigures::default()
        };
        let strict = MachineFigures { overcommit: Some(2), ..MachineFigures::default() };
        assert_eq!(address_space(&unlimited, needs(), Some(Ok(ample))).state, Well);
        assert_eq!(address_space(&unlimited, needs(), None).state, Warning);
        let checked = address_space(&shell, needs(), Some(Ok(HostRoom { is_ample: false, ..ample })));
        assert_eq!((checked.state, advice(&checked)), (Warning, "ulimit -v unlimited"));
        let fewer = address_space(&strict, needs(), Some(Ok(HostRoom { slots: 2, is_ample: true })));
        assert_eq!((fewer.state, advice(&fewer)), (Warning, "sudo sysctl -w vm.overcommit_memory=0"));
        assert_eq!(address_space(&shell, needs(), Some(Err("none".to_owned()))).state, Fails);
    }

    #[test]
    fn memory_below_what_a_host_offers_is_a_warning_with_what_it_could_offer() {
        let with = |available, left_of_share| MachineFigures {
            memory: MemoryFigures { available, left_of_share },
            ..MachineFigures::default()
        };
        assert_eq!(memory(&with(Some(1 << 30), None), needs()).state, Well);
        let share = memory(&with(Some(8 << 30), Some(800 << 20)), needs());
        assert_eq!((share.state, advice(&share)), (Warning, "grid-host --slots 2 --memory 600MiB"));
        assert!(share.found.contains("of this container"), "{share:?}");
        let tiny = memory(&with(Some(100 << 20), None), needs());
        assert_eq!(advice(&tiny), "grid-host --slots 1 --memory 75MiB --worker-memory 75MiB");
        assert_eq!(memory(&with(None, None), needs()).state, Well);
    }

    #[test]
    fn a_short_receive_buffer_is_a_warning_and_no_more() {
        let with = |bytes| MachineFigures { receive_buffer: Some(bytes), ..MachineFigures::default() };
        assert_eq!(buffer(&with(8 << 20)).state, Well);
        let short = buffer(&with(212_992));
        assert_eq!((short.state, advice(&short)), (Warning, "sudo sysctl -w net.core.rmem_max=8388608"));
    }
}

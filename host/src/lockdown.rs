//! Lockdown: limits and rights that a process of ours gives up, so that an attacker who takes it over gains little.
//!
//! Limits of time and memory need Unix, and giving up rights needs Linux; elsewhere the functions do nothing.

mod namespaces;

use std::time::Duration;

use grid_protocol::wall::Wall;

pub use namespaces::NamespaceWall;

/// The system refused a limit or a filter.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {reason}")]
pub(crate) struct LockdownError {
    what: &'static str,
    reason: String,
}

impl LockdownError {
    pub(crate) fn at<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self { what, reason: error.to_string() }
    }
}

/// The walls around a process that has given up its rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walls {
    /// True if system calls are filtered. Without it nothing is compiled on Linux; elsewhere there is no such filter.
    pub filters_calls: bool,
    /// What Landlock does. The filter of system calls suffices without it.
    pub landlock: LandlockWall,
    /// What namespaces do. They are more than is needed, too.
    pub namespaces: NamespaceWall,
}

/// What Landlock, Linux's second wall, does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LandlockWall {
    /// It is in force, with this version of its interface.
    InForce(u8),
    /// The kernel has it, and it was not switched on when the kernel started.
    SwitchedOff,
    /// The kernel does not have it.
    Missing,
}

impl Walls {
    /// The walls that stand around guests which run in processes behind these.
    pub fn around_guests(self) -> Vec<Wall> {
        let landlock = matches!(self.landlock, LandlockWall::InForce(_)).then_some(Wall::Landlock);
        let calls = self.filters_calls.then_some(Wall::SystemCalls);
        let namespaces = (self.namespaces == NamespaceWall::InForce).then_some(Wall::Namespaces);
        [Some(Wall::Process), landlock, calls, namespaces].into_iter().flatten().collect()
    }

    /// The line by which a child process tells its walls.
    pub(crate) fn to_line(self) -> String {
        let landlock = match self.landlock {
            LandlockWall::InForce(version) => version.to_string(),
            LandlockWall::SwitchedOff => "off".to_owned(),
            LandlockWall::Missing => "missing".to_owned(),
        };
        let calls = if self.filters_calls { "filtered" } else { "unfiltered" };
        format!("{calls} {landlock} {}", self.namespaces.to_word())
    }

    /// Reads what [`Self::to_line`] wrote.
    pub(crate) fn from_line(line: &str) -> Option<Self> {
        let (calls, others) = line.trim().split_once(' ')?;
        let (landlock, namespaces) = others.split_once(' ')?;
        let landlock = match landlock {
            "off" => LandlockWall::SwitchedOff,
            "missing" => LandlockWall::Missing,
            version => LandlockWall::InForce(version.parse().ok()?),
        };
        let namespaces = NamespaceWall::from_word(namespaces)?;
        Some(Self { filters_calls: calls == "filtered", landlock, namespaces })
    }
}

/// Limits this process to `processor` time, that of all its threads together, rounded down to seconds, and to
/// `address_space` bytes; forbids core files and lowers the priority, which holds for threads that are started later.
///
/// # Errors
///
/// [`LockdownError`] if the system refuses one of them.
#[cfg(unix)]
pub(crate) fn limit_resources(processor: Duration, address_space: u64) -> Result<(), LockdownError> {
    use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};
    // A hard limit that was set by whoever started the host can only be lowered.
    let lower = |resource, value: u64| {
        let value = getrlimit(resource).maximum.map_or(value, |maximum| maximum.min(value));
        setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })
    };
    lower(Resource::Cpu, processor.as_secs()).map_err(LockdownError::at("processor time"))?;
    lower(Resource::As, address_space).map_err(LockdownError::at("address space"))?;
    lower(Resource::Core, 0).map_err(LockdownError::at("core files"))?;
    // Running guests take precedence over modules that are being compiled.
    nice(LOW_PRIORITY).map_err(LockdownError::at("priority"))?;
    Ok(())
}

/// Niceness: a tenth of a guest's share of the processor. At 19, the lowest priority, a busy host never finished
/// compiling in a trial.
#[cfg(unix)]
const LOW_PRIORITY: i32 = 10;

#[cfg(not(unix))]
pub(crate) fn limit_resources(_: Duration, _: u64) -> Result<(), LockdownError> {
    Ok(())
}

/// Gives up files, network, signals to other processes and starting programs; computing, memory and the open pipes
/// remain. Returns the walls that stand now, and the threads that `start` has started: no others can be started later.
///
/// # Errors
///
/// [`LockdownError`] if a filter cannot be applied, or the threads cannot be started. A kernel without Landlock is no
/// error: the filter of system calls suffices.
#[cfg(target_os = "linux")]
pub(crate) fn to_pure_computation<T>(
    start: impl FnOnce() -> Result<T, LockdownError>,
) -> Result<(Walls, T), LockdownError> {
    let namespaces = namespaces::enter();
    // Landlock holds for this thread and for those that it starts; the filter for all that there are.
    let landlock = restrict_by_landlock()?;
    let threads = start()?;
    let calls: Vec<_> = GUESTS.into_iter().chain(COMPILING).map(|call| (call, Vec::new())).collect();
    allow_only(&calls)?;
    Ok((Walls { filters_calls: true, landlock, namespaces }, threads))
}

/// Closes the files that whoever started the host left open, and that this child of it inherited. To be called before it
/// opens any. A kernel before 5.9 cannot; they stay open then.
#[cfg(target_os = "linux")]
pub(crate) fn close_inherited() {
    let first = libc::STDERR_FILENO.cast_unsigned() + 1;
    // By its number, because C libraries have had it only since 2021.
    // SAFETY: nothing in this process has these files; no memory is passed.
    let _ = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn close_inherited() {}

/// Prepares this process to run guests, before it has a thread: has namespaces of its own where it may, ends with its
/// parent, can gain no rights, is closed to debuggers, writes no core files, and opens nothing below a folder, on the
/// network or towards other processes. Returns the walls that stand now.
///
/// # Errors
///
/// [`LockdownError`] if the system refuses one of these. A kernel without Landlock, or one that permits no namespaces, is
/// no error.
#[cfg(target_os = "linux")]
pub(crate) fn before_threads() -> Result<Walls, LockdownError> {
    use rustix::process::{
        DumpableBehavior, Resource, Rlimit, Signal, set_dumpable_behavior, set_parent_process_death_signal,
        setrlimit,
    };
    // First, because a change of rights may undo what follows.
    let namespaces = namespaces::enter();
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(LockdownError::at("the end of the parent"))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(LockdownError::at("debuggers"))?;
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(LockdownError::at("core files"))?;
    Ok(Walls { filters_calls: false, landlock: restrict_by_landlock()?, namespaces })
}

/// Gives up all system calls but those of computing and waiting; no more code can be mapped. Returns the walls that stand
/// then, beside those that stood before.
///
/// # Errors
///
/// [`LockdownError`] if the filter cannot be applied.
#[cfg(target_os = "linux")]
pub(crate) fn before_guests(before: Walls) -> Result<Walls, LockdownError> {
    use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};
    let step = "system calls";
    let only_if = |call, argument, operation, value| -> Result<_, LockdownError> {
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operation, value);
        let rule = SeccompRule::new(vec![condition.map_err(LockdownError::at(step))?]);
        Ok((call, vec![rule.map_err(LockdownError::at(step))?]))
    };
    // No memory becomes code any more.
    let no_code = SeccompCmpOp::MaskedEq(u64::from(libc::PROT_EXEC.cast_unsigned()));
    let mut calls = GUESTS.map(|call| (call, Vec::new())).to_vec();
    calls.push(only_if(libc::SYS_mmap, 2, no_code.clone(), 0)?);
    calls.push(only_if(libc::SYS_mprotect, 2, no_code, 0)?);
    // Its own threads: this is how a program aborts.
    calls.push(only_if(libc::SYS_tgkill, 0, SeccompCmpOp::Eq, u64::from(std::process::id()))?);
    allow_only(&calls)?;
    Ok(Walls { filters_calls: true, ..before })
}

#[cfg(target_os = "linux")]
fn restrict_by_landlock() -> Result<LandlockWall, LockdownError> {
    use landlock::{
        ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, Ruleset, RulesetAttr,
        Scope,
    };
    let abi = ABI::V6;
    let step = "Landlock";
    let restricted = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .map_err(LockdownError::at(step))?
        .handle_access(AccessNet::from_all(abi))
        .map_err(LockdownError::at(step))?
        .scope(Scope::from_all(abi))
        .map_err(LockdownError::at(step))?
        .create()
        .map_err(LockdownError::at(step))?
        .restrict_self()
        .map_err(LockdownError::at(step))?;
    Ok(match restricted.landlock {
        LandlockStatus::Available { effective_abi, .. } => LandlockWall::InForce(effective_abi as u8),
        LandlockStatus::NotEnabled => LandlockWall::SwitchedOff,
        LandlockStatus::NotImplemented => LandlockWall::Missing,
    })
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn to_pure_computation<T>(
    start: impl FnOnce() -> Result<T, LockdownError>,
) -> Result<(Walls, T), LockdownError> {
    let (landlock, namespaces) = (LandlockWall::Missing, namespaces::enter());
    Ok((Walls { filters_calls: false, landlock, namespaces }, start()?))
}

/// System calls of a program that reads a pipe, compiles and writes a pipe, besides those of [`GUESTS`].
#[cfg(target_os = "linux")]
const COMPILING: [libc::c_long; 7] = [
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_sched_getaffinity,
    libc::SYS_tgkill,
    libc::SYS_prctl,
];

/// System calls of a process that runs guests, besides those that are allowed with certain arguments: memory, threads
/// that wait, clocks, and writing to what is open, which are the bell of the host and standard error.
#[cfg(target_os = "linux")]
const GUESTS: [libc::c_long; 23] = [
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_close,
    libc::SYS_munmap,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_sched_yield,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_restart_syscall,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
];

/// Makes every system call but these fail with `EPERM`, in all threads of this process and for good.
#[cfg(target_os = "linux")]
fn allow_only(calls: &[(libc::c_long, Vec<seccompiler::SeccompRule>)]) -> Result<(), LockdownError> {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};
    let step = "system calls";
    let architecture = std::env::consts::ARCH.try_into().map_err(LockdownError::at(step))?;
    let filter = SeccompFilter::new(
        calls.iter().cloned().collect(),
        SeccompAction::Errno(libc::EPERM.cast_unsigned()),
        SeccompAction::Allow,
        architecture,
    )
    .map_err(LockdownError::at(step))?;
    let program: BpfProgram = filter.try_into().map_err(LockdownError::at(step))?;
    apply_filter_all_threads(&program).map_err(LockdownError::at(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_tells_walls_is_read_as_it_was_meant() {
        for landlock in [LandlockWall::InForce(6), LandlockWall::SwitchedOff, LandlockWall::Missing] {
            for namespaces in [
                NamespaceWall::InForce,
                NamespaceWall::Refused(1),
                NamespaceWall::WithFiles(22),
                NamespaceWall::Missing,
            ] {
                for filters_calls in [true, false] {
                    let walls = Walls { filters_calls, landlock, namespaces };
                    assert_eq!(Walls::from_line(&walls.to_line()), Some(walls));
                }
            }
        }
        for other in ["filtered seven own", "filtered 7", "filtered 7 others", "filtered 7 refused:x"] {
            assert_eq!(Walls::from_line(other), None);
        }
    }
}

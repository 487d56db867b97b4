//! Lockdown: what a process of ours gives up, so that a fault in it is worth little. Linux only; elsewhere
//! there is nothing to give up, and limits of memory and time hold all the same.

use std::time::Duration;

/// The system did not take what it was offered.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {reason}")]
pub(crate) struct LockdownError {
    what: &'static str,
    reason: String,
}

impl LockdownError {
    #[cfg(unix)]
    fn at<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self { what, reason: error.to_string() }
    }
}

/// Limits processor time and address space, and takes a low priority.
///
/// # Errors
///
/// [`LockdownError`].
#[cfg(unix)]
pub(crate) fn limit_resources(processor: Duration, address_space: u64) -> Result<(), LockdownError> {
    use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};
    // A limit that is there already, of whoever started the host, can only be lowered.
    let lower = |resource, value: u64| {
        let value = getrlimit(resource).maximum.map_or(value, |maximum| maximum.min(value));
        setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })
    };
    lower(Resource::Cpu, processor.as_secs()).map_err(LockdownError::at("processor time"))?;
    lower(Resource::As, address_space).map_err(LockdownError::at("address space"))?;
    lower(Resource::Core, 0).map_err(LockdownError::at("core files"))?;
    // SimulatedGuests that run go before modules that shall.
    nice(LOW_PRIORITY).map_err(LockdownError::at("priority"))?;
    Ok(())
}

/// A tenth of what a guest gets: at 19, the lowest, a busy host never finished compiling in a trial.
#[cfg(unix)]
const LOW_PRIORITY: i32 = 10;

#[cfg(not(unix))]
pub(crate) fn limit_resources(_: Duration, _: u64) -> Result<(), LockdownError> {
    Ok(())
}

/// Gives up files, network, signals to others and new programs; computing, memory and the pipes that are
/// open stay.
///
/// # Errors
///
/// [`LockdownError`]. A kernel without Landlock is none: the list of system calls holds by itself.
#[cfg(target_os = "linux")]
pub(crate) fn to_pure_computation() -> Result<(), LockdownError> {
    use landlock::{ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope};
    let abi = ABI::V6;
    let step = "Landlock";
    Ruleset::default()
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
    allow_only(COMPUTATION)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn to_pure_computation() -> Result<(), LockdownError> {
    Ok(())
}

/// What a program needs that reads a pipe, computes and writes a pipe.
#[cfg(target_os = "linux")]
const COMPUTATION: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
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
    libc::SYS_sched_getaffinity,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_restart_syscall,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_prctl,
];

/// Every other system call of this process fails with `EPERM` from now on.
#[cfg(target_os = "linux")]
fn allow_only(calls: &[libc::c_long]) -> Result<(), LockdownError> {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};
    let step = "system calls";
    let architecture = std::env::consts::ARCH.try_into().map_err(LockdownError::at(step))?;
    let filter = SeccompFilter::new(
        calls.iter().map(|call| (*call, Vec::new())).collect(),
        SeccompAction::Errno(libc::EPERM.cast_unsigned()),
        SeccompAction::Allow,
        architecture,
    )
    .map_err(LockdownError::at(step))?;
    let program: BpfProgram = filter.try_into().map_err(LockdownError::at(step))?;
    apply_filter_all_threads(&program).map_err(LockdownError::at(step))
}

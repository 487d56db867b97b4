//! Namespaces: a process of ours gives up the machine's network, files and names for empty ones of its own.
//!
//! The kernel permits that to root, and to others where it lets them have user namespaces; some containers and
//! distributions forbid it.

/// What namespaces, Linux's third wall, do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamespaceWall {
    /// The process has its own: no network, no files, no shared memory or queues by name, no rights outside of them.
    InForce,
    /// The kernel does not permit them; the number of its error.
    Refused(i32),
    /// The process has its own, and sees files in them all the same: the kernel did not let it leave them; the number of
    /// its error.
    WithFiles(i32),
    /// This system has none.
    Missing,
}

impl NamespaceWall {
    /// The word by which a child process tells it.
    pub(super) fn to_word(self) -> String {
        match self {
            Self::InForce => "own".to_owned(),
            Self::Refused(error) => format!("refused:{error}"),
            Self::WithFiles(error) => format!("files:{error}"),
            Self::Missing => "missing".to_owned(),
        }
    }

    /// Reads what [`Self::to_word`] wrote.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        match (word, word.split_once(':')) {
            ("own", _) => Some(Self::InForce),
            ("missing", _) => Some(Self::Missing),
            (_, Some(("refused", error))) => Some(Self::Refused(error.parse().ok()?)),
            (_, Some(("files", error))) => Some(Self::WithFiles(error.parse().ok()?)),
            _ => None,
        }
    }
}

/// Enters namespaces of its own, if the kernel permits it. To be called before this process has a second thread, and
/// before it gives up system calls; files that are open stay open.
///
/// Process ids stay those of the machine: for others, a process would have to be started in between.
#[cfg(target_os = "linux")]
pub(super) fn enter() -> NamespaceWall {
    if is_filtered() && !is_survived() {
        return NamespaceWall::Refused(libc::EPERM);
    }
    try_to_enter()
}

#[cfg(target_os = "linux")]
fn try_to_enter() -> NamespaceWall {
    use rustix::thread::{UnshareFlags, unshare_unsafe};
    // SAFETY: the table of open files stays shared.
    let unshare = |namespaces| unsafe { unshare_unsafe(namespaces) };
    let others = UnshareFlags::NEWNET
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    // With a user namespace, which gives those who are not root the right to the others, and takes root's rights over
    // everything outside of it. Where it is forbidden, root may still have the others.
    if let Err(error) = unshare(others | UnshareFlags::NEWUSER)
        && unshare(others).is_err()
    {
        return NamespaceWall::Refused(error.raw_os_error());
    }
    match leave_files() {
        Ok(()) => NamespaceWall::InForce,
        Err(error) => NamespaceWall::WithFiles(error.raw_os_error()),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn enter() -> NamespaceWall {
    NamespaceWall::Missing
}

/// True if whoever started the host filters its system calls, as container runtimes and systemd's `SystemCallFilter` do.
#[cfg(target_os = "linux")]
fn is_filtered() -> bool {
    // SAFETY: no memory is passed.
    unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) != 0 }
}

/// Has a process of its own enter namespaces; false if it did not live through that. Some filters do not refuse a system
/// call: they end whoever makes it.
#[cfg(target_os = "linux")]
fn is_survived() -> bool {
    // SAFETY: this process has one thread, so that the new one finds no lock held; it ends without running any more of
    // this program.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let _ = try_to_enter();
        // SAFETY: it does not return.
        unsafe { libc::_exit(0) }
    }
    let mut status = -1;
    // SAFETY: `status` lives throughout the call.
    let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
    child > 0 && ended == child && status == 0
}

/// Leaves an empty folder, which cannot be written, as all that the process's mounts have. Without that its copies of the
/// machine's mounts would also keep them in use after they are unmounted there.
#[cfg(target_os = "linux")]
fn leave_files() -> rustix::io::Result<()> {
    use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
    use rustix::process::{chdir, pivot_root};
    // Nothing that is done here is done outside, too.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("none", ANY_FOLDER, "tmpfs", flags, c"size=4k,nr_inodes=1")?;
    chdir(ANY_FOLDER)?;
    // The old root lies on the new one then, from which it is taken.
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")
}

/// A folder that every system has: the host reads in it how much memory its processes take.
#[cfg(target_os = "linux")]
const ANY_FOLDER: &str = "/proc";

//! A process before it has a guest: how it is started, and given its module.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use grid_protocol::executor::{ExecutorModule, ExecutorSetup};
use grid_protocol::wire::Wire;
use rustix::event::{EventfdFlags, eventfd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::Child;

use super::handover;
use super::process::Process;
use super::process_driver::Driver;
use super::process_events::ProcessEvents;
use super::shared_memory::SharedMemory;
use crate::child_process::EXECUTOR;

/// A process that has set itself up, or is about to, and has no module yet.
pub(super) struct Spare {
    process: Arc<Process>,
    child: Child,
    socket: OwnedFd,
    bell: OwnedFd,
}

impl Spare {
    /// Starts a process, which is `process` to others once its memory is there. Must be called in a runtime.
    ///
    /// # Errors
    ///
    /// If the system starts none.
    pub(super) fn start(
        program: &Path,
        process: impl FnOnce(SharedMemory) -> Process,
        setup: &ExecutorSetup,
    ) -> std::io::Result<Self> {
        let (memory, file) = SharedMemory::new()?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (socket, theirs) = handover::pair()?;
        let child = tokio::process::Command::new(program)
            .arg(EXECUTOR)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        handover::give(socket.as_fd(), &setup.to_body(), &[file.as_fd(), bell.as_fd()])?;
        Ok(Self { process: Arc::new(process(memory)), child, socket, bell })
    }

    /// Gives the process its module, whose compiled code is in the sealed file `code`, and begins to drive it.
    /// `on_ready` is called when it has locked itself down, with a line that tells its walls; `on_end` when it has ended.
    ///
    /// # Errors
    ///
    /// If the process is gone.
    pub(super) fn drive(
        self,
        module: &ExecutorModule,
        code: &OwnedFd,
        on_ready: impl FnOnce(&str) + Send + 'static,
        on_end: impl FnOnce(&Arc<Process>) + Send + 'static,
    ) -> std::io::Result<Arc<Process>> {
        let Self { process, child, socket, bell } = self;
        handover::give(socket.as_fd(), &module.to_body(), &[code.as_fd()])?;
        let events = ProcessEvents::new(readable(bell)?, readable(socket)?);
        let driver = Driver::new(process.clone(), child, events, Box::new(on_ready));
        let driven = process.clone();
        tokio::spawn(async move {
            driver.run().await;
            on_end(&driven);
        });
        Ok(process)
    }
}

/// Has the runtime tell when a file can be read.
pub(super) fn readable(file: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the file stays open for as long as it is registered, because this owns it.
    Ok(unsafe { AsyncFd::register_with_interest(file, Interest::READABLE) }?)
}

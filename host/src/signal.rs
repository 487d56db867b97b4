//! Signals by which a person or a service manager asks a process to end.

/// Waits until the process is asked to end, by SIGTERM or Ctrl-C.
#[cfg(unix)]
pub async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Waits until the process is asked to end, by Ctrl-C.
#[cfg(not(unix))]
pub async fn terminated() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

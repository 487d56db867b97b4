//! The handover: what an executor is given over its socket before it runs anything, with open files.

use std::io::{Error, IoSlice, IoSliceMut, Result};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// Bytes of one handover, at most.
const BYTES_MAX: usize = 4096;

/// Open files of one handover, at most.
const FILES_MAX: usize = 2;

/// The two ends: the host's, and the executor's.
///
/// # Errors
///
/// If the system has no socket left.
pub(super) fn pair() -> Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Hands over bytes and files. Does not wait: the little that is ever handed over fits into the socket.
///
/// # Errors
///
/// If the other end is gone.
pub(super) fn give(socket: BorrowedFd<'_>, bytes: &[u8], files: &[BorrowedFd<'_>]) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(Error::other("too many files for one handover"));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)?;
    Ok(())
}

/// Waits for what the host hands over.
///
/// # Errors
///
/// If the host is gone, or hands over something else than `N` files.
pub(super) fn take<const N: usize>(socket: BorrowedFd<'_>) -> Result<(Vec<u8>, [OwnedFd; N])> {
    let mut bytes = vec![0; BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Err(Error::other("the host is gone"));
    }
    bytes.truncate(received.bytes);
    let mut files = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            files.extend(rights);
        }
    }
    let files = files.try_into().map_err(|_| Error::other("other files than were expected"))?;
    Ok((bytes, files))
}

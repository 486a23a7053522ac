//! `sendfile`: a file's bytes to the peer without a copy through this process, in order
//! with what was queued before, and with nothing of others in between.

use crate::endpoint::{Call, Endpoint, Role, Waiter};
use crate::host::{Failure, Host};
use crate::stream::{Link, Stream};
use crate::sys;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};

/// Most bytes of one call.
const MOST: usize = 512 * 1024;

impl<H: Host> Endpoint<H> {
    /// Sends up to `count` bytes of `file` from `offset` on. `Done(0)` is the end of the
    /// file. May block on the file: not for a thread that others wait for.
    ///
    /// From the first call to [`Endpoint::file_sent`] other senders wait.
    /// `Wait`: [`Endpoint::await_writable`], then again.
    ///
    /// **Errors:** `NotOwner`; `EINVAL` closed; `ENOTCONN`; as send.
    pub fn send_file(&self, pid: H::Pid, file: RawFd, offset: u64, count: usize) -> Call<usize> {
        let socket = {
            let mut state = self.lock();
            let is_owner = state.common.owner == pid;
            let socket = match &mut state.role {
                Role::Closed | Role::Draining(_) => Call::Failed(Failure::Posix(libc::EINVAL)),
                // Whose death closes the socket, so that nobody waits for ever for its file.
                _ if !is_owner => Call::Failed(Failure::NotOwner),
                Role::Stream(stream) => stream.lend_to_file(pid),
                Role::Connecting(_) | Role::Listener(_) => {
                    Call::Failed(Failure::Posix(libc::ENOTCONN))
                }
            };
            self.settle(&mut state);
            match socket {
                Call::Done(socket) => socket,
                Call::Wait => return Call::Wait,
                Call::Failed(failure) => return Call::Failed(failure),
            }
        };
        // Without the lock: the disk may take its time.
        match sys::sendfile(socket.as_fd(), file, offset, count.min(MOST)) {
            Ok(sent) => Call::Done(sent),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Call::Wait,
            Err(error) => match error.raw_os_error() {
                Some(errno @ (libc::EPIPE | libc::ECONNRESET)) => {
                    let mut state = self.lock();
                    let (mut context, role) = self.split(&mut state);
                    let failure = match role {
                        Role::Stream(stream) => stream.write_failed(&mut context, errno, true),
                        _ => Failure::Closed,
                    };
                    self.settle(&mut state);
                    Call::Failed(failure)
                }
                _ => Call::Failed(error.into()),
            },
        }
    }

    /// Waits until the kernel takes bytes again and nothing is queued.
    pub fn await_writable(&self, pid: H::Pid, tag: H::Tag) -> Call<()> {
        let mut state = self.lock();
        let call = match &mut state.role {
            Role::Stream(stream) if stream.socket().is_some() => {
                stream.await_drained(Waiter { pid, tag });
                Call::Wait
            }
            _ => Call::Done(()),
        };
        self.settle(&mut state);
        call
    }

    /// The file of `pid` is out, or will not be: other senders go on.
    pub fn file_sent(&self, pid: H::Pid) {
        let mut state = self.lock();
        let low_watermark = state.common.settings.low_watermark;
        if let Role::Stream(stream) = &mut state.role {
            stream.end_file(pid, low_watermark);
        }
        self.settle(&mut state);
    }
}

impl<H: Host> Stream<H> {
    fn lend_to_file(&mut self, pid: H::Pid) -> Call<OwnedFd> {
        if self.is_shutting_down() {
            return Call::Failed(Failure::Closed);
        }
        let socket = match &mut self.link {
            Link::Open(socket) | Link::InputEnded(socket) => socket,
            Link::Husk(_) => return Call::Failed(Failure::Posix(libc::ENOTCONN)),
            Link::Over(..) => return Call::Failed(Failure::Closed),
        };
        self.waiting.make().file_sender = Some(pid);
        if !self.writer.is_empty() {
            return Call::Wait;
        }
        match socket.try_clone() {
            Ok(socket) => Call::Done(socket.into()),
            Err(error) => Call::Failed(error.into()),
        }
    }

    /// Lets other senders go on if `pid` was sending a file.
    fn end_file(&mut self, pid: H::Pid, low_watermark: u32) {
        if let Some(waiting) = self.waiting.get_mut() {
            waiting.file_sender.take_if(|sender| *sender == pid);
        }
        self.release_senders(low_watermark);
    }
}

//! The calls of a process, with their waits, as the Erlang side makes them.

use super::{Handle, Message, PATIENCE, Process, Tag, body, tag};
use net::{Call, Failure, Outgoing, Reply, Sent};
use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Data of a send in pieces that can be kept by reference.
pub(crate) struct Iolist(pub(crate) Vec<Arc<Vec<u8>>>);

/// Data in one piece.
pub(crate) fn bytes(bytes: &[u8]) -> Iolist {
    Iolist(vec![Arc::new(bytes.to_vec())])
}

/// How many references to the first piece are kept beside the test's own.
pub(crate) fn queued_by_reference(data: &Iolist) -> usize {
    Arc::strong_count(&data.0[0]) - 1
}

/// The rest of a piece that waits to be written.
pub(crate) struct Kept {
    piece: Arc<Vec<u8>>,
    from: usize,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.piece[self.from..]
    }
}

struct Pieces<'a> {
    data: &'a Iolist,
    slices: Vec<IoSlice<'a>>,
}

impl Outgoing<Kept> for Pieces<'_> {
    fn pieces(&self) -> &[IoSlice<'_>] {
        &self.slices
    }

    fn keep(&self, piece: usize, from: usize) -> Kept {
        let piece = Arc::clone(&self.data.0[piece]);
        Kept { piece, from }
    }
}

impl Process {
    /// One call of send, without its wait.
    pub(crate) fn try_send(&self, socket: &Handle, data: &Iolist, force: bool) -> Sent {
        let slices = data.0.iter().map(|piece| IoSlice::new(piece)).collect();
        socket.send(self.pid, &Pieces { data, slices }, force)
    }

    /// One call of a send that never waits.
    pub(crate) fn send_now(&self, socket: &Handle, data: &Iolist, tag: Tag) -> Sent {
        let slices = data.0.iter().map(|piece| IoSlice::new(piece)).collect();
        socket.send_now(self.pid, &Pieces { data, slices }, || tag)
    }

    /// One call that sends frames, without its wait.
    pub(crate) fn try_send_frames(&self, socket: &Handle, data: &Iolist) -> Sent {
        let slices = data.0.iter().map(|piece| IoSlice::new(piece)).collect();
        socket.send_frames(self.pid, &Pieces { data, slices })
    }

    /// A send that has to wait, up to its wait: whether the data is queued, and the tag.
    pub(crate) fn wait_to_send(&self, socket: &Handle, data: &Iolist) -> (bool, Tag) {
        loop {
            let Sent::Wait { queued, .. } = self.try_send(socket, data, false) else {
                panic!("a send that need not wait");
            };
            let tag = tag();
            match socket.await_send(self.pid, tag, queued) {
                Call::Wait => return (queued, tag),
                // The kernel has not had its fill.
                Call::Done(()) if !queued => {}
                call => panic!("{call:?}"),
            }
        }
    }

    /// A send, with its wait.
    pub(crate) fn send(&self, socket: &Handle, data: &Iolist) -> Result<(), Failure> {
        loop {
            let queued = match self.try_send(socket, data, false) {
                Sent::Done => return Ok(()),
                Sent::Failed(failure) => return Err(failure),
                Sent::Busy { .. } => panic!("a send that waits is never refused as busy"),
                Sent::Wait { queued, .. } => queued,
            };
            let tag = tag();
            match socket.await_send(self.pid, tag, queued) {
                Call::Done(()) if queued => return Ok(()),
                Call::Done(()) => {}
                Call::Failed(failure) => return Err(failure),
                Call::Wait => match self.reply(tag) {
                    Reply::Done => return Ok(()),
                    Reply::Ready => {}
                    Reply::Failed(failure) => return Err(failure),
                    Reply::Writable => panic!("no notice was asked for"),
                },
            }
        }
    }

    /// One call of recv, without its wait.
    pub(crate) fn try_recv(&self, socket: &Handle, len: usize, tag: Tag) -> Call<Vec<u8>> {
        socket.recv(
            self.pid,
            len,
            || tag,
            |_, framing, payload| body(framing, payload),
        )
    }

    /// A recv, with its wait.
    pub(crate) fn recv(&self, socket: &Handle, len: usize) -> Result<Vec<u8>, Failure> {
        let result = self.recv_for(socket, len, PATIENCE);
        assert_ne!(result, Err(Failure::Timeout));
        result
    }

    /// A recv that waits so long at most.
    pub(crate) fn recv_for(
        &self,
        socket: &Handle,
        len: usize,
        time: Duration,
    ) -> Result<Vec<u8>, Failure> {
        let end = Instant::now() + time;
        loop {
            let tag = tag();
            match self.try_recv(socket, len, tag) {
                Call::Done(bytes) => return Ok(bytes),
                Call::Failed(failure) => return Err(failure),
                Call::Wait => {}
            }
            match self.reply_until(socket, tag, end) {
                Some(Reply::Failed(failure)) => return Err(failure),
                Some(_) => {}
                None => return Err(Failure::Timeout),
            }
        }
    }

    /// An accept, with its wait.
    pub(crate) fn accept(&self, listener: &Handle) -> Result<Handle, Failure> {
        loop {
            let tag = tag();
            match listener.accept(self.pid, || tag) {
                Call::Done(socket) => return Ok(socket),
                Call::Failed(failure) => return Err(failure),
                Call::Wait => {}
            }
            if let Reply::Failed(failure) = self.reply(tag) {
                return Err(failure);
            }
        }
    }

    /// The reply to a call of recv or accept, or `None` if it was cancelled at `end`.
    pub(crate) fn reply_until(&self, socket: &Handle, tag: Tag, end: Instant) -> Option<Reply> {
        let mut mine = |message: &Message| match message {
            Message::Reply(of, reply) if *of == tag => Some(*reply),
            _ => None,
        };
        match self.select_until(end, &mut mine) {
            Some(reply) => Some(reply),
            None if socket.cancel(self.pid, &tag) => None,
            // The reply has come in between: it is there now, not later.
            None => Some(
                self.select_until(Instant::now(), &mut mine)
                    .unwrap_or_else(|| panic!("neither cancelled nor answered")),
            ),
        }
    }
}

//! The way of a stream's output to the kernel: at once, from the queue, or when the socket is
//! closed for everybody.

use crate::endpoint::{Context, Waiter};
use crate::host::{Failure, Host, Reply};
use crate::sending::Outgoing;
use crate::stream::{Link, Stream};
use crate::timeslice;
use crate::totals::{self, Total};
use proto::writer::Writer;
use socket2::Socket;
use std::io::{self, IoSlice};

/// Most bytes written by one call: a fraction of a millisecond of a scheduler.
const MOST_OF_A_CALL: usize = 512 * 1024;
/// Most pieces of one write.
const PIECES: usize = 64;
/// Pieces of at most so many bytes in all are written as one.
const TOGETHER: usize = 1024;

impl<H: Host> Stream<H> {
    /// Nothing is queued: writes, and queues what the kernel does not take.
    pub(crate) fn write_now(
        &mut self,
        header: &[u8],
        data: &dyn Outgoing<H::Kept>,
    ) -> Result<(), i32> {
        let (Link::Open(socket) | Link::InputEnded(socket)) = &self.link else {
            return Ok(());
        };
        let len = data.pieces().iter().map(|piece| piece.len()).sum::<usize>() + header.len();
        if len == 0 {
            return Ok(());
        }
        let pieces = std::iter::once(header).chain(data.pieces().iter().map(|piece| &**piece));
        let mut together = [0; TOGETHER];
        let Progress { offered, gone } = match together.get_mut(..len) {
            // One small buffer is cheaper than a vector of two.
            Some(together) if data.pieces().len() + header.len() > 1 => {
                let mut rest = &mut *together;
                for piece in pieces {
                    let (place, behind) = rest.split_at_mut(piece.len());
                    place.copy_from_slice(piece);
                    rest = behind;
                }
                write(socket, std::iter::once(&*together))?
            }
            _ => write(socket, pieces)?,
        };
        if gone < len {
            queue(&mut self.writer, header, data, gone);
        }
        if gone < offered {
            self.writer.refuse();
        }
        Ok(())
    }

    /// Writes what is queued, in the background.
    pub(crate) fn flush(&mut self, context: &mut Context<'_, H>) {
        let low_watermark = context.common.settings.low_watermark;
        if let Err(errno) = self.write_queue(low_watermark) {
            self.write_failed(context, errno, false);
        }
    }

    /// Writes what is queued, as far as the kernel takes it and one call may last, and
    /// does what waited for that.
    pub(crate) fn write_queue(&mut self, low_watermark: u32) -> Result<(), i32> {
        let (Link::Open(socket) | Link::InputEnded(socket)) = &self.link else {
            return Ok(());
        };
        write_queued(socket, &mut self.writer)?;
        if self.writer.is_empty()
            && let Some(waiting) = self.waiting.get_mut()
        {
            for waiter in waiting.drained.drain(..) {
                waiter.answer(Reply::Ready);
            }
            if let Some(how) = waiting.shutdown.take() {
                let errno = |error: io::Error| error.raw_os_error().unwrap_or(libc::EIO);
                socket.shutdown(how).map_err(errno)?;
            }
        }
        if self.writer.queued() <= low_watermark as usize {
            self.writer.release();
        }
        self.release_senders(low_watermark);
        Ok(())
    }

    /// Whether a close leaves output that is still to be written.
    pub(crate) fn can_drain(&self) -> bool {
        !self.writer.is_empty() && matches!(self.link, Link::Open(_) | Link::InputEnded(_))
    }

    pub(crate) fn await_drained(&mut self, waiter: Waiter<H>) {
        self.waiting.make().drained.push(waiter);
    }

    /// The socket is closed for everybody; its output goes on. Only if it
    /// [can drain](Self::can_drain).
    pub(crate) fn drain(mut self) -> Option<Draining<H>> {
        let writer = std::mem::take(&mut self.writer);
        self.dismiss(Failure::Closed);
        match self.link {
            Link::Open(socket) | Link::InputEnded(socket) => Some(Draining {
                socket,
                writer,
                over: false,
            }),
            Link::Husk(_) | Link::Over(..) => None,
        }
    }
}

/// The output of a socket that is closed for everybody.
pub(crate) struct Draining<H: Host> {
    socket: Socket,
    writer: Writer<H::Kept>,
    over: bool,
}

impl<H: Host> Draining<H> {
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(crate) fn queued(&self) -> usize {
        self.writer.queued()
    }

    /// Nothing is left to do, or nothing can be done.
    pub(crate) fn is_over(&self) -> bool {
        self.over || self.writer.is_empty()
    }

    pub(crate) fn flush(&mut self) {
        self.over = write_queued(&self.socket, &mut self.writer).is_err();
    }
}

/// Queues what follows the first `skip` bytes of `header` and `data`.
pub(crate) fn queue<K: AsRef<[u8]>>(
    writer: &mut Writer<K>,
    header: &[u8],
    data: &dyn Outgoing<K>,
    skip: usize,
) {
    writer.queue_copy(header.get(skip..).unwrap_or_default());
    let mut skip = skip.saturating_sub(header.len());
    for (index, piece) in data.pieces().iter().enumerate() {
        match piece.get(skip..) {
            Some(rest) if Writer::<K>::prefers_copy(rest.len()) => writer.queue_copy(rest),
            Some(_) => writer.queue_kept(data.keep(index, skip)),
            None => {}
        }
        skip = skip.saturating_sub(piece.len());
    }
}

/// Writes the queue until the kernel refuses or a call has lasted long enough.
fn write_queued<K: AsRef<[u8]>>(socket: &Socket, writer: &mut Writer<K>) -> Result<(), i32> {
    let mut left = MOST_OF_A_CALL;
    while !writer.is_empty() && left > 0 {
        let progress = write(socket, writer.front(PIECES))?;
        writer.written(progress.gone);
        left = left.saturating_sub(progress.gone);
        if progress.gone < progress.offered {
            writer.refuse();
            break;
        }
    }
    Ok(())
}

struct Progress {
    offered: usize,
    gone: usize,
}

/// One write of as many pieces and bytes as one write may have. An error is an errno.
fn write<'a>(socket: &Socket, pieces: impl Iterator<Item = &'a [u8]>) -> Result<Progress, i32> {
    let mut slices = [IoSlice::new(&[]); PIECES];
    let mut offered = 0;
    let mut count = 0;
    for (slice, piece) in slices
        .iter_mut()
        .zip(pieces.filter(|piece| !piece.is_empty()))
    {
        let len = piece.len().min(MOST_OF_A_CALL - offered);
        if len == 0 {
            break;
        }
        *slice = IoSlice::new(piece.get(..len).unwrap_or_default());
        offered += len;
        count += 1;
    }
    let slices = slices.get(..count).unwrap_or_default();
    loop {
        let result = match slices {
            [one] => socket.send_with_flags(one, libc::MSG_NOSIGNAL),
            many => socket.send_vectored_with_flags(many, libc::MSG_NOSIGNAL),
        };
        match result {
            Ok(gone) => {
                totals::add(Total::Writes, 1);
                totals::add(Total::WrittenBytes, gone as u64);
                timeslice::hold_for_write(gone);
                return Ok(Progress { offered, gone });
            }
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => return Ok(Progress { offered, gone: 0 }),
                _ => return Err(error.raw_os_error().unwrap_or(libc::EIO)),
            },
        }
    }
}

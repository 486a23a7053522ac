//! The functions of `gen_tcp_rs_nif` that use a socket, end it or hand it over, in the order
//! of its stubs; `opening`, `options`, `observe` and `carrier` have the others. Each decodes,
//! calls the endpoint, encodes. None blocks, and none holds a scheduler for more than a
//! millisecond, but for `stop`, which runs on a dirty one.

use crate::atoms;
use crate::encode::{Delivery, delivery};
use crate::errors::error;
use crate::host::{Handle, Socket};
use crate::iodata::with_pieces;
use crate::message::{self, Pid, Tag};
use crate::options::active_term;
use crate::pollers::{self, APPLICATION};
use net::{Call, Failure, Sent, Tuning};
use proto::Active;
use rustler::sys::{c_int, enif_consume_timeslice};
use rustler::{Atom, Binary, Encoder, Env, Error, LocalPid, NifResult, ResourceArc, Term};
use std::net::Shutdown;

pub(crate) type Ref<'a> = Term<'a>;

pub(crate) fn done<'a>(env: Env<'a>, result: Result<(), Failure>) -> Term<'a> {
    match result {
        Ok(()) => atoms::ok().encode(env),
        Err(failure) => error(env, failure),
    }
}

fn waited<'a>(env: Env<'a>, call: Call<()>) -> Term<'a> {
    match call {
        Call::Done(()) => atoms::ok().encode(env),
        Call::Wait => atoms::wait().encode(env),
        Call::Failed(failure) => error(env, failure),
    }
}

#[rustler::nif]
fn recv<'a>(
    env: Env<'a>,
    socket: &'a Socket,
    len: usize,
    reference: Ref<'a>,
) -> NifResult<Term<'a>> {
    let received = socket.recv(
        Pid::caller(env),
        len,
        || Tag::new(reference),
        |form, framing, payload| match delivery(env, form, framing, payload) {
            Delivery::Data(data) | Delivery::Http(data) => data,
            Delivery::Tls(content_type, version, data) => {
                // SAFETY: the term was made in this environment.
                let socket = unsafe { Term::new(env, socket.host().socket_term(env)) };
                (atoms::ssl_tls(), socket, content_type, version, data).encode(env)
            }
        },
    );
    charge(env);
    Ok(match received {
        Call::Done(data) => (atoms::ok(), data).encode(env),
        Call::Wait => atoms::wait().encode(env),
        Call::Failed(failure) => error(env, failure),
    })
}

/// Nanoseconds of a hundredth of what a process may use at a time.
const PERCENT: u64 = 10_000;

/// What a call has used of its scheduler in the kernel, by spinning, or for other sockets,
/// counts as the process's own work: one that sends or receives in a loop yields like others.
pub(crate) fn charge(env: Env<'_>) {
    let percent = net::take_time_held(PERCENT).min(100) as c_int;
    if percent > 0 {
        // SAFETY: the environment is that of the process that called. Whether its time is
        // over shows at the end of the call.
        unsafe { enif_consume_timeslice(env.as_c_arg(), percent) };
    }
}

#[rustler::nif]
fn unrecv<'a>(env: Env<'a>, socket: &'a Socket, data: Term<'a>) -> NifResult<Term<'a>> {
    Ok(match Binary::from_iolist(data) {
        Ok(bytes) => done(env, socket.unrecv(bytes.as_slice())),
        Err(_) => error(env, no_data(socket)),
    })
}

/// What a call is told whose data is none: as with the port driver it is looked at only
/// where there is a socket.
fn no_data(socket: &Socket) -> Failure {
    match socket.is_gone() {
        true => Failure::Closed,
        false => Failure::Posix(libc::EINVAL),
    }
}

#[rustler::nif]
fn send<'a>(env: Env<'a>, socket: &'a Socket, data: Term<'a>, force: bool) -> NifResult<Term<'a>> {
    let pid = Pid::caller(env);
    let result = with_pieces(data, |pieces| socket.send(pid, pieces, force));
    charge(env);
    Ok(sent(env, socket, result))
}

/// `ok`, `{wait, IsQueued, Timeout, Close}` or `{error, Reason}`.
pub(crate) fn sent<'a>(env: Env<'a>, socket: &Socket, sent: NifResult<Sent>) -> Term<'a> {
    match sent {
        Ok(Sent::Done) => atoms::ok().encode(env),
        Ok(Sent::Wait {
            queued,
            timeout,
            close,
        }) => {
            let timeout = match timeout {
                Some(milliseconds) => milliseconds.encode(env),
                None => atoms::infinity().encode(env),
            };
            (atoms::wait(), queued, timeout, close).encode(env)
        }
        Ok(sent) => refused(env, sent),
        Err(_) => error(env, no_data(socket)),
    }
}

/// `{error, {busy, Queued}}`: one `{tcp_writable, S}` will come.
#[rustler::nif]
fn send_now<'a>(env: Env<'a>, socket: &'a Socket, data: Term<'a>) -> NifResult<Term<'a>> {
    let tag = || {
        // SAFETY: the term was made in this environment.
        Tag::new(unsafe { Term::new(env, socket.host().socket_term(env)) })
    };
    let pid = Pid::caller(env);
    let result = with_pieces(data, |pieces| socket.send_now(pid, pieces, tag));
    charge(env);
    Ok(match result {
        Ok(Sent::Done) => atoms::ok().encode(env),
        Ok(sent) => refused(env, sent),
        Err(_) => error(env, no_data(socket)),
    })
}

/// What a send is told that has to make no further call.
fn refused(env: Env<'_>, sent: Sent) -> Term<'_> {
    match sent {
        Sent::Done => atoms::ok().encode(env),
        Sent::Busy { queued } => (atoms::error(), (atoms::busy(), queued)).encode(env),
        Sent::Failed(failure) => error(env, failure),
        // Answered by the one caller whose sends may wait.
        Sent::Wait { .. } => error(env, Failure::Posix(libc::EAGAIN)),
    }
}

#[rustler::nif]
fn await_send<'a>(
    env: Env<'a>,
    socket: ResourceArc<Socket>,
    reference: Ref<'a>,
    queued: bool,
) -> NifResult<Term<'a>> {
    let pid = Pid::caller(env);
    let call = socket.await_send(pid, Tag::new(reference), queued);
    if matches!(call, Call::Wait) && !queued {
        Handle(socket).watch_waiter(env, pid);
    }
    Ok(waited(env, call))
}

#[rustler::nif]
fn send_timed_out<'a>(
    env: Env<'a>,
    socket: &'a Socket,
    reference: Ref<'a>,
    close: bool,
) -> NifResult<bool> {
    Ok(socket.send_timed_out(Pid::caller(env), &Tag::new(reference), close))
}

#[rustler::nif]
fn cancel<'a>(env: Env<'a>, socket: &'a Socket, reference: Ref<'a>) -> NifResult<bool> {
    Ok(socket.cancel(Pid::caller(env), &Tag::new(reference)))
}

/// Reads a file, which may block.
#[rustler::nif(schedule = "DirtyIo")]
fn sendfile<'a>(
    env: Env<'a>,
    socket: &'a Socket,
    file: i32,
    offset: u64,
    count: usize,
) -> NifResult<Term<'a>> {
    Ok(
        match socket.send_file(Pid::caller(env), file, offset, count) {
            Call::Done(sent) => (atoms::ok(), sent).encode(env),
            Call::Wait => atoms::wait().encode(env),
            Call::Failed(failure) => error(env, failure),
        },
    )
}

#[rustler::nif]
fn await_writable<'a>(env: Env<'a>, socket: &'a Socket, reference: Ref<'a>) -> NifResult<Term<'a>> {
    Ok(waited(
        env,
        socket.await_writable(Pid::caller(env), Tag::new(reference)),
    ))
}

#[rustler::nif]
fn file_sent(env: Env<'_>, socket: &Socket) -> NifResult<Atom> {
    socket.file_sent(Pid::caller(env));
    Ok(atoms::ok())
}

#[rustler::nif]
fn shutdown<'a>(env: Env<'a>, socket: &'a Socket, how: Atom) -> NifResult<Term<'a>> {
    let how = match how {
        how if how == atoms::read() => Shutdown::Read,
        how if how == atoms::write() => Shutdown::Write,
        how if how == atoms::read_write() => Shutdown::Both,
        _ => return Err(Error::BadArg),
    };
    Ok(done(env, socket.shutdown(how)))
}

/// `ok`, or `{linger, Seconds | infinity}`: output is queued.
#[rustler::nif]
fn close<'a>(env: Env<'a>, socket: ResourceArc<Socket>) -> NifResult<Term<'a>> {
    let linger = socket.linger();
    if socket.close() {
        Handle(socket).unwatch_owner(env);
        return Ok(atoms::ok().encode(env));
    }
    let seconds = match linger {
        Some(seconds) => seconds.encode(env),
        None => atoms::infinity().encode(env),
    };
    Ok((atoms::linger(), seconds).encode(env))
}

#[rustler::nif]
fn await_drained<'a>(env: Env<'a>, socket: &'a Socket, reference: Ref<'a>) -> NifResult<Term<'a>> {
    Ok(waited(
        env,
        socket.await_drained(Pid::caller(env), Tag::new(reference)),
    ))
}

#[rustler::nif]
fn owes(socket: &Socket) -> NifResult<bool> {
    Ok(socket.owes())
}

#[rustler::nif]
fn queued(socket: &Socket) -> NifResult<usize> {
    Ok(socket.queued())
}

#[rustler::nif]
fn abandon(env: Env<'_>, socket: ResourceArc<Socket>) -> NifResult<Atom> {
    socket.abandon();
    Handle(socket).unwatch_owner(env);
    Ok(atoms::ok())
}

/// `{ok, Active}`: passive now; `owner`: it is `to`'s already; `{error, Reason}`.
#[rustler::nif]
fn begin_transfer<'a>(env: Env<'a>, socket: &'a Socket, to: LocalPid) -> NifResult<Term<'a>> {
    Ok(match socket.begin_transfer(Pid::caller(env), to.into()) {
        Ok(Some(active)) => (atoms::ok(), active_term(env, active)).encode(env),
        Ok(None) => atoms::owner().encode(env),
        Err(failure) => error(env, failure),
    })
}

/// Sends a message of the stream on, in the order of the stream's own messages.
#[rustler::nif]
fn forward<'a>(to: LocalPid, message: Term<'a>) -> NifResult<bool> {
    Ok(message::send(to.into(), |env| {
        message.in_env(env).as_c_arg()
    }))
}

/// `ok`, `monitored` if somebody should watch the new owner, or `{error, badarg}`: the
/// process is gone, and nothing has changed but that the socket is passive.
#[rustler::nif]
fn finish_transfer<'a>(
    env: Env<'a>,
    socket: ResourceArc<Socket>,
    to: LocalPid,
    active: Term<'a>,
) -> NifResult<Term<'a>> {
    let active = match active.decode::<u16>() {
        Ok(count) => Active::Count(count),
        Err(_) if atoms::once() == active => Active::Once,
        Err(_) if active.decode::<bool>()? => Active::Always,
        Err(_) => Active::Passive,
    };
    let owner = Pid::from(to);
    let before = socket.owner();
    let handle = Handle(socket);
    if !owner.is_alive() {
        return Ok(error(env, Failure::BadArgument));
    }
    if !handle.finish_transfer(owner, active) {
        return Ok(error(env, Failure::Closed));
    }
    if before != owner {
        // If it has died meanwhile the socket goes with it.
        handle.watch_owner(env, owner);
    }
    Ok(if handle.monitored_owner().is_some() {
        atoms::monitored().encode(env)
    } else {
        atoms::ok().encode(env)
    })
}

#[rustler::nif]
fn monitor<'a>(env: Env<'a>, socket: &'a Socket, reference: Ref<'a>) -> NifResult<bool> {
    Ok(socket.monitor(Pid::caller(env), Tag::new(reference)))
}

/// `inet` knows the socket no more, so all are asked.
#[rustler::nif]
fn cancel_monitor<'a>(env: Env<'a>, reference: Ref<'a>) -> NifResult<bool> {
    let (pid, monitor) = (Pid::caller(env), Tag::new(reference));
    Ok(pollers::sockets()
        .iter()
        .any(|socket| socket.cancel_monitor(pid, &monitor)))
}

/// The owner, or `none`.
#[rustler::nif]
fn monitored_owner<'a>(env: Env<'a>, socket: &'a Socket) -> NifResult<Term<'a>> {
    Ok(match socket.monitored_owner() {
        Some(owner) => owner.local().encode(env),
        None => atoms::none().encode(env),
    })
}

#[rustler::nif]
fn promise_report(env: Env<'_>, socket: &Socket, owner: LocalPid) -> NifResult<bool> {
    Ok(socket.promise_report(Pid::caller(env), owner.into()))
}

#[rustler::nif]
fn report<'a>(socket: &'a Socket, owner: LocalPid, reason: Term<'a>) -> NifResult<Atom> {
    socket.report(owner.into(), |(pid, monitor)| {
        let why = |env: Env<'_>| reason.in_env(env).as_c_arg();
        socket.host().send_down(pid, monitor, why);
    });
    Ok(atoms::ok())
}

#[rustler::nif]
fn sockets<'a>(env: Env<'a>) -> NifResult<Vec<Term<'a>>> {
    Ok(APPLICATION
        .sockets()
        .into_iter()
        .map(|handle| handle.0.encode(env))
        .collect())
}

/// How many pollers still have open sockets; each sends one `{Ref, ready}`.
#[rustler::nif]
fn await_all_closed<'a>(env: Env<'a>, reference: Ref<'a>) -> NifResult<usize> {
    let pid = Pid::caller(env);
    let awaited =
        |poller: &std::sync::Arc<net::Poller<_>>| poller.await_empty(pid, Tag::new(reference));
    Ok(APPLICATION
        .running()
        .iter()
        .filter(|poller| awaited(poller))
        .count())
}

/// The fds of the pollers that run; the caller gets `{gen_tcp_rs, poller, Fd}` for each that
/// starts.
#[rustler::nif]
fn watch_pollers(env: Env<'_>) -> NifResult<Vec<i32>> {
    Ok(pollers::watch(Pid::caller(env)))
}

/// The rules of the pollers that start from now on.
#[rustler::nif]
fn tune(spin: bool, gather: bool, adaptive_reads: bool, stay: bool) -> NifResult<Atom> {
    let default = Tuning::default();
    APPLICATION.tune(Tuning {
        spin,
        gather,
        adaptive_reads,
        stay_after: default.stay_after.filter(|_| stay),
    });
    Ok(atoms::ok())
}

/// Waits for threads.
#[rustler::nif(schedule = "DirtyIo")]
fn stop() -> NifResult<Atom> {
    APPLICATION.stop();
    Ok(atoms::ok())
}

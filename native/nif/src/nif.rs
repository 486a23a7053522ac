//! The functions of `gen_tcp_rs_nif`, in the order of its stubs. Each decodes, calls the
//! endpoint, encodes. None blocks, and none holds a scheduler for more than a
//! millisecond, but for `stop`, which runs on a dirty one.

use crate::address_terms::{address, address_term, family};
use crate::atoms;
use crate::encode::{Delivery, delivery};
use crate::errors::error;
use crate::host::{Handle, Socket};
use crate::iodata::with_pieces;
use crate::message::{self, Pid, Tag};
use crate::option_terms::{self, Asked, answer};
use crate::pollers::{self, APPLICATION, Pollers};
use net::option::{Calls, Query, Reading};
use net::{
    Address, Call, Counter, Counters, Endpoint, Failure, Family, Kind, Sent, Source, Spec, Tuning,
};
use proto::Active;
use rustler::sys::{c_int, enif_consume_timeslice};
use rustler::{Atom, Binary, Encoder, Env, Error, LocalPid, NifResult, ResourceArc, Term};
use std::ffi::CString;
use std::net::Shutdown;

pub(crate) type Ref<'a> = Term<'a>;

/// `{Family, Protocol, Source, Bind, Options}`.
pub(crate) fn spec(config: Term<'_>, call: Calls) -> NifResult<Spec> {
    let (family_atom, protocol, source, bind, options): (Term, Atom, Term, Term, Term) =
        config.decode()?;
    let source = match source.decode::<(Atom, Term<'_>)>() {
        Ok((tag, fd)) if tag == atoms::fd() => Source::Fd(fd.decode()?),
        Ok((tag, path)) if tag == atoms::netns() => {
            let path = path.decode::<Binary<'_>>()?.as_slice();
            Source::Namespace(CString::new(path).map_err(|_| Error::BadArg)?)
        }
        Ok(_) => return Err(Error::BadArg),
        Err(_) => Source::New,
    };
    let bind = if atoms::none() == bind {
        None
    } else {
        Some(address(bind)?)
    };
    Ok(Spec {
        family: family(family_atom)?,
        multipath: protocol == atoms::mptcp(),
        source,
        bind,
        options: option_terms::settings(options, call)?,
    })
}

/// `{ok, Handle}` of a socket whose owner is watched from now on.
pub(crate) fn opened<'a>(env: Env<'a>, handle: Handle, owner: Pid, tag: Atom) -> Term<'a> {
    handle.watch_owner(env, owner);
    (tag, handle.0).encode(env)
}

fn done<'a>(env: Env<'a>, result: Result<(), Failure>) -> Term<'a> {
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

fn value<'a>(env: Env<'a>, result: Result<impl Encoder, Failure>) -> Term<'a> {
    match result {
        Ok(value) => (atoms::ok(), value).encode(env),
        Err(failure) => error(env, failure),
    }
}

#[rustler::nif]
fn connect<'a>(
    env: Env<'a>,
    config: Term<'a>,
    to: Term<'a>,
    reference: Ref<'a>,
) -> NifResult<Term<'a>> {
    Ok(connect_on(&APPLICATION, env, config, to, reference))
}

pub(crate) fn connect_on<'a>(
    pollers: &Pollers,
    env: Env<'a>,
    config: Term<'a>,
    to: Term<'a>,
    reference: Ref<'a>,
) -> Term<'a> {
    let (spec, to) = match (spec(config, Calls::CONNECT), address(to)) {
        (Ok(spec), Ok(to)) => (spec, to),
        _ => return atoms::badarg().encode(env),
    };
    let owner = Pid::caller(env);
    let connected = pollers
        .assign()
        .and_then(|poller| Endpoint::connect(&poller, owner, &spec, &to, Tag::new(reference)));
    match connected {
        Ok((handle, Call::Wait)) => opened(env, handle, owner, atoms::wait()),
        Ok((handle, _)) => opened(env, handle, owner, atoms::ok()),
        Err(failure) => error(env, failure),
    }
}

#[rustler::nif]
fn listen<'a>(env: Env<'a>, config: Term<'a>, backlog: i32) -> NifResult<Term<'a>> {
    Ok(listen_on(&APPLICATION, env, config, backlog))
}

pub(crate) fn listen_on<'a>(
    pollers: &Pollers,
    env: Env<'a>,
    config: Term<'a>,
    backlog: i32,
) -> Term<'a> {
    let Ok(spec) = spec(config, Calls::LISTEN) else {
        return atoms::badarg().encode(env);
    };
    let owner = Pid::caller(env);
    let listening = pollers
        .assign()
        .and_then(|poller| Endpoint::listen(&poller, owner, &spec, backlog));
    match listening {
        Ok(handle) => opened(env, handle, owner, atoms::ok()),
        Err(failure) => error(env, failure),
    }
}

#[rustler::nif]
fn take_over<'a>(env: Env<'a>, config: Term<'a>) -> NifResult<Term<'a>> {
    let Ok(spec) = spec(config, Calls::SET) else {
        return Ok(atoms::badarg().encode(env));
    };
    let owner = Pid::caller(env);
    let taken = APPLICATION
        .assign()
        .and_then(|poller| Endpoint::take_over(&poller, owner, &spec));
    Ok(match taken {
        Ok(handle) => opened(env, handle, owner, atoms::ok()),
        Err(failure) => error(env, failure),
    })
}

#[rustler::nif]
fn accept<'a>(
    env: Env<'a>,
    listener: ResourceArc<Socket>,
    reference: Ref<'a>,
) -> NifResult<Term<'a>> {
    let pid = Pid::caller(env);
    let accepted = listener.accept(pid, || Tag::new(reference));
    charge(env);
    Ok(match accepted {
        Call::Done(handle) => opened(env, handle, pid, atoms::ok()),
        Call::Wait => {
            Handle(listener).watch_waiter(env, pid);
            atoms::wait().encode(env)
        }
        Call::Failed(failure) => error(env, failure),
    })
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

/// What a call has used of its scheduler by spinning, or for other sockets, counts as the
/// process's own work: one that sends or receives in a loop yields like others.
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
        Err(_) => error(env, Failure::Posix(libc::EINVAL)),
    })
}

#[rustler::nif]
fn send<'a>(env: Env<'a>, socket: &'a Socket, data: Term<'a>, force: bool) -> NifResult<Term<'a>> {
    let pid = Pid::caller(env);
    let result = with_pieces(data, |pieces| socket.send(pid, pieces, force));
    charge(env);
    Ok(sent(env, result))
}

/// `ok`, `{wait, IsQueued, Timeout, Close}` or `{error, Reason}`.
pub(crate) fn sent<'a>(env: Env<'a>, sent: NifResult<Sent>) -> Term<'a> {
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
        Err(_) => error(env, Failure::Posix(libc::EINVAL)),
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
    Ok(
        match with_pieces(data, |pieces| socket.send_now(pid, pieces, tag)) {
            Ok(Sent::Done) => atoms::ok().encode(env),
            Ok(sent) => refused(env, sent),
            Err(_) => error(env, Failure::Posix(libc::EINVAL)),
        },
    )
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
fn queued(socket: &Socket) -> NifResult<usize> {
    Ok(socket.queued())
}

#[rustler::nif]
fn abandon(env: Env<'_>, socket: ResourceArc<Socket>) -> NifResult<Atom> {
    socket.abandon();
    Handle(socket).unwatch_owner(env);
    Ok(atoms::ok())
}

#[rustler::nif]
fn setopts<'a>(env: Env<'a>, socket: &'a Socket, options: Term<'a>) -> NifResult<Term<'a>> {
    let result = match rearming(options) {
        Some(active) => socket.activate(active),
        None => match option_terms::settings(options, Calls::SET) {
            Ok(settings) => socket.set_options(&settings),
            Err(_) => return Ok(error(env, Failure::Posix(libc::EINVAL))),
        },
    };
    charge(env);
    Ok(done(
        env,
        result.map_err(|refused| Failure::Posix(refused.errno)),
    ))
}

/// The commonest list of all, `[{active, once | true}]`, without the way through the table.
fn rearming(options: Term<'_>) -> Option<Active> {
    let (option, rest) = options.list_get_cell().ok()?;
    if !rest.is_empty_list() {
        return None;
    }
    let (name, mode): (Atom, Atom) = option.decode().ok()?;
    match mode {
        _ if name != atoms::active() => None,
        mode if mode == atoms::once() => Some(Active::Once),
        mode if mode == rustler::types::atom::true_() => Some(Active::Always),
        _ => None,
    }
}

/// `{ok, [Option]}` or `{error, einval}`.
#[rustler::nif]
fn getopts<'a>(env: Env<'a>, socket: &'a Socket, names: Term<'a>) -> NifResult<Term<'a>> {
    let einval = Failure::Posix(libc::EINVAL);
    let Ok(queries) = option_terms::queries(names) else {
        return Ok(error(env, einval));
    };
    let (asked, queries): (Vec<Asked<'a>>, Vec<Query>) = queries.into_iter().unzip();
    let Ok(readings) = socket.get_options(queries) else {
        return Ok(error(env, einval));
    };
    let mut options = Vec::with_capacity(asked.len());
    for (asked, reading) in asked.iter().zip(readings) {
        match reading {
            Reading::Value(value) => options.push(answer(env, asked, &value)),
            Reading::Omitted | Reading::Stream(_) => {}
            Reading::Refused => return Ok(error(env, einval)),
        }
    }
    Ok((atoms::ok(), options).encode(env))
}

/// `{ok, [{Name, Count}]}` or `{error, einval}`.
#[rustler::nif]
fn getstat<'a>(env: Env<'a>, socket: &'a Socket, names: Vec<Atom>) -> NifResult<Term<'a>> {
    let mut wanted = Vec::with_capacity(names.len());
    for name in names {
        let known = name
            .to_term(env)
            .atom_to_string()
            .ok()
            .and_then(|name| Counter::named(&name));
        match known {
            Some(counter) => wanted.push((name, counter)),
            None => return Ok(error(env, Failure::Posix(libc::EINVAL))),
        }
    }
    let Some(counters) = socket.counters() else {
        return Ok(error(env, Failure::Posix(libc::EINVAL)));
    };
    let values: Vec<(Atom, u64)> = wanted
        .into_iter()
        .map(|(name, counter)| (name, counters.value(counter)))
        .collect();
    Ok((atoms::ok(), values).encode(env))
}

fn named<'a>(env: Env<'a>, result: Result<Address, Failure>) -> Term<'a> {
    match result {
        Ok(address) => (atoms::ok(), address_term(env, &address)).encode(env),
        Err(failure) => error(env, failure),
    }
}

#[rustler::nif]
fn sockname<'a>(env: Env<'a>, socket: &'a Socket) -> NifResult<Term<'a>> {
    Ok(named(env, socket.local_address()))
}

#[rustler::nif]
fn peername<'a>(env: Env<'a>, socket: &'a Socket) -> NifResult<Term<'a>> {
    Ok(named(env, socket.peer_address()))
}

#[rustler::nif]
fn getfd<'a>(env: Env<'a>, socket: &'a Socket) -> NifResult<Term<'a>> {
    Ok(value(env, socket.fd()))
}

/// A map with what `inet:info/1` is made of.
#[rustler::nif]
fn info<'a>(env: Env<'a>, socket: &'a Socket) -> NifResult<Term<'a>> {
    let info = socket.info();
    let state = match info.kind {
        Kind::Connecting => atoms::connecting(),
        Kind::Connected => atoms::connected(),
        Kind::Listening => atoms::listening(),
        Kind::Disconnected => atoms::disconnected(),
        Kind::Draining | Kind::Closed => atoms::closed(),
    };
    let family = family_atom(socket.family());
    let pairs = [
        (atoms::state(), state.encode(env)),
        (atoms::owner(), info.owner.local().encode(env)),
        (atoms::family(), family.encode(env)),
        (atoms::active(), active_term(env, info.settings.active)),
        (atoms::counters(), counters_term(env, &info.counters)?),
        (atoms::num_acceptors(), info.acceptors.encode(env)),
        (atoms::num_readers(), info.readers.encode(env)),
        (atoms::num_writers(), info.writers.encode(env)),
        (atoms::num_queued(), socket.queued().encode(env)),
    ];
    Term::map_from_pairs(env, &pairs)
}

pub(crate) fn family_atom(family: Family) -> Atom {
    match family {
        Family::Inet => atoms::inet(),
        Family::Inet6 => atoms::inet6(),
        Family::Local => atoms::local(),
    }
}

fn counters_term<'a>(env: Env<'a>, counters: &Counters) -> NifResult<Term<'a>> {
    let mut pairs = Vec::with_capacity(Counter::ALL.len());
    for (name, counter) in Counter::ALL {
        pairs.push((Atom::from_str(env, name)?, counters.value(counter)));
    }
    Term::map_from_pairs(env, &pairs)
}

pub(crate) fn active_term<'a>(env: Env<'a>, active: Active) -> Term<'a> {
    match active {
        Active::Passive => false.encode(env),
        Active::Always => true.encode(env),
        Active::Once => atoms::once().encode(env),
        Active::Count(count) => count.encode(env),
    }
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

/// The rules of the pollers that start from now on.
#[rustler::nif]
fn tune(spin: bool, assist: bool, gather: bool, adaptive_reads: bool) -> NifResult<Atom> {
    APPLICATION.tune(Tuning {
        spin,
        assist,
        gather,
        adaptive_reads,
    });
    Ok(atoms::ok())
}

/// Waits for threads.
#[rustler::nif(schedule = "DirtyIo")]
fn stop() -> NifResult<Atom> {
    APPLICATION.stop();
    Ok(atoms::ok())
}

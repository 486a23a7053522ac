//! What is shown of the sockets and of the library: read from memory and from the
//! kernel, without a message to anybody.

use crate::address_terms::address_term;
use crate::atoms;
use crate::host::{MAILBOXES, REPORT_TO, Socket};
use crate::option_terms::packet_term;
use crate::options::{active_term, family_atom};
use crate::pollers;
use net::option::Mode;
use net::{Address, Kind, Paused, Snapshot, Total};
use rustler::{Atom, Encoder, Env, LocalPid, NifResult, Term};

fn state(kind: Kind) -> Atom {
    match kind {
        Kind::Connecting => atoms::connecting(),
        Kind::Connected => atoms::connected(),
        Kind::Listening => atoms::listening(),
        Kind::Disconnected => atoms::disconnected(),
        Kind::Draining => atoms::draining(),
        Kind::Closed => atoms::closed(),
    }
}

/// A number, or `undefined`.
fn known(env: Env<'_>, number: Option<u64>) -> Term<'_> {
    match number {
        Some(number) => number.encode(env),
        None => atoms::undefined().encode(env),
    }
}

/// A map of one socket.
#[rustler::nif]
fn snapshot<'a>(env: Env<'a>, socket: &'a Socket) -> NifResult<Term<'a>> {
    let Snapshot {
        kind,
        owner,
        family,
        local,
        remote,
        active,
        paused,
        mode,
        packet,
        received,
        sent,
        queued,
        waiting,
        rtt,
        idle,
        backlog,
    } = socket.snapshot();
    let mode = match mode {
        Mode::List => atoms::list(),
        Mode::Binary => atoms::binary(),
    };
    let address = |address: Option<Address>| match address {
        Some(address) => address_term(env, &address),
        None => atoms::undefined().encode(env),
    };
    let pairs = [
        (atoms::state(), state(kind).encode(env)),
        (atoms::owner(), owner.local().encode(env)),
        (atoms::family(), family_atom(family).encode(env)),
        (atoms::local(), address(local)),
        (atoms::remote(), address(remote)),
        (atoms::active(), active_term(env, active)),
        (atoms::paused(), paused.encode(env)),
        (atoms::mode(), mode.encode(env)),
        (atoms::packet(), packet_term(env, packet)),
        (atoms::recv_oct(), received.encode(env)),
        (atoms::send_oct(), sent.encode(env)),
        (atoms::queued(), queued.encode(env)),
        (atoms::num_acceptors(), waiting.acceptors.encode(env)),
        (atoms::num_readers(), waiting.readers.encode(env)),
        (atoms::num_writers(), waiting.writers.encode(env)),
        (atoms::rtt(), known(env, rtt)),
        (atoms::idle(), known(env, idle)),
        (atoms::backlog(), known(env, backlog)),
    ];
    Term::map_from_pairs(env, &pairs)
}

/// A map of what all sockets have done since the library was loaded, and of how many there
/// are in each state. Locks every socket in turn.
#[rustler::nif(schedule = "DirtyCpu")]
fn totals<'a>(env: Env<'a>) -> NifResult<Term<'a>> {
    let kinds = [
        Kind::Connecting,
        Kind::Connected,
        Kind::Listening,
        Kind::Disconnected,
        Kind::Draining,
    ];
    let mut counts = kinds.map(|_| 0_usize);
    let mut queued = 0;
    for socket in pollers::sockets() {
        let (kind, bytes) = socket.kind();
        queued += bytes;
        // One that has closed meanwhile is none of them.
        if let Some(place) = kinds.iter().position(|known| *known == kind)
            && let Some(count) = counts.get_mut(place)
        {
            *count += 1;
        }
    }
    let by_state: Vec<(Atom, usize)> = kinds.into_iter().map(state).zip(counts).collect();
    let mut pairs = Vec::with_capacity(Total::ALL.len() + 4);
    for ((name, _), count) in Total::ALL.into_iter().zip(net::totals()) {
        pairs.push((Atom::from_str(env, name)?, count.encode(env)));
    }
    pairs.push((atoms::queued(), queued.encode(env)));
    pairs.push((atoms::pollers(), pollers::running().encode(env)));
    pairs.push((atoms::sockets(), Term::map_from_pairs(env, &by_state)?));
    pairs.push((atoms::longest_lock(), known(env, net::longest_lock())));
    Term::map_from_pairs(env, &pairs)
}

/// Switches the timing of locks on or off.
#[rustler::nif]
fn time_locks(on: bool) -> NifResult<Atom> {
    net::time_locks(on);
    Ok(atoms::ok())
}

/// Reports of the library go to `to` from now on.
#[rustler::nif]
fn report_to(to: LocalPid) -> NifResult<Atom> {
    *REPORT_TO.lock() = Some(to.into());
    Ok(atoms::ok())
}

#[rustler::nif]
fn mailboxes_to(to: LocalPid) -> NifResult<Atom> {
    *MAILBOXES.lock() = Some(to.into());
    Ok(atoms::ok())
}

/// `{Owner, Room, Number}`, or `false`.
#[rustler::nif]
fn paused<'a>(env: Env<'a>, socket: &'a Socket) -> NifResult<Term<'a>> {
    Ok(match socket.paused() {
        Some(Paused {
            owner,
            room,
            number,
        }) => (owner.local(), room, number).encode(env),
        None => false.encode(env),
    })
}

#[rustler::nif]
fn resume(socket: &Socket, number: u8) -> NifResult<Atom> {
    socket.resume(number);
    Ok(atoms::ok())
}

//! What is set on a socket and asked of it: options, counters, names.

use crate::address_terms::address_term;
use crate::atoms;
use crate::errors::error;
use crate::host::Socket;
use crate::nif::{charge, done};
use crate::option_terms::{self, Asked, answer};
use net::option::{Calls, Query, Reading};
use net::{Address, Counter, Counters, Failure, Family, Kind};
use proto::Active;
use rustler::{Atom, Encoder, Env, NifResult, Term};

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
fn getstat<'a>(env: Env<'a>, socket: &'a Socket, names: Term<'a>) -> NifResult<Term<'a>> {
    // Decoding a list without a proper end panics; its length is an error.
    names.list_length()?;
    let names = names.decode::<Vec<Atom>>()?;
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

fn value<'a>(env: Env<'a>, result: Result<impl Encoder, Failure>) -> Term<'a> {
    match result {
        Ok(value) => (atoms::ok(), value).encode(env),
        Err(failure) => error(env, failure),
    }
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

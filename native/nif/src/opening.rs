//! What makes sockets: connect, listen, accept, and taking over an fd.

use crate::address_terms::{address, family};
use crate::atoms;
use crate::errors::error;
use crate::host::{Handle, Socket};
use crate::message::{Pid, Tag};
use crate::nif::{Ref, charge};
use crate::option_terms;
use crate::pollers::{APPLICATION, Pollers};
use net::option::Calls;
use net::{Call, Endpoint, Source, Spec};
use rustler::{Atom, Binary, Encoder, Env, Error, NifResult, ResourceArc, Term};
use std::ffi::CString;

/// `{Family, Protocol, Source, Bind, Options}`.
fn spec(config: Term<'_>, call: Calls) -> NifResult<Spec> {
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
fn opened<'a>(env: Env<'a>, handle: Handle, owner: Pid, tag: Atom) -> Term<'a> {
    handle.watch_owner(env, owner);
    (tag, handle.0).encode(env)
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

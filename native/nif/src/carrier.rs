//! What only the carrier of the distribution calls: sockets that outlive a stop of the
//! application, and many frames a call.

use crate::atoms;
use crate::errors::error;
use crate::host::Socket;
use crate::iodata::with_pieces;
use crate::message::{Pid, Tag};
use crate::nif::{Ref, charge, sent};
use crate::opening::{connect_on, listen_on};
use crate::pollers::DISTRIBUTION;
use net::{Call, Frame};
use rustler::{Encoder, Env, NewBinary, NifResult, ResourceArc, Term};

/// As `connect`.
#[rustler::nif]
fn connect_node<'a>(
    env: Env<'a>,
    config: Term<'a>,
    to: Term<'a>,
    reference: Ref<'a>,
) -> NifResult<Term<'a>> {
    Ok(connect_on(&DISTRIBUTION, env, config, to, reference))
}

/// As `listen`. What it accepts outlives a stop of the application, too.
#[rustler::nif]
fn listen_node<'a>(env: Env<'a>, config: Term<'a>, backlog: i32) -> NifResult<Term<'a>> {
    Ok(listen_on(&DISTRIBUTION, env, config, backlog))
}

#[rustler::nif]
fn node_sockets<'a>(env: Env<'a>) -> NifResult<Vec<Term<'a>>> {
    Ok(DISTRIBUTION
        .sockets()
        .into_iter()
        .map(|handle| handle.0.encode(env))
        .collect())
}

/// `{ok, [Frame]}`, `wait` or `{error, Reason}`.
#[rustler::nif]
fn recv_frames<'a>(
    env: Env<'a>,
    socket: ResourceArc<Socket>,
    reference: Ref<'a>,
    spin: bool,
) -> NifResult<Term<'a>> {
    let received = socket.recv_frames(
        Pid::caller(env),
        spin,
        || Tag::new(reference),
        |frame| match frame {
            Frame::Small(bytes) => NewBinary::from_slice(env, bytes).into(),
            Frame::Large(block, header) => {
                let wire = block.into_binary().release(env);
                wire.make_subbinary(header, wire.len().saturating_sub(header))
                    .unwrap_or(wire)
                    .to_term(env)
            }
        },
    );
    charge(env);
    Ok(match received {
        Call::Done(frames) => (atoms::ok(), frames).encode(env),
        Call::Wait => atoms::wait().encode(env),
        Call::Failed(failure) => error(env, failure),
    })
}

/// `ok`, `{wait, IsQueued, _, _}` or `{error, Reason}`.
#[rustler::nif]
fn send_frames<'a>(env: Env<'a>, socket: &'a Socket, data: Term<'a>) -> NifResult<Term<'a>> {
    let pid = Pid::caller(env);
    let result = with_pieces(data, |pieces| socket.send_frames(pid, pieces));
    charge(env);
    Ok(sent(env, socket, result))
}

//! The NIF surface of gen_tcp_rs: terms in, terms out. What it does is in the crate
//! `net`, which knows no terms.

mod address_terms;
mod atoms;
mod block;
mod carrier;
mod driver;
mod encode;
mod errors;
mod halt;
mod host;
mod iodata;
mod message;
mod nif;
mod observe;
mod opening;
mod option_terms;
mod options;
mod pollers;

use rustler::{Env, Term};

/// Runs again when the Erlang module is loaded again: the library stays mapped, and
/// sockets and pollers go on.
fn load(env: Env<'_>, _info: Term<'_>) -> bool {
    halt::prepare(env);
    true
}

rustler::init!("gen_tcp_rs_nif", load = load);

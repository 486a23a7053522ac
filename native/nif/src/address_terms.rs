//! Addresses as Erlang terms.
//!
//! **Shape** from Erlang `{inet, {A, B, C, D}, Port}`,
//! `{inet6, {A, B, C, D, E, F, G, H}, Port, FlowInfo, ScopeId}` or `{local, Binary}`;
//! to the user `{{A, B, C, D}, Port}`, `{{A, B, C, D, E, F, G, H}, Port}` or `{local, Binary}`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use net::address::{Address, Family};
use rustler::types::tuple::{get_tuple, make_tuple};
use rustler::{Atom, Binary, Encoder, Env, Error, NewBinary, NifResult, Term};

mod atoms {
    rustler::atoms! { inet, inet6, local, unspec }
}

/// Decodes a family's atom.
///
/// **Errors** `badarg` for any other term.
pub(crate) fn family(term: Term<'_>) -> NifResult<Family> {
    if atoms::inet() == term {
        Ok(Family::Inet)
    } else if atoms::inet6() == term {
        Ok(Family::Inet6)
    } else if atoms::local() == term {
        Ok(Family::Local)
    } else {
        Err(Error::BadArg)
    }
}

/// Decodes an address that comes from the Erlang side.
///
/// **Errors** `badarg` for any other term.
pub(crate) fn address(term: Term<'_>) -> NifResult<Address> {
    if let Ok((tag, (a, b, c, d), port)) = term.decode::<(Atom, (u8, u8, u8, u8), u16)>() {
        if tag == atoms::inet() {
            return Ok(Address::V4(SocketAddrV4::new(
                Ipv4Addr::new(a, b, c, d),
                port,
            )));
        }
    } else if let Ok((tag, parts, port, flow_info, scope_id)) =
        term.decode::<(Atom, Term<'_>, u16, u32, u32)>()
    {
        if tag == atoms::inet6() {
            let ip = Ipv6Addr::from(segments(parts)?);
            return Ok(Address::V6(SocketAddrV6::new(
                ip, port, flow_info, scope_id,
            )));
        }
    } else if let Ok((tag, name)) = term.decode::<(Atom, Binary<'_>)>()
        && tag == atoms::local()
    {
        return Ok(Address::Local(name.as_slice().to_vec()));
    }
    Err(Error::BadArg)
}

/// The address as the user gets it from `sockname` and `peername`.
pub(crate) fn address_term<'a>(env: Env<'a>, address: &Address) -> Term<'a> {
    match address {
        Address::V4(address) => {
            let [a, b, c, d] = address.ip().octets();
            ((a, b, c, d), address.port()).encode(env)
        }
        Address::V6(address) => {
            let segments = address.ip().segments().map(|segment| segment.encode(env));
            (make_tuple(env, &segments), address.port()).encode(env)
        }
        Address::Local(name) => named(env, atoms::local(), name),
        Address::Unspec => named(env, atoms::unspec(), &[]),
    }
}

/// rustler's own conversion of tuples ends at seven elements.
fn segments(term: Term<'_>) -> NifResult<[u16; 8]> {
    let parts: NifResult<Vec<u16>> = get_tuple(term)?.into_iter().map(Term::decode).collect();
    parts?.try_into().map_err(|_| Error::BadArg)
}

fn named<'a>(env: Env<'a>, tag: Atom, name: &[u8]) -> Term<'a> {
    let name: Term<'a> = NewBinary::from_slice(env, name).into();
    (tag, name).encode(env)
}

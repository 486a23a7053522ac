//! Sending messages. All messages of a socket go out without a sender's identity,
//! whichever thread makes them: a receiver that takes signals in parallel keeps the order
//! of one sender only, and a stream that came partly from the poller and partly from its
//! owner would arrive out of order.

use rustler::sys::{
    ErlNifEnv, ErlNifPid, ErlNifTerm, enif_alloc_env, enif_clear_env, enif_free_env,
    enif_is_process_alive, enif_make_copy, enif_make_tuple_from_array, enif_send,
};
use rustler::{Env, LocalPid, Term};
use std::ptr::null_mut;

/// A local process.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Pid(LocalPid);

impl Pid {
    /// The process that called the NIF.
    pub(crate) fn caller(env: Env<'_>) -> Pid {
        env.pid().into()
    }

    pub(crate) fn local(&self) -> &LocalPid {
        &self.0
    }

    fn raw(&self) -> &ErlNifPid {
        self.0.as_c_arg()
    }

    pub(crate) fn is_alive(self) -> bool {
        // SAFETY: the VM looks the pid up; without an environment it takes the locks that
        // a thread of no process needs.
        unsafe { enif_is_process_alive(null_mut(), self.raw()) != 0 }
    }
}

impl From<LocalPid> for Pid {
    fn from(pid: LocalPid) -> Self {
        Pid(pid)
    }
}

impl std::fmt::Debug for Pid {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Pid")
    }
}

/// An environment of no process, where terms can be kept beyond a call.
struct OwnEnv(*mut ErlNifEnv);

impl OwnEnv {
    fn new() -> OwnEnv {
        // SAFETY: allocation needs nothing.
        OwnEnv(unsafe { enif_alloc_env() })
    }

    fn copy(&self, term: Term<'_>) -> ErlNifTerm {
        // SAFETY: both environments are alive.
        unsafe { enif_make_copy(self.0, term.as_c_arg()) }
    }
}

impl Drop for OwnEnv {
    fn drop(&mut self) {
        // SAFETY: made by enif_alloc_env, freed here alone.
        unsafe { enif_free_env(self.0) };
    }
}

// SAFETY: an environment of no process belongs to whoever holds it, on any thread.
unsafe impl Send for OwnEnv {}

/// Makes a term in this thread's own environment and sends it. False: nobody received it.
pub(crate) fn send(to: Pid, make: impl FnOnce(Env<'_>) -> ErlNifTerm) -> bool {
    thread_local! {
        static ENV: OwnEnv = OwnEnv::new();
    }
    ENV.with(|own| {
        let lifetime = ();
        // SAFETY: the environment lives as long as the thread; `lifetime` is used once.
        let env = unsafe { Env::new(&lifetime, own.0) };
        let message = make(env);
        // SAFETY: the message is in `own` and copied; no caller is named, see above.
        let sent = unsafe { enif_send(null_mut(), to.raw(), null_mut(), message) };
        // SAFETY: no term of the environment is used after this.
        unsafe { enif_clear_env(own.0) };
        sent != 0
    })
}

/// A reference by which a waiting process knows its answer.
pub(crate) struct Tag {
    env: OwnEnv,
    reference: ErlNifTerm,
}

impl Tag {
    pub(crate) fn new(reference: Term<'_>) -> Tag {
        let env = OwnEnv::new();
        let reference = env.copy(reference);
        Tag { env, reference }
    }

    /// Sends a message made of the reference. False: nobody received it.
    pub(crate) fn send(
        self,
        to: Pid,
        make: impl FnOnce(Env<'_>, ErlNifTerm) -> ErlNifTerm,
    ) -> bool {
        let lifetime = ();
        // SAFETY: the environment lives as long as `self`; `lifetime` is used once.
        let env = unsafe { Env::new(&lifetime, self.env.0) };
        let message = make(env, self.reference);
        // SAFETY: the message is in the environment, which is handed over with it and is
        // freed, empty, with `self`.
        unsafe { enif_send(null_mut(), to.raw(), self.env.0, message) != 0 }
    }
}

impl PartialEq for Tag {
    fn eq(&self, other: &Self) -> bool {
        // SAFETY: both terms are alive with their environments.
        unsafe { rustler::sys::enif_compare(self.reference, other.reference) == 0 }
    }
}

/// A tuple of terms of one environment.
pub(crate) fn tuple(env: Env<'_>, terms: &[ErlNifTerm]) -> ErlNifTerm {
    // SAFETY: the terms are the environment's or immediate, by the rule of the callers.
    unsafe { enif_make_tuple_from_array(env.as_c_arg(), terms.as_ptr(), terms.len() as u32) }
}

/// A piece of a binary, kept alive by a copy of its term: large binaries are not copied.
pub(crate) struct KeptBinary {
    _env: OwnEnv,
    bytes: *const [u8],
}

impl KeptBinary {
    /// Keeps `binary[from..]`. `None` if the term is no binary.
    pub(crate) fn new(binary: Term<'_>, from: usize) -> Option<KeptBinary> {
        let own = OwnEnv::new();
        let lifetime = ();
        // SAFETY: the environment lives as long as `own`; `lifetime` is used once.
        let env = unsafe { Env::new(&lifetime, own.0) };
        let copy = binary.in_env(env);
        let bytes: *const [u8] = copy.decode_as_binary().ok()?.as_slice().get(from..)?;
        Some(KeptBinary { _env: own, bytes })
    }
}

impl AsRef<[u8]> for KeptBinary {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the bytes of a binary don't move while a term refers to it, and the
        // environment with the term lives as long as `self`.
        unsafe { &*self.bytes }
    }
}

// SAFETY: see OwnEnv; the bytes are read only.
unsafe impl Send for KeptBinary {}

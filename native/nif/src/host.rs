//! The world of the sockets as the VM is it: handles are resources, waiting calls are
//! references, the owner gets messages.

use crate::atoms;
use crate::block::VmBlock;
use crate::encode::{Delivery, delivery};
use crate::errors::reason;
use crate::iodata::Kept;
use crate::message::{self, Pid, Tag, tuple};
use net::option::Deliver;
use net::{Endpoint, Event, Failure, Form, Host, Reply, Report};
use parking_lot::Mutex;
use proto::Framing;
use rustler::sys::{ErlNifTerm, c_void, enif_make_resource, enif_monitor_process};
use rustler::{Encoder, Env, LocalPid, Monitor, Resource, ResourceArc};
use std::collections::HashSet;
use std::ops::Deref;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The resource that a handle term refers to.
pub(crate) struct Socket(Endpoint<Beam>);

/// An idle connection is little more than this: what most sockets do without belongs into memory
/// of its own.
const MOST: usize = 400;
const _: () = assert!(size_of::<Socket>() <= MOST);

#[rustler::resource_impl]
impl Resource for Socket {
    const IMPLEMENTS_DOWN: bool = true;

    /// The VM calls this without any of our locks held.
    fn down<'a>(&'a self, env: Env<'a>, pid: LocalPid, _monitor: Monitor) {
        let pid = Pid::from(pid);
        self.host().watched.lock().forget(pid);
        self.exited(env, pid);
    }
}

impl Socket {
    fn exited(&self, env: Env<'_>, pid: Pid) {
        if let Some(reporter) = self.process_down(pid)
            && !self.host().watch(env, reporter)
        {
            self.process_down(reporter);
        }
    }
}

impl Deref for Socket {
    type Target = Endpoint<Beam>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// A counted reference to a socket.
#[derive(Clone)]
pub(crate) struct Handle(pub(crate) ResourceArc<Socket>);

impl Deref for Handle {
    type Target = Endpoint<Beam>;

    fn deref(&self) -> &Self::Target {
        &self.0.0
    }
}

impl Handle {
    /// Watches the process that owns the socket. False: it is gone.
    pub(crate) fn watch_owner(&self, env: Env<'_>, owner: Pid) -> bool {
        let Some(monitor) = env.monitor(&self.0, owner.local()) else {
            self.0.exited(env, owner);
            return false;
        };
        let previous = self.host().watched.lock().owner.replace(monitor);
        if let Some(previous) = previous {
            env.demonitor(&self.0, &previous);
        }
        true
    }

    /// The socket has closed: its owner's end means nothing any more.
    pub(crate) fn unwatch_owner(&self, env: Env<'_>) {
        let monitor = self.host().watched.lock().owner.take();
        if let Some(monitor) = monitor {
            env.demonitor(&self.0, &monitor);
        }
    }

    /// Watches a process that waits for its turn in accept or send, once in its life.
    pub(crate) fn watch_waiter(&self, env: Env<'_>, waiter: Pid) {
        if self.owner() == waiter || !self.host().watched.lock().add(waiter) {
            return;
        }
        if env.monitor(&self.0, waiter.local()).is_none() {
            self.0.exited(env, waiter);
        }
    }
}

/// The process that is told what no socket can tell.
pub(crate) static REPORT_TO: Mutex<Option<Pid>> = Mutex::new(None);

/// The process that looks at mailboxes.
pub(crate) static MAILBOXES: Mutex<Option<Pid>> = Mutex::new(None);

/// What the VM knows of one socket.
#[derive(Default)]
pub(crate) struct Beam {
    /// The resource, from its making on.
    object: AtomicPtr<c_void>,
    watched: Mutex<Watched>,
}

/// The processes whose exits the VM tells.
#[derive(Default)]
struct Watched {
    owner: Option<Monitor>,
    /// The processes that were watched for waiting, and still live: most sockets have none.
    #[expect(
        clippy::box_collection,
        reason = "an empty one is six words in every socket"
    )]
    waiters: Option<Box<HashSet<Pid>>>,
}

impl Watched {
    /// False: it is there.
    fn add(&mut self, waiter: Pid) -> bool {
        self.waiters.get_or_insert_default().insert(waiter)
    }

    fn forget(&mut self, waiter: Pid) {
        if let Some(waiters) = &mut self.waiters {
            waiters.remove(&waiter);
        }
        self.waiters.take_if(|waiters| waiters.is_empty());
    }
}

impl Beam {
    /// `{'$inet', gen_tcp_rs, Handle}`: equal in every message and to what the user has.
    pub(crate) fn socket_term(&self, env: Env<'_>) -> ErlNifTerm {
        let module = atoms::gen_tcp_rs().as_c_arg();
        tuple(
            env,
            &[
                atoms::inet_socket().as_c_arg(),
                module,
                self.handle_term(env),
            ],
        )
    }

    fn handle_term(&self, env: Env<'_>) -> ErlNifTerm {
        let object = self.object.load(Ordering::Relaxed);
        // SAFETY: whoever reaches an endpoint holds its resource.
        unsafe { enif_make_resource(env.as_c_arg(), object) }
    }

    /// `{'DOWN', Ref, port, S, Reason}`.
    pub(crate) fn send_down(
        &self,
        pid: Pid,
        monitor: Tag,
        why: impl FnOnce(Env<'_>) -> ErlNifTerm,
    ) {
        monitor.send(pid, |env, reference| {
            let socket = self.socket_term(env);
            let (down, port) = (atoms::down().as_c_arg(), atoms::port().as_c_arg());
            tuple(env, &[down, reference, port, socket, why(env)])
        });
    }

    /// Has the resource told when `pid` exits, for good. False: it has exited.
    fn watch(&self, env: Env<'_>, pid: Pid) -> bool {
        let object = self.object.load(Ordering::Relaxed);
        let monitor = std::ptr::null_mut();
        // SAFETY: whoever reaches an endpoint holds its resource.
        unsafe {
            enif_monitor_process(env.as_c_arg(), object, pid.local().as_c_arg(), monitor) == 0
        }
    }

    fn message(
        &self,
        env: Env<'_>,
        form: Form,
        framing: &mut Framing,
        event: Event<'_, VmBlock>,
    ) -> ErlNifTerm {
        let socket = self.socket_term(env);
        let tag = |atom: rustler::Atom| atom.as_c_arg();
        match event {
            Event::Data(payload) => match delivery(env, form, framing, payload) {
                Delivery::Data(data) if form.deliver == Deliver::Port => {
                    let data = tuple(env, &[tag(atoms::data()), data.as_c_arg()]);
                    tuple(env, &[socket, data])
                }
                Delivery::Data(data) => tuple(env, &[tag(atoms::tcp()), socket, data.as_c_arg()]),
                Delivery::Http(packet) => {
                    tuple(env, &[tag(atoms::http()), socket, packet.as_c_arg()])
                }
                Delivery::Tls(content_type, version, data) => {
                    let content_type = content_type.encode(env).as_c_arg();
                    let version = version.encode(env).as_c_arg();
                    let data = data.as_c_arg();
                    tuple(
                        env,
                        &[tag(atoms::ssl_tls()), socket, content_type, version, data],
                    )
                }
            },
            Event::Passive => tuple(env, &[tag(atoms::tcp_passive()), socket]),
            Event::Closed => tuple(env, &[tag(atoms::tcp_closed()), socket]),
            Event::Error(failure) => tuple(
                env,
                &[tag(atoms::tcp_error()), socket, tag(reason(failure))],
            ),
        }
    }
}

impl Host for Beam {
    type Pid = Pid;
    type Tag = Tag;
    type Handle = Handle;
    type Block = VmBlock;
    type Kept = Kept;

    fn adopt(endpoint: Endpoint<Self>) -> Handle {
        let resource = ResourceArc::new(Socket(endpoint));
        let object = resource.as_c_arg().cast_mut();
        resource.host().object.store(object, Ordering::Relaxed);
        Handle(resource)
    }

    fn deliver(&self, owner: Pid, form: Form, framing: &mut Framing, event: Event<'_, VmBlock>) {
        // An owner that has gone takes the socket with it, by its monitor.
        message::send(owner, |env| self.message(env, form, framing, event));
    }

    /// `{Ref, ready | ok | {error, Reason}}`, or `{tcp_writable, S}`.
    fn reply(pid: Pid, tag: Tag, reply: Reply) -> bool {
        tag.send(pid, |env, reference| {
            let answer = match reply {
                Reply::Ready => atoms::ready().as_c_arg(),
                // Told by the socket, not by a reference of the call.
                Reply::Writable => {
                    return tuple(env, &[atoms::tcp_writable().as_c_arg(), reference]);
                }
                Reply::Done => atoms::ok().as_c_arg(),
                Reply::Failed(failure) => tuple(
                    env,
                    &[atoms::error().as_c_arg(), reason(failure).as_c_arg()],
                ),
            };
            tuple(env, &[reference, answer])
        })
    }

    /// `{gen_tcp_rs, poller_error | panic, Reason}`.
    fn report(report: Report) {
        let Some(to) = *REPORT_TO.lock() else { return };
        let (what, why) = match report {
            Report::PollerFailed(errno) => (atoms::poller_error(), Failure::Posix(errno)),
            Report::Panicked => (atoms::panic(), Failure::Posix(libc::EIO)),
        };
        let terms = [atoms::gen_tcp_rs(), what, reason(why)].map(|atom| atom.as_c_arg());
        message::send(to, |env| tuple(env, &terms));
    }

    fn is_alive(pid: Pid) -> bool {
        pid.is_alive()
    }

    fn down(&self, pid: Pid, monitor: Tag, failure: Option<Failure>) {
        let why = failure.map_or(atoms::normal(), reason);
        self.send_down(pid, monitor, |_| why.as_c_arg());
    }

    fn sees_mailboxes() -> bool {
        MAILBOXES.lock().is_some_and(Pid::is_alive)
    }

    /// `{paused, Handle}`.
    fn look_at_mailbox(&self) {
        let Some(to) = *MAILBOXES.lock() else { return };
        message::send(to, |env| {
            tuple(env, &[atoms::paused().as_c_arg(), self.handle_term(env)])
        });
    }

    /// `{unmonitored, Handle}`.
    fn release_reporter(&self, reporter: Pid) {
        message::send(reporter, |env| {
            let unmonitored = atoms::unmonitored().as_c_arg();
            tuple(env, &[unmonitored, self.handle_term(env)])
        });
    }
}

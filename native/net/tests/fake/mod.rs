//! A world for sockets without a VM: processes are numbers with a mailbox, and a test
//! waits for the message it means.

#![allow(
    dead_code,
    unused_imports,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "no test uses all of it, and helpers of tests may panic"
)]

mod actions;
pub(crate) mod race;
mod rig;

pub(crate) use actions::{Iolist, bytes, queued_by_reference};
pub(crate) use rig::{Peer, Rig, active, flag, int, named, packet, tcp_pair};

use net::{Endpoint, Event, Failure, Form, Host, Reply, Report};
use proto::Framing;
use proto::reader::{Block, Payload};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, OnceLock, RwLock};
use std::time::{Duration, Instant};

/// Longer than anything here takes; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) type Pid = u32;
pub(crate) type Tag = u64;
pub(crate) type Handle = Arc<Endpoint<Fake>>;
pub(crate) type Poller = net::Poller<Fake>;

/// What a process finds in its mailbox.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    /// The bytes of a frame that are the user's.
    Data(Vec<u8>),
    Passive,
    Error(Failure),
    Closed,
    Reply(Tag, Reply),
    Down(Tag, Option<Failure>),
    Released,
    /// The socket waits for its owner to read.
    Paused,
}

/// What a process does when a message comes.
#[derive(Clone, Default)]
enum Reflex {
    #[default]
    None,
    /// Panics, so many times.
    Panic(u32),
    /// Holds up the one who delivers until the gate opens.
    Wait(Gate),
}

#[derive(Default)]
struct Mailbox {
    inner: Mutex<Inner>,
    news: Condvar,
}

#[derive(Default)]
struct Inner {
    dead: bool,
    reflex: Reflex,
    messages: VecDeque<Message>,
    /// Messages of streams that have ever come.
    of_streams: u64,
}

static PROCESSES: LazyLock<RwLock<HashMap<Pid, Arc<Mailbox>>>> = LazyLock::new(Default::default);

fn mailbox(pid: Pid) -> Option<Arc<Mailbox>> {
    PROCESSES.read().unwrap().get(&pid).cloned()
}

/// What the operator was told, by all tests of this process.
pub(crate) static REPORTS: Mutex<Vec<Report>> = Mutex::new(Vec::new());

/// Who sees mailboxes, in the whole of this program.
pub(crate) static SEES: OnceLock<Pid> = OnceLock::new();

/// False: the process is dead.
fn send(pid: Pid, message: Message) -> bool {
    let Some(mailbox) = mailbox(pid) else {
        return false;
    };
    let mut inner = mailbox.inner.lock().unwrap();
    if inner.dead {
        return false;
    }
    if !matches!(
        message,
        Message::Reply(..) | Message::Down(..) | Message::Released
    ) {
        inner.of_streams += 1;
    }
    inner.messages.push_back(message);
    drop(inner);
    mailbox.news.notify_all();
    true
}

/// What holds up a process until it is opened.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<(bool, bool)>, Condvar)>);

impl Gate {
    fn pass(&self) {
        let (state, news) = &*self.0;
        let mut state = state.lock().unwrap();
        state.1 = true;
        news.notify_all();
        while !state.0 {
            state = news.wait(state).unwrap();
        }
    }

    /// Waits until somebody stands before the gate.
    pub(crate) fn await_arrival(&self) {
        let (state, news) = &*self.0;
        let mut state = state.lock().unwrap();
        while !state.1 {
            state = news.wait(state).unwrap();
        }
    }

    pub(crate) fn open(&self) {
        self.0.0.lock().unwrap().0 = true;
        self.0.1.notify_all();
    }
}

/// A process, from the test's side.
pub(crate) struct Process {
    pub(crate) pid: Pid,
    mailbox: Arc<Mailbox>,
}

impl Drop for Process {
    fn drop(&mut self) {
        PROCESSES.write().unwrap().remove(&self.pid);
    }
}

/// A tag that no other call has.
pub(crate) fn tag() -> Tag {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Process {
    pub(crate) fn spawn() -> Process {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let pid = NEXT.fetch_add(1, Ordering::Relaxed);
        let mailbox = Arc::<Mailbox>::default();
        PROCESSES.write().unwrap().insert(pid, mailbox.clone());
        Process { pid, mailbox }
    }

    /// Takes no message any more; the sockets are not told.
    pub(crate) fn die(&self) {
        self.mailbox.inner.lock().unwrap().dead = true;
    }

    pub(crate) fn panic_at_deliveries(&self, times: u32) {
        self.mailbox.inner.lock().unwrap().reflex = Reflex::Panic(times);
    }

    /// The next one who delivers to this process waits at the gate.
    pub(crate) fn hold_up_delivery(&self) -> Gate {
        let gate = Gate::default();
        self.mailbox.inner.lock().unwrap().reflex = Reflex::Wait(gate.clone());
        gate
    }

    /// The first message that `choose` takes, which may have to come first.
    pub(crate) fn select<R>(&self, mut choose: impl FnMut(&Message) -> Option<R>) -> R {
        self.select_until(Instant::now() + PATIENCE, &mut choose)
            .unwrap_or_else(|| panic!("no such message in {:?}", self.messages()))
    }

    /// The same, but `None` if there is none at `end`.
    pub(crate) fn select_until<R>(
        &self,
        end: Instant,
        choose: &mut dyn FnMut(&Message) -> Option<R>,
    ) -> Option<R> {
        let mut inner = self.mailbox.inner.lock().unwrap();
        loop {
            for (index, message) in inner.messages.iter().enumerate() {
                if let Some(chosen) = choose(message) {
                    inner.messages.remove(index);
                    return Some(chosen);
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            inner = self.mailbox.news.wait_timeout(inner, left).unwrap().0;
        }
    }

    /// The oldest message.
    pub(crate) fn next(&self) -> Message {
        self.select(|message| Some(message.clone()))
    }

    /// The reply to the call with this tag.
    pub(crate) fn reply(&self, tag: Tag) -> Reply {
        self.select(|message| match message {
            Message::Reply(of, reply) if *of == tag => Some(*reply),
            _ => None,
        })
    }

    /// What is in the mailbox now.
    pub(crate) fn messages(&self) -> Vec<Message> {
        let inner = self.mailbox.inner.lock().unwrap();
        inner.messages.iter().cloned().collect()
    }

    /// How many messages of streams have ever come.
    pub(crate) fn of_streams(&self) -> u64 {
        self.mailbox.inner.lock().unwrap().of_streams
    }

    /// Takes the messages of streams out of the mailbox.
    pub(crate) fn take_of_streams(&self) -> Vec<Message> {
        let mut inner = self.mailbox.inner.lock().unwrap();
        let (others, of_streams) = inner.messages.drain(..).partition(|message| {
            matches!(
                message,
                Message::Reply(..) | Message::Down(..) | Message::Released
            )
        });
        inner.messages = others;
        VecDeque::into(of_streams)
    }

    /// The next messages are data; takes them until they make `len` bytes.
    pub(crate) fn data(&self, len: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < len {
            match self.next() {
                Message::Data(bytes) => all.extend_from_slice(&bytes),
                other => panic!("{other:?} after {} of {len} bytes", all.len()),
            }
        }
        all
    }
}

/// Memory for a large delivery.
pub(crate) struct Memory(Vec<u8>);

impl Block for Memory {
    fn allocate(len: usize) -> Option<Self> {
        Some(Memory(vec![0; len]))
    }

    fn shrink(&mut self, len: usize) {
        self.0.truncate(len);
    }
}

impl AsRef<[u8]> for Memory {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for Memory {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// The part of a payload that is the user's. An http line is parsed, as a host must.
pub(crate) fn body(framing: &mut Framing, payload: Payload<'_, Memory>) -> Vec<u8> {
    match payload {
        Payload::Block(block) => block.0,
        Payload::Frame { wire, body } if framing.packet.is_http() => {
            format!("{:?}", framing.parse_http(&wire[body])).into_bytes()
        }
        Payload::Frame { wire, body } => wire[body].to_vec(),
    }
}

/// The world of one socket.
#[derive(Default)]
pub(crate) struct Fake;

impl Host for Fake {
    type Pid = Pid;
    type Tag = Tag;
    type Handle = Handle;
    type Block = Memory;
    type Kept = actions::Kept;

    fn adopt(endpoint: Endpoint<Self>) -> Handle {
        Arc::new(endpoint)
    }

    fn deliver(&self, owner: Pid, _: Form, framing: &mut Framing, event: Event<'_, Memory>) {
        let reflex = mailbox(owner).map(|mailbox| {
            let mut inner = mailbox.inner.lock().unwrap();
            match std::mem::take(&mut inner.reflex) {
                Reflex::Panic(times) if times > 1 => {
                    inner.reflex = Reflex::Panic(times - 1);
                    Reflex::Panic(times)
                }
                reflex => reflex,
            }
        });
        match reflex {
            Some(Reflex::Panic(_)) => panic!("as the test has asked for"),
            Some(Reflex::Wait(gate)) => gate.pass(),
            Some(Reflex::None) | None => {}
        }
        let message = match event {
            Event::Data(payload) => Message::Data(body(framing, payload)),
            Event::Passive => Message::Passive,
            Event::Error(failure) => Message::Error(failure),
            Event::Closed => Message::Closed,
        };
        send(owner, message);
    }

    fn reply(pid: Pid, tag: Tag, reply: Reply) -> bool {
        send(pid, Message::Reply(tag, reply))
    }

    fn report(report: Report) {
        REPORTS.lock().unwrap().push(report);
    }

    fn is_alive(pid: Pid) -> bool {
        mailbox(pid).is_some_and(|mailbox| !mailbox.inner.lock().unwrap().dead)
    }

    fn down(&self, pid: Pid, monitor: Tag, reason: Option<Failure>) {
        send(pid, Message::Down(monitor, reason));
    }

    fn sees_mailboxes() -> bool {
        SEES.get().is_some()
    }

    fn look_at_mailbox(&self) {
        if let Some(pid) = SEES.get() {
            send(*pid, Message::Paused);
        }
    }

    fn release_reporter(&self, reporter: Pid) {
        send(reporter, Message::Released);
    }
}

//! One socket in the hands of a few processes, one operation after the other, and what
//! must hold after each: a model of owner, activity, waits and turns beside the real ones.
//!
//! An operation is atomic under the socket's lock, so that the orders of the operations
//! are all there is. Those of the poller are the [turns](turnstile::Turnstile::turn).

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may panic"
)]

mod calls;
mod ending;
pub(crate) mod turnstile;

use crate::fake::{Handle, Message, Peer, Process, Tag, active, flag, int, packet};
use net::{Address, Family, Reply};
use proto::{Active, ActiveRequest, PacketType};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::time::Instant;
use turnstile::Turnstile;

/// What one of the processes, the peer or the poller does next. The numbers are those of
/// processes; 0 is the first owner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    /// The poller handles the events it has fetched, and fetches those that are there.
    Turn,
    Recv(usize),
    Accept(usize),
    Send(usize),
    Close(usize),
    /// The next operation of a call that is under way: its wait, or the one after it.
    Go(usize),
    /// The time of a call is over.
    TimeOut(usize),
    Die(usize),
    /// The sockets are told of the death.
    Down(usize),
    Active(Active),
    /// The halves of a change of owner.
    Begin(usize),
    Finish,
    Abandon,
    /// The peer writes so many bytes, or frames of one byte, at once.
    Write(u8),
    /// The peer closes.
    End,
    /// The peer reads what is there.
    Drain,
    Connect,
}

/// What the socket is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) listens: bool,
    pub(crate) active: Active,
    /// How much each recv asks for.
    pub(crate) len: usize,
    /// Frames of one byte, instead of raw bytes.
    pub(crate) framed: bool,
    pub(crate) exit_on_close: bool,
    pub(crate) send_timeout_close: bool,
    /// Run before the steps whose order varies.
    pub(crate) before: &'static [Step],
}

pub(crate) const PLAIN: Setup = Setup {
    listens: false,
    active: Active::Passive,
    len: 0,
    framed: false,
    exit_on_close: true,
    send_timeout_close: false,
    before: &[],
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Recv,
    Accept,
    Send { queued: bool },
    Drained,
}

/// Where a process is in its call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Idle,
    /// Its send has returned `Wait`, or its close false.
    MustWait(Kind),
    /// Its send is to be made again.
    MustSend,
    Waits(Kind, Tag, Option<Reply>),
}

struct Actor {
    process: Process,
    stage: Stage,
    dead: bool,
    /// What it sends, over and over.
    body: Vec<u8>,
}

/// What 0 sends: more than the kernel takes with the smallest buffer.
const TOO_LONG: usize = 6000;
/// What the others send: once the peer has read, the kernel takes all of it.
const SHORT: usize = 300;
const ACTORS: usize = 5;

pub(crate) struct World<'a> {
    poller: &'a mut Turnstile,
    setup: Setup,
    socket: Handle,
    peer: Option<Peer>,
    address: Option<Address>,
    actors: Vec<Actor>,
    /// The model: what the owner has asked for, and who that is.
    owner: usize,
    active: Active,
    transfer: Option<(usize, Active)>,
    /// Who waits in accept, or in send before its data is queued, and who was called.
    line: Vec<usize>,
    turn: Option<usize>,
    /// What the peer has written, and what has come of it.
    written: Vec<u8>,
    received: Vec<u8>,
    /// What has been sent, and what has come of it.
    sent: Vec<u8>,
    drained: Vec<u8>,
    connected: Vec<Socket>,
    accepted: usize,
    peer_gone: bool,
    /// A timeout or a failed write has dropped what was under way.
    dropped: bool,
    told_closed: bool,
    /// Nobody can use the socket any more.
    closed: bool,
}

impl<'a> World<'a> {
    pub(crate) fn new(poller: &'a mut Turnstile, setup: Setup) -> Self {
        let actors: Vec<Actor> = (0..ACTORS)
            .map(|index| Actor {
                process: Process::spawn(),
                stage: Stage::Idle,
                dead: false,
                body: vec![index as u8; if index == 0 { TOO_LONG } else { SHORT }],
            })
            .collect();
        let owner = &actors[0].process;
        let (socket, peer, address) = if setup.listens {
            let passive = [active(ActiveRequest::Passive)];
            let (socket, address) = poller.rig.listen(Family::Local, owner, &passive);
            (socket, None, Some(address))
        } else {
            let options = [
                int("sndbuf", 1),
                int("high_watermark", 2),
                int("low_watermark", 1),
                flag("exit_on_close", setup.exit_on_close),
                packet(if setup.framed {
                    PacketType::Length1
                } else {
                    PacketType::Raw
                }),
            ];
            let (socket, peer) = poller.rig.stream(Family::Local, owner, &options);
            peer.0.set_nonblocking(true).unwrap();
            (socket, Some(peer), None)
        };
        if setup.active != Active::Passive {
            socket.activate(setup.active).unwrap();
        }
        let mut world = World {
            poller,
            socket,
            peer,
            address,
            actors,
            owner: 0,
            active: setup.active,
            transfer: None,
            line: Vec::new(),
            turn: None,
            written: Vec::new(),
            received: Vec::new(),
            sent: Vec::new(),
            drained: Vec::new(),
            connected: Vec::new(),
            accepted: 0,
            peer_gone: false,
            dropped: false,
            told_closed: false,
            closed: false,
            setup,
        };
        for &step in setup.before {
            world.step(step);
        }
        world
    }

    pub(crate) fn step(&mut self, step: Step) {
        match step {
            Step::Turn => self.poller.turn(),
            Step::Recv(index) => self.recv(index),
            Step::Accept(index) => self.accept(index),
            Step::Send(index) => self.send(index, false),
            Step::Close(index) => {
                if self.socket.close() {
                    self.closed = true;
                } else {
                    self.actors[index].stage = Stage::MustWait(Kind::Drained);
                }
            }
            Step::Go(index) => self.go(index),
            Step::TimeOut(index) => self.time_out(index),
            Step::Die(index) => {
                self.actors[index].process.die();
                self.actors[index].dead = true;
                self.actors[index].stage = Stage::Idle;
            }
            Step::Down(index) => {
                self.leave_line(index);
                self.closed |= self.owner == index;
                self.socket.process_down(self.pid(index));
            }
            Step::Active(active) => match self.socket.activate(active) {
                Ok(()) => self.active = active,
                Err(_) => assert!(self.closed, "refused"),
            },
            Step::Begin(to) => {
                let from = self.pid(self.owner);
                match self.socket.begin_transfer(from, self.pid(to)) {
                    Ok(was) => {
                        assert_eq!(was, Some(self.active));
                        self.transfer = Some((to, self.active));
                        self.active = Active::Passive;
                    }
                    Err(failure) => assert!(self.closed, "{failure:?}"),
                }
            }
            Step::Finish => {
                if let Some((to, was)) = self.transfer.take() {
                    if self.socket.finish_transfer(self.pid(to), was) {
                        (self.owner, self.active) = (to, was);
                    } else {
                        assert!(self.closed);
                    }
                }
            }
            Step::Abandon => self.abandon(),
            Step::Write(count) => self.write(count),
            Step::End => {
                self.peer = None;
                self.peer_gone = true;
                // A write that fails takes with it what has not been received.
                self.dropped |= !self.sent.is_empty();
            }
            Step::Drain => {
                self.drain();
            }
            Step::Connect => self.connect(),
        }
        self.collect();
        assert!(
            self.written.starts_with(&self.received),
            "bytes lost, doubled or out of order: {:?} of {:?}",
            self.received,
            self.written
        );
        if self.closed {
            self.assert_all_answered(|_| true);
        }
    }

    fn pid(&self, index: usize) -> crate::fake::Pid {
        self.actors[index].process.pid
    }

    fn abandon(&mut self) {
        self.closed = true;
        self.socket.abandon();
    }

    fn write(&mut self, count: u8) {
        let Some(peer) = &mut self.peer else { return };
        let from = self.written.len() as u8;
        let bodies: Vec<u8> = (from..from + count).collect();
        let wire = match self.setup.framed {
            true => bodies.iter().flat_map(|&body| [1, body]).collect(),
            false => bodies.clone(),
        };
        match peer.0.write_all(&wire) {
            Ok(()) => self.written.extend(bodies),
            Err(error) => assert!(self.closed || self.dropped, "{error}"),
        }
    }

    /// Whether there was something.
    fn drain(&mut self) -> bool {
        let before = self.drained.len();
        if let Some(peer) = &mut self.peer {
            // Up to its end, or until there is no more.
            let _ = peer.0.read_to_end(&mut self.drained);
        }
        assert!(
            self.sent.starts_with(&self.drained),
            "sent bytes lost, doubled or out of order"
        );
        self.drained.len() > before
    }

    fn connect(&mut self) {
        let mut socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        match socket.connect(&self.address.as_ref().unwrap().to_system().unwrap()) {
            Ok(()) => {
                socket.write_all(&[self.connected.len() as u8]).unwrap();
                self.connected.push(socket);
            }
            Err(error) => assert!(self.closed, "{error}"),
        }
    }

    /// Takes the messages that the last step has caused.
    fn collect(&mut self) {
        for index in 0..ACTORS {
            let mut any = |message: &Message| Some(message.clone());
            while let Some(message) = {
                let process = &self.actors[index].process;
                process.select_until(Instant::now(), &mut any)
            } {
                match message {
                    Message::Data(bytes) => {
                        self.assert_may_be_told(index);
                        self.active.delivered();
                        self.received.extend(bytes);
                    }
                    Message::Closed => {
                        self.assert_may_be_told(index);
                        self.told_closed = true;
                        self.closed |= self.setup.exit_on_close || self.dropped;
                        assert!(self.peer_gone || self.dropped, "closed by nobody");
                        if !self.dropped {
                            assert_eq!(self.received, self.written, "closed before the data");
                        }
                    }
                    Message::Reply(tag, reply) => self.replied(index, tag, reply),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn assert_may_be_told(&self, index: usize) {
        assert_eq!(index, self.owner, "a message to somebody else");
        assert!(!self.active.is_passive(), "a message of a passive socket");
        assert!(!self.told_closed, "a message after the end");
    }

    fn replied(&mut self, index: usize, tag: Tag, reply: Reply) {
        let Stage::Waits(kind, of, None) = self.actors[index].stage else {
            panic!("{reply:?} to {:?} of {index}", self.actors[index].stage);
        };
        assert_eq!(tag, of, "a reply to another wait");
        self.actors[index].stage = Stage::Waits(kind, tag, Some(reply));
        if matches!(reply, Reply::Failed(_)) {
            self.line.retain(|waits| *waits != index);
            let ended = self.closed || self.dropped || self.peer_gone;
            assert!(ended, "{reply:?} of an open socket");
        } else if matches!(kind, Kind::Accept | Kind::Send { queued: false }) {
            assert_eq!(self.turn, None, "{index} called before its turn");
            let first = self.line.iter().position(|waits| !self.actors[*waits].dead);
            assert_eq!(first.map(|first| self.line[first]), Some(index), "jumped");
            self.line.drain(..=first.unwrap());
            self.turn = Some(index);
        }
    }

    fn leave_line(&mut self, index: usize) {
        self.turn.take_if(|turn| *turn == index);
        self.line.retain(|waits| *waits != index);
    }

    /// Whether a recv has something to return.
    fn is_readable(&self) -> bool {
        let unread = self.written.len() - self.received.len();
        unread >= self.setup.len.max(1) || self.peer_gone || self.closed
    }

    fn assert_all_answered(&self, which: impl Fn(Kind) -> bool) {
        for (index, actor) in self.actors.iter().enumerate() {
            if let Stage::Waits(kind, _, None) = actor.stage {
                assert!(!which(kind), "lost wake-up: {index} waits in {kind:?}");
            }
        }
    }
}

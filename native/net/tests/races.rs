//! Everything at once on the same sockets, at random, for some seconds: whatever the
//! interleaving, each wait is answered or cancelled once, and the bytes come in order.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic"
)]

mod fake;

use fake::race::{AtTheEnd, Random, TIME, watchdog};
use fake::{Handle, Message, Process, Rig, active, bytes, flag, int, packet, tag};
use net::{Call, Failure, Family, Reply, Sent, Tuning};
use proto::{Active, ActiveRequest, PacketType};
use socket2::Socket;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

/// Processes that use the same socket.
const ACTORS: usize = 4;

/// A body that says its number and its sender, of a length that varies.
fn numbered(sender: u32, number: u32) -> Vec<u8> {
    let len = match number % 500 {
        499 => 100_000,
        rest => 8 + rest as usize * 7 % 900,
    };
    let mut body = vec![number as u8; len];
    body[..4].copy_from_slice(&sender.to_be_bytes());
    body[4..8].copy_from_slice(&number.to_be_bytes());
    body
}

/// Sender and number of a body, which is whole.
fn number_of(body: &[u8]) -> (u32, u32) {
    let word = |from: usize| u32::from_be_bytes(body[from..from + 4].try_into().unwrap());
    let (sender, number) = (word(0), word(4));
    assert!(body == numbered(sender, number), "bytes of another frame");
    (sender, number)
}

/// A socket, and who uses it.
struct Arena<'a> {
    socket: &'a Handle,
    actors: &'a [Process],
    /// Written by who must know that nobody makes the socket active.
    activity: RwLock<()>,
    /// The numbers of the frames that have been received, by anybody.
    received: Mutex<Vec<u32>>,
    /// How many frames each actor has sent.
    sent: Vec<AtomicU32>,
    stop: AtomicBool,
}

impl Arena<'_> {
    fn act(&self, index: usize, seed: u64) {
        let mut random = Random::new(seed);
        let process = &self.actors[index];
        let (mut messages, mut calls) = (Vec::new(), Vec::new());
        while !self.stop.load(Ordering::Acquire) {
            match random.below(12) {
                0..=3 => match process.recv_for(self.socket, 0, random.time()) {
                    Ok(body) => calls.push(number_of(&body).1),
                    Err(failure) => assert_expected(failure),
                },
                4..=5 => self.activate(&mut random),
                6..=8 => self.send(index, &mut random),
                9 => self.be_quiet(),
                10 => self.transfer(&mut random),
                _ => self.haunt(&mut random, &mut calls),
            }
            self.collect(process, &mut messages);
        }
        self.collect(process, &mut messages);
        // What one process gets in one way comes in order.
        assert!(messages.is_sorted() && calls.is_sorted());
        let mut received = self.received.lock().unwrap();
        received.extend(messages);
        received.extend(calls);
    }

    fn collect(&self, process: &Process, numbers: &mut Vec<u32>) {
        for message in process.take_of_streams() {
            if let Message::Data(body) = message {
                numbers.push(number_of(&body).1);
            }
        }
    }

    fn activate(&self, random: &mut Random) {
        let _active = self.activity.read().unwrap();
        // Refused once the socket is closed.
        let _ = match random.below(5) {
            0 => self.socket.activate(Active::Once),
            1 => self.socket.activate(Active::Always),
            2 => self.socket.set_options(&[active(ActiveRequest::Once)]),
            3 => {
                let request = ActiveRequest::Add(random.below(40) as i32 - 10);
                self.socket.set_options(&[active(request)])
            }
            _ => self.socket.set_options(&[active(ActiveRequest::Passive)]),
        };
    }

    fn send(&self, index: usize, random: &mut Random) {
        let process = &self.actors[index];
        let number = self.sent[index].load(Ordering::Relaxed);
        let body = numbered(index as u32, number);
        let (end, tag) = (Instant::now() + random.time(), tag());
        let queued = match process.try_send(self.socket, &bytes(&body), false) {
            Sent::Failed(failure) => return assert_expected(failure),
            Sent::Done => {
                self.sent[index].store(number + 1, Ordering::Relaxed);
                return;
            }
            Sent::Wait { queued, .. } => queued,
            Sent::Busy { .. } => unreachable!(),
        };
        // What is queued will be sent, whatever becomes of the wait.
        if queued {
            self.sent[index].store(number + 1, Ordering::Relaxed);
        }
        match self.socket.await_send(process.pid, tag, queued) {
            Call::Done(()) => return,
            Call::Failed(failure) => return assert_expected(failure),
            Call::Wait => {}
        }
        let mut mine = |message: &Message| match message {
            Message::Reply(of, reply) if *of == tag => Some(*reply),
            _ => None,
        };
        let reply = process.select_until(end, &mut mine);
        let reply = match reply {
            None if self.socket.send_timed_out(process.pid, &tag, false) => return,
            None => Some(process.reply(tag)),
            reply => reply,
        };
        match reply {
            Some(Reply::Done) => assert!(queued),
            Some(Reply::Ready) => assert!(!queued),
            Some(Reply::Failed(failure)) => assert_expected(failure),
            Some(Reply::Writable) | None => unreachable!(),
        }
    }

    /// After `{active, false}` has returned there is no message, whatever was under way.
    fn be_quiet(&self) {
        let _quiet = self.activity.write().unwrap();
        let passive = [active(ActiveRequest::Passive)];
        if self.socket.set_options(&passive).is_ok() {
            let before = self.counts();
            for _ in 0..10 {
                std::thread::yield_now();
            }
            self.assert_quiet_since(&before);
        }
    }

    /// A change of owner: between its halves there is no message, neither for the old one
    /// nor for the new.
    fn transfer(&self, random: &mut Random) {
        let _quiet = self.activity.write().unwrap();
        let from = self.socket.owner();
        let to = self.actors[random.below(ACTORS as u64) as usize].pid;
        match self.socket.begin_transfer(from, to) {
            Ok(None) => assert_eq!(from, to),
            Ok(Some(was)) => {
                let before = self.counts();
                std::thread::yield_now();
                self.assert_quiet_since(&before);
                self.socket.finish_transfer(to, was);
            }
            Err(failure) => assert_eq!(failure, Failure::Closed),
        }
    }

    fn counts(&self) -> Vec<u64> {
        self.actors.iter().map(Process::of_streams).collect()
    }

    /// But for the end, of which a failed send may tell.
    fn assert_quiet_since(&self, before: &[u64]) {
        let now = self.counts();
        assert_eq!(before, now, "a message of a passive socket");
    }

    /// Somebody waits in recv or in send, and dies.
    fn haunt(&self, random: &mut Random, calls: &mut Vec<u32>) {
        let ghost = Process::spawn();
        match ghost.try_recv(self.socket, 0, tag()) {
            Call::Done(body) => calls.push(number_of(&body).1),
            Call::Wait => {
                if random.below(2) == 0 {
                    std::thread::yield_now();
                }
            }
            Call::Failed(failure) => assert_expected(failure),
        }
        ghost.die();
        self.socket.process_down(ghost.pid);
    }
}

/// What a call may fail with when others use the socket, or have closed it.
fn assert_expected(failure: Failure) {
    let expected = [
        Failure::Closed,
        Failure::Timeout,
        Failure::Posix(libc::EINVAL),
        Failure::Posix(libc::EALREADY),
        Failure::Posix(libc::ENOTCONN),
    ];
    assert!(expected.contains(&failure), "{failure:?}");
}

/// How a round ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    /// The peer says that it has ended, everything is received, then closed.
    Gentle,
    Close,
    Abandon,
    OwnerDies,
    PeerCloses,
    PollerStops,
}

/// Writes numbered frames until it is told to stop, or cannot.
fn write_numbered(mut socket: &Socket, stop: &AtomicBool) -> u32 {
    let mut count = 0;
    while !stop.load(Ordering::Acquire) {
        let body = numbered(u32::MAX, count);
        let mut frame = (body.len() as u32).to_be_bytes().to_vec();
        frame.extend_from_slice(&body);
        if socket.write_all(&frame).is_err() {
            break;
        }
        count += 1;
    }
    count
}

/// Reads frames until there is an end. Returns how many of each actor came.
fn read_numbered(mut socket: &Socket, pause: Duration) -> Vec<u32> {
    let mut counts = vec![0; ACTORS];
    loop {
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
        let mut header = [0; 4];
        if socket.read_exact(&mut header).is_err() {
            return counts;
        }
        let mut body = vec![0; u32::from_be_bytes(header) as usize];
        if socket.read_exact(&mut body).is_err() {
            return counts;
        }
        let (sender, number) = number_of(&body);
        assert_eq!(number, counts[sender as usize], "out of order");
        counts[sender as usize] += 1;
    }
}

fn play(family: Family, ending: Ending, seed: u64) {
    let mut random = Random::new(seed);
    let default = Tuning::default();
    let rig = Rig::tuned(Tuning {
        // From the first event on, or as by default.
        stay_after: default
            .stay_after
            .filter(|_| random.below(2) == 0)
            .or(Some(0)),
        ..default
    });
    let actors: Vec<Process> = (0..ACTORS).map(|_| Process::spawn()).collect();
    let gentle = ending == Ending::Gentle;
    // A reader that is slow makes senders wait.
    let slow = random.below(2) == 0;
    let pause = Duration::from_micros(if slow { 300 } else { 0 });
    let options = [
        int("sndbuf", if slow { 4096 } else { 100_000 }),
        packet(PacketType::Length4),
        flag("exit_on_close", !gentle),
        flag("delay_send", random.below(4) == 0),
        flag("read_ahead", random.below(3) > 0),
        int("high_watermark", 1 + random.below(20_000) as i64),
    ];
    let (socket, peer) = rig.stream(family, &actors[0], &options);
    let peer = peer.0;
    peer.set_read_timeout(None).unwrap();
    peer.set_write_timeout(None).unwrap();
    let monitor = tag();
    assert!(socket.monitor(actors[1].pid, monitor));
    let arena = Arena {
        socket: &socket,
        actors: &actors,
        activity: RwLock::new(()),
        received: Mutex::default(),
        sent: (0..ACTORS).map(|_| AtomicU32::new(0)).collect(),
        stop: AtomicBool::new(false),
    };
    let stop_peer = AtomicBool::new(false);
    let (written, read) = std::thread::scope(|scope| {
        let _end = AtTheEnd(|| {
            arena.stop.store(true, Ordering::Release);
            stop_peer.store(true, Ordering::Release);
            let _ = peer.shutdown(Shutdown::Both);
        });
        let writer = scope.spawn(|| write_numbered(&peer, &stop_peer));
        let reader = scope.spawn(|| read_numbered(&peer, pause));
        let running: Vec<_> = (0..ACTORS)
            .map(|index| {
                let (arena, seed) = (&arena, seed * 100 + index as u64);
                scope.spawn(move || arena.act(index, seed))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(50 + random.below(100)));
        match ending {
            Ending::Gentle => {}
            Ending::Close => {
                let closer = Process::spawn();
                let tag = tag();
                if !socket.close()
                    && let Call::Wait = socket.await_drained(closer.pid, tag)
                {
                    // The others go on sending: the queue may never be empty.
                    let patience = Instant::now() + Duration::from_millis(random.below(100));
                    let reply = closer.reply_until(&socket, tag, patience);
                    assert!(matches!(reply, None | Some(Reply::Ready)));
                }
                socket.abandon();
            }
            Ending::Abandon => socket.abandon(),
            // Whoever it is by now; a transfer may be under way.
            Ending::OwnerDies => {
                let _quiet = arena.activity.write().unwrap();
                socket.process_down(socket.owner());
            }
            Ending::PeerCloses => {
                // The end of the input alone closes nothing that has stopped to read.
                let _ = peer.shutdown(Shutdown::Both);
            }
            Ending::PollerStops => rig.poller.stop(),
        }
        if !gentle {
            std::thread::sleep(Duration::from_millis(random.below(10)));
        }
        arena.stop.store(true, Ordering::Release);
        for actor in running {
            actor.join().unwrap();
        }
        stop_peer.store(true, Ordering::Release);
        let mut received = arena.received.lock().unwrap();
        let written = if gentle {
            let _ = socket.set_options(&[active(ActiveRequest::Passive)]);
            let last = Process::spawn();
            let mut numbers = Vec::new();
            // The writer goes on as soon as somebody reads, and says when it has ended.
            let ender = scope.spawn(|| {
                let count = writer.join().unwrap();
                peer.shutdown(Shutdown::Write).unwrap();
                count
            });
            let end = loop {
                match last.recv(&socket, 0) {
                    Ok(body) => numbers.push(number_of(&body).1),
                    Err(failure) => break failure,
                }
            };
            assert_eq!(end, Failure::Closed);
            received.extend(numbers);
            let tag = tag();
            if !socket.close()
                && let Call::Wait = socket.await_drained(last.pid, tag)
            {
                assert_eq!(last.reply(tag), Reply::Ready);
            }
            socket.abandon();
            Some(ender.join().unwrap())
        } else {
            // What closes last, if nothing of the above has.
            socket.abandon();
            None
        };
        drop(received);
        if !gentle {
            // Nobody may read the rest of what is drained.
            let _ = peer.shutdown(Shutdown::Both);
        }
        (written, reader.join().unwrap())
    });
    for actor in &actors {
        let mut late = Vec::new();
        arena.collect(actor, &mut late);
        arena.received.lock().unwrap().extend(late);
    }
    let mut received = arena.received.into_inner().unwrap();
    received.sort_unstable();
    let expected: Vec<u32> = (0..received.len() as u32).collect();
    assert!(received == expected, "{ending:?}: a frame twice, or a gap");
    for (index, sent) in arena.sent.iter().enumerate() {
        let sent = sent.load(Ordering::Relaxed);
        assert!(read[index] <= sent);
        if gentle {
            assert_eq!(read[index], sent, "{ending:?}: a frame of {index} is lost");
        }
    }
    if let Some(written) = written {
        assert_eq!(written as usize, received.len());
    }
    rig.poller.stop();
    assert!(socket.is_closed());
    // Every reply has been taken by the call that it was for.
    for (index, actor) in actors.iter().enumerate() {
        let expected: Vec<_> = (index == 1)
            .then_some(Message::Down(monitor, None))
            .into_iter()
            .collect();
        assert_eq!(actor.messages(), expected, "{ending:?}");
    }
}

/// However the calls of several processes on one socket and the end of it interleave: each
/// wait has one answer, the stream has neither gap nor repetition, a passive socket is
/// silent, and nothing is stuck.
#[test]
fn one_socket_in_many_hands() {
    let _watched = watchdog();
    let endings = [
        Ending::Gentle,
        Ending::Close,
        Ending::Gentle,
        Ending::Abandon,
        Ending::OwnerDies,
        Ending::PeerCloses,
        Ending::PollerStops,
    ];
    let end = Instant::now() + TIME;
    for (round, ending) in endings.into_iter().cycle().enumerate() {
        if Instant::now() > end {
            break;
        }
        let family = [Family::Inet, Family::Local][round % 2];
        play(family, ending, round as u64 + 1);
    }
}

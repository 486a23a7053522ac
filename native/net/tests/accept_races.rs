//! Everything at once on the same listener, at random, for some seconds.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may panic"
)]

mod fake;

use fake::race::{AtTheEnd, Random, TIME, watchdog};
use fake::{Handle, Process, Rig, active, bytes, tag};
use net::{Call, Family, Reply};
use proto::ActiveRequest;
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// However accepts, cancels and deaths interleave, each connection is accepted once.
#[test]
fn one_listener_in_many_hands() {
    let _watched = watchdog();
    let rig = Rig::new();
    let owner = Process::spawn();
    let options = [active(ActiveRequest::Passive)];
    let (listener, address) = rig.listen(Family::Inet, &owner, &options);
    let listener = &listener;
    let end = Instant::now() + TIME;
    let next = AtomicU32::new(0);
    let accepted = Mutex::new(Vec::new());
    let stop = AtomicBool::new(false);
    let serve = |process: &Process, socket: Handle| {
        let number = process.recv(&socket, 4).unwrap();
        let number = u32::from_be_bytes(number.try_into().unwrap());
        accepted.lock().unwrap().push(number);
        process.send(&socket, &bytes(b"k")).unwrap();
        socket.abandon();
    };
    std::thread::scope(|scope| {
        let _end = AtTheEnd(|| stop.store(true, Ordering::Release));
        let clients: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    while Instant::now() < end {
                        let mut socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                        // A reset at the end: no port is left in TIME_WAIT.
                        socket.set_linger(Some(Duration::ZERO)).unwrap();
                        socket.connect(&address.to_system().unwrap()).unwrap();
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        socket.write_all(&number.to_be_bytes()).unwrap();
                        socket.set_read_timeout(Some(fake::PATIENCE)).unwrap();
                        socket.read_exact(&mut [0]).unwrap();
                    }
                })
            })
            .collect();
        for seed in 0..4 {
            let (stop, serve) = (&stop, &serve);
            scope.spawn(move || {
                let mut random = Random::new(seed + 77);
                let process = Process::spawn();
                while !stop.load(Ordering::Acquire) {
                    let ghost = Process::spawn();
                    let haunts = random.below(4) == 0;
                    let acceptor = if haunts { &ghost } else { &process };
                    let tag = tag();
                    match listener.accept(acceptor.pid, || tag) {
                        Call::Done(socket) => serve(acceptor, socket),
                        Call::Failed(failure) => panic!("{failure:?}"),
                        Call::Wait if haunts => {
                            if random.below(2) == 0 {
                                std::thread::sleep(random.time());
                            }
                            ghost.die();
                            listener.process_down(ghost.pid);
                        }
                        Call::Wait => {
                            let until = Instant::now() + random.time();
                            match process.reply_until(listener, tag, until) {
                                Some(Reply::Ready) => match listener.accept(process.pid, || tag) {
                                    Call::Done(socket) => serve(&process, socket),
                                    // It was cancelled in between, and another has been called.
                                    Call::Wait => {
                                        process.reply_until(listener, tag, Instant::now());
                                    }
                                    Call::Failed(failure) => panic!("{failure:?}"),
                                },
                                None => {}
                                Some(other) => panic!("{other:?}"),
                            }
                        }
                    }
                }
                assert_eq!(process.messages(), []);
            });
        }
        for client in clients {
            client.join().unwrap();
        }
    });
    let mut accepted = accepted.into_inner().unwrap();
    accepted.sort_unstable();
    let expected: Vec<u32> = (0..next.into_inner()).collect();
    assert_eq!(accepted, expected);
    assert!(!accepted.is_empty());
}

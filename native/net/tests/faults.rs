//! Every system call fails in turn, with every errno: whoever made it is told, everybody
//! else lives, and nothing is left behind.
//!
//! Each scenario is run again and again: the first call fails, then the second, and so
//! on until there is none left to fail.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic"
)]

mod fake;
mod fault;

use fake::{Message, Process, Rig, active, tag};
use fault::scenarios::{ALL, Case, Scenario, Told};
use fault::{Fault, Function, Hit, When};
use net::{Failure, Family, Reply};
use proto::ActiveRequest;
use socket2::{Domain, Socket, Type};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What a kernel that is short of something, or a network, may say.
const ERRNOS: [i32; 16] = [
    libc::EAGAIN,
    libc::EBADF,
    libc::ECONNABORTED,
    libc::ECONNRESET,
    libc::EINTR,
    libc::EINVAL,
    libc::EIO,
    libc::EMFILE,
    libc::ENFILE,
    libc::ENOBUFS,
    libc::ENOMEM,
    libc::ENOSPC,
    libc::EPERM,
    libc::EPIPE,
    libc::EPROTO,
    libc::ETIMEDOUT,
];

/// A read or write that is as short as one can be.
const ONE_BYTE: Fault = Fault::Short(1);

/// The fds and the plan are the whole process's: one test at a time.
static ONE: Mutex<()> = Mutex::new(());
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn alone() -> MutexGuard<'static, ()> {
    fault::exempt();
    ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn open_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Sockets that have nothing to do with it, on the same poller.
struct Others {
    owner: Process,
    socket: fake::Handle,
    peer: fake::Peer,
    listener: fake::Handle,
    address: net::Address,
}

impl Others {
    fn new(rig: &Rig) -> Others {
        let owner = Process::spawn();
        let (socket, peer) = rig.stream(Family::Local, &owner, &[active(ActiveRequest::Always)]);
        let (listener, address) = rig.listen(Family::Local, &owner, &[]);
        Others {
            owner,
            socket,
            peer,
            listener,
            address,
        }
    }

    /// They live: bytes go both ways, and connections are accepted.
    fn assert_alive(&mut self) {
        self.peer.write(b"alive?");
        assert_eq!(self.owner.next(), Message::Data(b"alive?".to_vec()));
        self.owner.send(&self.socket, &fake::bytes(b"yes")).unwrap();
        assert_eq!(self.peer.read(3), b"yes");
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        client.connect(&self.address.to_system().unwrap()).unwrap();
        self.owner.accept(&self.listener).unwrap().abandon();
    }
}

struct Run {
    told: Told,
    hit: Option<Hit>,
    calls: BTreeMap<Function, usize>,
}

/// One life, and the proof that nothing is left of it.
fn run(scenario: &Scenario, family: Family, fault: Fault, when: When) -> Run {
    let before = open_fds();
    let case = Case::new(family, fault, when);
    let mut others = Others::new(&case.rig);
    let told = scenario.1(&case).map_err(|failure| {
        // A closed socket takes no options: what closed it its owner was told before.
        let reason = case
            .owner
            .select_until(Instant::now(), &mut |message| match message {
                Message::Error(failure) => Some(*failure),
                _ => None,
            });
        match failure {
            Failure::Posix(libc::EINVAL) => reason.unwrap_or(failure),
            failure => failure,
        }
    });
    let (hit, calls) = fault::end();
    others.assert_alive();
    drop(others);
    for socket in case.rig.poller.sockets() {
        socket.abandon();
    }
    let waiter = Process::spawn();
    let empty = tag();
    if case.rig.poller.await_empty(waiter.pid, empty) {
        assert_eq!(waiter.reply(empty), Reply::Ready);
    }
    drop(case);
    assert_eq!(open_fds(), before, "fds");
    Run { told, hit, calls }
}

/// Whether the caller of the crate must not notice this.
fn is_hidden(function: Function, fault: Fault) -> bool {
    use Function::{
        Accept, Close, Connect, EpollDelete, EpollWait, Open, Recv, Send, Sendfile, Sendmsg, Write,
    };
    match fault {
        Fault::Short(_) => true,
        Fault::Errno(libc::EINTR) => matches!(
            function,
            Accept
                | Close
                | Connect
                | EpollDelete
                | EpollWait
                | Open
                | Recv
                | Send
                | Sendfile
                | Sendmsg
                | Write
        ),
        Fault::Errno(libc::EAGAIN) => matches!(
            function,
            Accept | Close | EpollDelete | EpollWait | Recv | Send | Sendfile | Sendmsg | Write
        ),
        Fault::Errno(libc::ECONNABORTED) if function == Accept => true,
        Fault::Errno(_) => matches!(function, Close | EpollDelete | EpollWait | Write),
    }
}

/// Whether a failure of this call may have no consequence but that an option is not set
/// or not read, or that a stream ends, which it would have done without it.
fn may_be_ignored(function: Function, fault: Fault) -> bool {
    use Function::{Getpeername, Getsockopt, Recv, Setsockopt};
    match function {
        Setsockopt | Getsockopt | Getpeername => true,
        Recv => fault == Fault::Errno(libc::ECONNRESET),
        _ => false,
    }
}

/// What may be told of it.
fn fits(function: Function, errno: i32, failure: Failure) -> bool {
    use Function::{Connect, EpollArm, Fcntl, Recv, Send, Sendfile, Sendmsg, Setsockopt, Shutdown};
    match failure {
        Failure::Posix(told) if told == errno => true,
        // A stream that broke is closed, for a sender whatever it broke of.
        Failure::Closed => match function {
            Recv => errno == libc::ECONNRESET,
            Send | Sendmsg | Sendfile | Shutdown => true,
            _ => false,
        },
        // After its end.
        Failure::Posix(libc::ENOTCONN) => {
            matches!(function, Send | Sendmsg | Sendfile | Shutdown | EpollArm)
        }
        Failure::Posix(libc::EINVAL) => matches!(function, Setsockopt | Connect | Fcntl),
        _ => false,
    }
}

fn assert_fits(name: &str, family: Family, fault: Fault, run: &Run) {
    let Some(hit) = run.hit else {
        assert_eq!(run.told, Ok(()), "{name} {family:?}: failed by itself");
        return;
    };
    let what = format!("{name} {family:?}: {:?} of {hit:?}: {:?}", fault, run.told);
    assert_eq!(PANICS.load(Ordering::Relaxed), 0, "{what}: a panic");
    match (fault, run.told) {
        (_, Ok(())) => assert!(
            is_hidden(hit.function, fault) || may_be_ignored(hit.function, fault),
            "{what}: nobody was told"
        ),
        (Fault::Short(_), Err(_)) => panic!("{what}"),
        (Fault::Errno(errno), Err(failure)) => {
            assert!(!is_hidden(hit.function, fault), "{what}: was told");
            assert!(fits(hit.function, errno, failure), "{what}: wrong");
        }
    }
}

fn count_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().name() == Some("gen_tcp_rs") {
            PANICS.fetch_add(1, Ordering::Relaxed);
        }
        print(info);
    }));
}

/// All calls of all scenarios fail once.
#[test]
fn every_call_with_every_errno() {
    let _alone = alone();
    count_panics();
    let faults: Vec<Fault> = ERRNOS
        .into_iter()
        .map(Fault::Errno)
        .chain([ONE_BYTE])
        .collect();
    let mut hits: BTreeMap<Function, usize> = BTreeMap::new();
    let mut runs = 0;
    for scenario in ALL {
        for &family in scenario.2 {
            let began = (Instant::now(), runs);
            run(scenario, family, ONE_BYTE, When::Never);
            for &fault in &faults {
                for number in 0.. {
                    let run = run(scenario, family, fault, When::At(number));
                    runs += 1;
                    assert_fits(scenario.0, family, fault, &run);
                    match run.hit {
                        Some(hit) => *hits.entry(hit.function).or_default() += 1,
                        None if fault == ONE_BYTE && number < run.calls.values().sum() => {}
                        None => break,
                    }
                }
            }
            println!(
                "{} {family:?}: {} runs in {:?}",
                scenario.0,
                runs - began.1,
                began.0.elapsed()
            );
        }
    }
    println!("{runs} runs; failed calls of each function: {hits:?}");
    for function in Function::ALL {
        let root_only = [Function::Setns, Function::Open].contains(&function);
        // SAFETY: no arguments, no failure.
        if !root_only || unsafe { libc::geteuid() } == 0 {
            let count = hits.get(&function).copied().unwrap_or(0);
            assert!(count > 0, "{function:?} was never made to fail");
        }
    }
}

/// A function that fails whenever it is called, as long as the shortage lasts: nobody
/// waits for ever, and afterwards everything works.
#[test]
fn a_shortage_that_lasts() {
    let _alone = alone();
    let lasting = [
        (Function::Accept, libc::EMFILE),
        (Function::EpollArm, libc::ENOSPC),
        (Function::EpollArm, libc::ENOMEM),
        (Function::EpollCreate, libc::EMFILE),
        (Function::Eventfd, libc::ENFILE),
        (Function::Fcntl, libc::EMFILE),
        (Function::PthreadCreate, libc::EAGAIN),
        (Function::Socket, libc::EMFILE),
        (Function::Socket, libc::ENOBUFS),
        (Function::Recv, libc::ENOMEM),
        (Function::Send, libc::ENOBUFS),
        (Function::Sendmsg, libc::ENOBUFS),
        (Function::Sendfile, libc::ENOMEM),
        (Function::Setsockopt, libc::ENOPROTOOPT),
        (Function::Getsockopt, libc::ENOPROTOOPT),
    ];
    let bytes = [
        Function::Recv,
        Function::Send,
        Function::Sendmsg,
        Function::Sendfile,
    ];
    let faults = lasting
        .map(|(function, errno)| (function, Fault::Errno(errno)))
        .into_iter()
        .chain(bytes.map(|function| (function, Fault::Short(997))));
    for (function, fault) in faults {
        let mut hits = 0;
        for scenario in ALL {
            for &family in scenario.2 {
                let run = run(scenario, family, fault, When::Each(function));
                hits += run.hit.map_or(0, |hit| hit.count);
                if matches!(fault, Fault::Short(_)) {
                    assert_eq!(run.told, Ok(()), "{} {family:?}", scenario.0);
                }
            }
        }
        println!("{function:?} {fault:?}: {hits} times");
        assert!(hits > 0, "{function:?} {fault:?}");
    }
}

/// A poller whose wait for events fails goes on trying, but not all the time.
#[test]
fn an_epoll_that_fails_for_a_while() {
    let _alone = alone();
    let rig = Rig::new();
    let mut others = Others::new(&rig);
    fault::begin(Fault::Errno(libc::EBADF), When::Each(Function::EpollWait));
    // Ends the wait that goes on, if one does.
    others.peer.write(b"x");
    let began = Instant::now();
    while fault::hits() < 10 {
        std::thread::yield_now();
        assert!(began.elapsed() < fake::PATIENCE);
    }
    assert!(began.elapsed() > Duration::from_millis(5), "it never rests");
    fault::end();
    assert_eq!(others.owner.next(), Message::Data(b"x".to_vec()));
    others.assert_alive();
}

/// The connection that an acceptor could not take for want of an fd stays where it is.
#[test]
fn no_connection_is_lost_for_want_of_an_fd() {
    let _alone = alone();
    let rig = Rig::new();
    let (owner, acceptor) = (Process::spawn(), Process::spawn());
    let (listener, address) = rig.listen(Family::Local, &owner, &[active(ActiveRequest::Passive)]);
    let mut peer = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    peer.connect(&address.to_system().unwrap()).unwrap();
    fault::begin(Fault::Errno(libc::EMFILE), When::Each(Function::Accept));
    for process in [&owner, &acceptor] {
        let refused = fault::subject(|| process.accept(&listener)).map(drop);
        assert_eq!(refused, Err(Failure::Posix(libc::EMFILE)));
    }
    fault::end();
    let socket = acceptor.accept(&listener).unwrap();
    peer.write_all(b"still here").unwrap();
    assert_eq!(acceptor.recv(&socket, 10).unwrap(), b"still here");
}

/// An active owner is told of a socket that the kernel won't watch, a passive one's next
/// call, a waiting one at once, and who monitors it.
#[test]
fn whoever_needs_to_know_is_told_that_the_kernel_does_not_watch() {
    let _alone = alone();
    let rig = Rig::new();
    let enospc = Failure::Posix(libc::ENOSPC);
    let shortage = || fault::begin(Fault::Errno(libc::ENOSPC), When::Each(Function::EpollArm));

    let (owner, watcher, monitor) = (Process::spawn(), Process::spawn(), tag());
    let (socket, _peer) = rig.stream(Family::Local, &owner, &[]);
    assert!(socket.monitor(watcher.pid, monitor));
    shortage();
    fault::subject(|| socket.activate(proto::Active::Always)).unwrap();
    assert_eq!(owner.next(), Message::Error(enospc));
    assert_eq!(owner.next(), Message::Closed);
    assert_eq!(watcher.next(), Message::Down(monitor, Some(enospc)));

    let (socket, _peer) = rig.stream(Family::Local, &owner, &[]);
    assert_eq!(fault::subject(|| owner.recv(&socket, 1)), Err(enospc));
    assert_eq!(owner.messages(), []);
    // It has its owner still, who knows now.
    let enotconn = Err(Failure::Posix(libc::ENOTCONN));
    assert_eq!(owner.send(&socket, &fake::bytes(b"x")), enotconn);

    let (listener, _) = rig.listen(Family::Local, &owner, &[]);
    let refused = fault::subject(|| owner.accept(&listener)).map(drop);
    assert_eq!(refused, Err(enospc));
    fault::end();
}

//! Every order in which the operations of a few processes, the peer and the poller on one
//! socket can come, of scenarios small enough to try them all.
//!
//! A failure prints its order, which `INTERLEAVING=0121 cargo test --test interleavings
//! NAME` plays again.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic"
)]

mod fake;
mod model;

use model::Step::{self, *};
use model::turnstile::Turnstile;
use model::{PLAIN, Setup, World};
use net::Tuning;
use proto::Active::{Always, Once, Passive};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The next order of the same elements. False: that was the last.
fn permute(order: &mut [usize]) -> bool {
    let Some(pivot) = order.windows(2).rposition(|pair| pair[0] < pair[1]) else {
        return false;
    };
    let behind = order.iter().rposition(|&value| value > order[pivot]);
    order.swap(pivot, behind.unwrap());
    order[pivot + 1..].reverse();
    true
}

/// Runs all merges of the lists, with registrations for one event and with such as stay.
fn explore(name: &str, setup: Setup, lists: &[&[Step]]) {
    let _watched = fake::race::watchdog();
    for stay_after in [None, Some(0)] {
        let tuning = Tuning {
            stay_after,
            ..Tuning::default()
        };
        explore_tuned(name, tuning, setup, lists);
    }
}

fn explore_tuned(name: &str, tuning: Tuning, setup: Setup, lists: &[&[Step]]) {
    let mut turnstile = Turnstile::new(tuning);
    let again = std::env::var("INTERLEAVING").ok();
    let mut order: Vec<usize> = match &again {
        Some(order) => order
            .bytes()
            .map(|digit| usize::from(digit - b'0'))
            .collect(),
        None => (0..lists.len())
            .flat_map(|index| vec![index; lists[index].len()])
            .collect(),
    };
    let mut count = 0;
    loop {
        let mut rest: Vec<_> = lists.iter().map(|list| list.iter()).collect();
        let steps: Vec<Step> = order
            .iter()
            .map(|&index| *rest[index].next().unwrap())
            .collect();
        let mut done = 0;
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut world = World::new(&mut turnstile, setup);
            for &step in &steps {
                world.step(step);
                done += 1;
            }
            world.end();
        }));
        count += 1;
        if let Err(panic) = result {
            let order: String = order.iter().map(usize::to_string).collect();
            eprintln!("{name}: INTERLEAVING={order}, failed after {done} of {steps:?}");
            eprintln!("before that {:?}, {tuning:?}", setup.before);
            resume_unwind(panic);
        }
        if again.is_some() || !permute(&mut order) {
            break;
        }
    }
    println!("{name}: {count} interleavings, {tuning:?}");
}

#[test]
fn receive_time_out_and_receive_again() {
    let lists: [&[Step]; 3] = [
        &[Recv(1), TimeOut(1), Recv(1), Go(1)],
        &[Write(1), Write(1), End],
        &[Turn, Turn, Turn],
    ];
    explore("receive_time_out_and_receive_again", PLAIN, &lists);
}

#[test]
fn two_receivers() {
    let lists: [&[Step]; 4] = [
        &[Recv(1), Go(1)],
        &[Recv(2), TimeOut(2)],
        &[Write(1), Write(1)],
        &[Turn, Turn],
    ];
    explore("two_receivers", PLAIN, &lists);
}

#[test]
fn a_receiver_dies() {
    let lists: [&[Step]; 4] = [
        &[Recv(1), Die(1), Down(1)],
        &[Recv(2), Go(2)],
        &[Write(1)],
        &[Turn, Turn],
    ];
    explore("a_receiver_dies", PLAIN, &lists);
}

#[test]
fn activity_comes_and_goes() {
    let lists: [&[Step]; 3] = [
        &[Active(Once), Active(Passive), Active(Always)],
        &[Write(1), Write(1), End],
        &[Turn, Turn, Turn],
    ];
    explore("activity_comes_and_goes", PLAIN, &lists);
}

#[test]
fn a_receiver_of_frames_and_an_active_owner() {
    let setup = Setup {
        framed: true,
        ..PLAIN
    };
    let lists: [&[Step]; 4] = [
        &[Recv(1), Go(1)],
        &[Active(Once), Active(Passive)],
        &[Write(2)],
        &[Turn, Turn, Turn],
    ];
    explore("a_receiver_of_frames_and_an_active_owner", setup, &lists);
}

#[test]
fn a_receiver_of_a_length_and_an_active_owner() {
    let setup = Setup { len: 2, ..PLAIN };
    let lists: [&[Step]; 4] = [
        &[Recv(1), Go(1), TimeOut(1)],
        &[Active(Once)],
        &[Write(1), Write(1)],
        &[Turn, Turn],
    ];
    explore("a_receiver_of_a_length_and_an_active_owner", setup, &lists);
}

#[test]
fn a_change_of_owner() {
    let setup = Setup {
        active: Once,
        ..PLAIN
    };
    let lists: [&[Step]; 4] = [
        &[Begin(1), Finish],
        &[Active(Once)],
        &[Write(1), End],
        &[Turn, Turn, Turn],
    ];
    explore("a_change_of_owner", setup, &lists);
}

#[test]
fn a_close_among_receivers() {
    let lists: [&[Step]; 5] = [
        &[Recv(1)],
        &[Active(Once)],
        &[Close(0)],
        &[Write(1), End],
        &[Turn, Turn, Turn],
    ];
    explore("a_close_among_receivers", PLAIN, &lists);
}

#[test]
fn an_end_that_closes_nothing() {
    let setup = Setup {
        exit_on_close: false,
        ..PLAIN
    };
    let lists: [&[Step]; 4] = [
        &[Recv(1), Go(1)],
        &[Active(Once), Active(Always)],
        &[Write(1), End],
        &[Turn, Turn],
    ];
    explore("an_end_that_closes_nothing", setup, &lists);
}

/// 1 waits for the queue to become short, 2 and 3 for their turns behind it.
const SENDERS: &[Step] = &[Send(0), Send(1), Go(1), Send(2), Go(2), Send(3), Go(3)];

#[test]
fn senders_come_to_wait() {
    let setup = Setup {
        before: &[Send(0), Send(1), Go(1)],
        ..PLAIN
    };
    let lists: [&[Step]; 4] = [
        &[Send(2), Go(2), Go(2)],
        &[Send(3), Go(3)],
        &[Drain],
        &[Turn, Turn],
    ];
    explore("senders_come_to_wait", setup, &lists);
}

#[test]
fn a_sender_dies_before_or_in_its_turn() {
    let setup = Setup {
        before: SENDERS,
        ..PLAIN
    };
    let lists: [&[Step]; 5] = [
        &[Die(2), Down(2)],
        &[Go(3)],
        &[Drain],
        &[Send(4), Go(4)],
        &[Turn, Turn],
    ];
    explore("a_sender_dies_before_or_in_its_turn", setup, &lists);
}

const SENDERS_TIME_OUT: [&[Step]; 5] = [
    &[TimeOut(1)],
    &[TimeOut(2)],
    &[Go(3), Go(3)],
    &[Drain],
    &[Turn, Turn],
];

#[test]
fn senders_time_out() {
    let setup = Setup {
        before: SENDERS,
        ..PLAIN
    };
    explore("senders_time_out", setup, &SENDERS_TIME_OUT);
}

#[test]
fn a_timeout_of_a_sender_closes() {
    for active in [Passive, Always] {
        let setup = Setup {
            before: SENDERS,
            send_timeout_close: true,
            active,
            ..PLAIN
        };
        explore("a_timeout_of_a_sender_closes", setup, &SENDERS_TIME_OUT);
    }
}

#[test]
fn a_close_among_senders() {
    let setup = Setup {
        before: SENDERS,
        ..PLAIN
    };
    let lists: [&[Step]; 5] = [
        &[Close(4), Go(4), TimeOut(4)],
        &[Go(3)],
        &[Abandon],
        &[Drain],
        &[Turn, Turn],
    ];
    explore("a_close_among_senders", setup, &lists);
}

#[test]
fn the_peer_of_senders_closes() {
    let setup = Setup {
        before: SENDERS,
        ..PLAIN
    };
    let lists: [&[Step]; 5] = [
        &[Go(2)],
        &[Recv(4)],
        &[Active(Once)],
        &[Write(1), End],
        &[Turn, Turn],
    ];
    explore("the_peer_of_senders_closes", setup, &lists);
}

const LISTENER: Setup = Setup {
    listens: true,
    ..PLAIN
};

#[test]
fn acceptors_time_out() {
    let lists: [&[Step]; 5] = [
        &[Accept(1), TimeOut(1)],
        &[Accept(2), Go(2)],
        &[Accept(3)],
        &[Connect],
        &[Turn, Turn],
    ];
    explore("acceptors_time_out", LISTENER, &lists);
}

#[test]
fn an_acceptor_dies() {
    let lists: [&[Step]; 4] = [
        &[Accept(1), Die(1), Down(1)],
        &[Accept(2), Go(2)],
        &[Connect, Connect],
        &[Turn, Turn],
    ];
    explore("an_acceptor_dies", LISTENER, &lists);
}

#[test]
fn a_listener_closes() {
    let lists: [&[Step]; 5] = [
        &[Accept(1), Go(1)],
        &[Accept(2)],
        &[Connect],
        &[Abandon],
        &[Turn, Turn],
    ];
    explore("a_listener_closes", LISTENER, &lists);
}

//! TCP and local stream sockets for processes that live in another world: a poller
//! thread, one lock a socket, framing and options as the port driver of Erlang has them.
//!
//! Nothing here knows of a VM: the world above is a [`Host`].

pub mod address;
mod closing;
mod ending;
mod endpoint;
mod file;
mod frames;
mod host;
mod inquiry;
mod listener;
mod mailbox;
mod monitors;
mod nowait;
mod open;
pub mod option;
mod output;
mod ownership;
mod poller;
mod rearm;
mod receiving;
mod seldom;
mod sending;
pub mod settings;
mod snapshot;
mod spin;
mod stats;
mod stream;
mod sys;
pub mod tcp_info;
mod timeslice;
mod totals;
mod tuning;
mod watch;

pub use address::{Address, Family};
pub use endpoint::{Call, Endpoint};
pub use frames::Frame;
pub use host::{Event, Failure, Form, Host, Info, Kind, Reply, Report};
pub use mailbox::Paused;
pub use open::{Source, Spec};
pub use poller::Poller;
pub use sending::{Outgoing, Sent};
pub use settings::Settings;
pub use snapshot::{Snapshot, Waiting};
pub use stats::{Counter, Counters, Direction};
pub use tcp_info::TcpInfo;
pub use timeslice::take_time_held;
pub use totals::{Total, longest_lock, time_locks, totals};
pub use tuning::Tuning;

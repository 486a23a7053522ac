//! s

pub mod address;
pub mod option;
pub mod settings;
pub mod tcp_info;

mod sys;

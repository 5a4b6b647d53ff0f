//! What `vtl` and `impexp` share: the commands, the requests that they are, and how answers are printed.

pub mod command;
pub mod confirm;
pub mod follow;
pub mod http;
pub mod lab;
pub mod login;
pub mod logout;
pub mod objects;
pub mod print;
pub mod quadstor;
mod tls;
mod token;

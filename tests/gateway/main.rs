//! What the gateway promises, tested from outside: the real program over real sockets. One module a
//! promise.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that fails so says where"
)]

mod support;

mod admin;
mod advice;
mod answers;
mod api_document;
mod beside;
mod certificates;
mod client;
mod clocks;
mod commands;
mod compressed_requests;
mod connections;
mod crash;
mod cursors;
mod deadline;
mod demo;
mod disk_full;
mod doors;
mod drain;
mod duplicates;
mod errors;
mod files;
mod filters;
mod handshakes;
mod hanging;
mod health;
mod history_pages;
mod large_bodies;
mod log_commands;
mod log_document;
mod log_upgrade;
mod marks;
mod names;
mod odd_bodies;
mod old_names;
mod operations;
mod origins;
mod power_loss;
mod progress;
mod reflection;
mod refusals;
mod replay;
mod restart;
mod retention;
mod samples;
mod searches;
mod shown;
mod slow;
mod sockets;
mod subscription;
mod terminal;
mod tidy;
mod unfinished;
mod unread;

//! What the gateway promises, tested from outside: the real program over real sockets. One module a promise.

mod support;

mod answers;
mod crash;
mod duplicates;
mod filters;
mod history_pages;
mod odd_bodies;
mod progress;
mod replay;
mod samples;

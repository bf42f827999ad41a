//! What the gateway promises, tested from outside: the real program over real sockets. One module a promise.

mod support;

mod samples;

//! What the gateway promises, tested from outside: the real program over real sockets. One module a promise.

mod support;

mod admin;
mod advice;
mod answers;
mod api_document;
mod certificates;
mod client;
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
mod filters;
mod health;
mod history_pages;
mod names;
mod odd_bodies;
mod operations;
mod origins;
mod progress;
mod reflection;
mod refusals;
mod replay;
mod samples;
mod slow;
mod terminal;
mod tidy;
mod unread;

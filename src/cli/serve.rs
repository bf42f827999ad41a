//! `verbex-gateway serve`: runs the gateway until a signal, then lets it drain.

use std::{env, io, thread, time::Duration};

use anyhow::Context;
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use super::{
    banner::banner,
    demo,
    interrupt::{Signals, end_at_once},
    lines::Lines,
    logging,
    settings::{PRECEDENCE, Settings},
    sockets::Sockets,
};
use crate::{
    config::{self, Config},
    gateway::{self, Gateway},
    log::Consent,
};

/// How long the last lines may take to be written, and how long after a second signal.
const LAST_LINES: Duration = Duration::from_secs(1);
const LAST_LINES_IN_A_HURRY: Duration = Duration::from_millis(200);

/// Run the gateway
///
/// Without configuration it serves this machine only: webhooks at
/// https://127.0.0.1:8443/webhooks/verbex with a certificate that it makes for itself, gRPC at
/// 127.0.0.1:50051, operations at http://127.0.0.1:9464, data in ./verbex-gateway-data. SIGTERM,
/// Ctrl-C and SIGHUP (unless started with nohup) start a drain; a second signal ends it at once.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
Examples:
  verbex-gateway serve --demo
  verbex-gateway serve --config /etc/verbex-gateway.toml
  verbex-gateway serve --webhook-secret-file secret \\
    --webhook-addr 0.0.0.0:8443 --webhook-tls-cert fullchain.pem --webhook-tls-key privkey.pem
  verbex-gateway serve --webhook-secret-file secret --webhook-plain-http

The last one is for a proxy on this machine that ends TLS.

{PRECEDENCE}"))]
pub(super) struct Args {
    #[command(flatten)]
    settings: Settings,

    /// Begin a new log if events.db in the data folder is not a log, or not a complete one; the old
    /// files are renamed. If there is a usable log, this changes nothing. Use it for one start
    /// only, not in unit files
    #[arg(long)]
    new_log: bool,

    /// Go on with a log that lacks events which it once had, because of an older copy or a lost
    /// events.db-wal. New events get sequences behind the lost ones. Without a loss, this changes
    /// nothing. Use it for one start only, not in unit files
    #[arg(long)]
    accept_loss: bool,

    /// Follow this machine's clock, even if the newest event lies in its future because the clock
    /// was once wrong. The receive times of new events then go back. With a clock that agrees with
    /// the log, this changes nothing. Use it for one start only, not in unit files
    #[arg(long)]
    trust_clock: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let sockets = Sockets::take()?;
    let mut config = args.settings.load(sockets.settings())?.config;
    config.log.consent = Consent {
        new_log: args.new_log,
        accept_loss: args.accept_loss,
        trust_clock: args.trust_clock,
    };
    let sockets = sockets.for_doors(&config)?;
    let log_lines = logging::start(&config.logging)?;
    let outcome = serve(config, sockets, &log_lines).await;
    log_lines.flush(LAST_LINES);
    outcome
}

async fn serve(config: Config, sockets: gateway::Sockets, log_lines: &Lines) -> anyhow::Result<()> {
    // Before the doors open, so that no signal ends a half-started gateway.
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let gateway = Gateway::build(config.clone(), sockets, log_lines.dropped()).await?;
    // The gateway runs even if nobody reads its output.
    let screen = Lines::start("banner", io::stdout(), |_| {})?;
    let banner = banner(
        &config,
        gateway.addresses(),
        &program(),
        gateway.has_new_log(),
    );
    screen.push(banner.as_bytes());
    warn_of_open_doors(&config);
    tell_systemd(NotifyState::Ready);

    let asked_to_leave = CancellationToken::new();
    let impatience = async {
        signals.next().await;
        tracing::info!("draining; another signal ends the gateway at once");
        tell_systemd(NotifyState::Stopping);
        asked_to_leave.cancel();
        signals.next().await
    };
    let addresses = gateway.addresses().clone();
    let reader = gateway.reader();
    let demo = async {
        if config.demo
            && let Err(error) =
                demo::run(&config, &addresses, reader, asked_to_leave.cancelled()).await
        {
            tracing::error!("cannot make up calls: {}", super::message(&error));
        }
        std::future::pending().await
    };
    tokio::select! {
        outcome = gateway.run(asked_to_leave.cancelled()) => {
            screen.flush(LAST_LINES);
            Ok(outcome?)
        }
        signal = impatience => {
            tracing::warn!("a second signal ended the gateway at once");
            log_lines.flush(LAST_LINES_IN_A_HURRY);
            end_at_once(signal)
        }
        never = demo => never,
    }
}

/// Notifies systemd (`Type=notify`) in a separate thread, because the write may block.
fn tell_systemd(state: NotifyState<'static>) {
    let told = thread::Builder::new().spawn(move || sd_notify::notify(&[state]));
    if let Err(error) = told {
        tracing::debug!(%error, "cannot notify systemd");
    }
}

/// Logs a line for each door that was allowed to be open, so that an operator can find it.
fn warn_of_open_doors(config: &Config) {
    for (allowed, addr, door) in [
        (config.webhook.open_allowed, config.webhook.addr, "webhook"),
        (config.grpc.open_allowed, config.grpc.addr, "grpc"),
    ] {
        if allowed && !config::is_loopback(addr) {
            tracing::warn!(
                %addr,
                "--allow-insecure-{door}: other machines may reach this door without TLS or \
                 credentials"
            );
        }
    }
}

/// The command that starts this program in a shell: the path as it was typed, or the command's
/// name.
fn program() -> String {
    env::args_os().next().map_or_else(
        || "verbex-gateway".to_owned(),
        |typed| typed.to_string_lossy().into_owned(),
    )
}

//! `verbex-gateway log erase`: erases what is personal from events.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use anyhow::{Context, bail};
use clap::builder::NonEmptyStringValueParser;
use indicatif::HumanCount;
use tokio::runtime::Handle;

use super::{place::Place, work::watched};
use crate::{
    cli::{
        UsageError,
        connect::{Connect, with_advice},
        output,
    },
    event::Sequence,
    log::{self, Erased, Eraser, OpenError, Phone, Progress, Stage, Target},
    proto::{EraseEventsRequest, EraseEventsResponse, EraseStage, erase_events_request},
};

const EXAMPLES: &str = "\
Examples:
  verbex-gateway log erase --call 697a020fc0baee039d0013b4 --dry-run
  verbex-gateway log erase --phone '+880 1762 668080'
  verbex-gateway log erase --config /etc/verbex-gateway.toml --token-file admin.token --phone \
  +8801762668080";

/// Erase what is personal from events: payload, body, headers and unmodeled fields
///
/// The events stay in the log, with their ids, types, times, agents and calls, and are delivered
/// with `erase_time` from then on. When the command ends well, no file of the log holds what was
/// erased. Backups, subscribers and old logs (events.db.aside-…) keep what they have.
///
/// While a gateway runs on this log, the command asks that gateway to erase: give its address, and
/// a token with `admin = true` if it has tokens. Otherwise the command erases by itself. If it is
/// interrupted, run it again.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
    /// Only count the events
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Erase the events of this call
    #[arg(long, value_name = "CALL_ID", value_parser = NonEmptyStringValueParser::new())]
    call: Option<String>,
    /// Erase the events that hold this phone number in their body or headers, however its digits
    /// are separated there. The national and the international form are two numbers
    #[arg(long, value_name = "NUMBER")]
    phone: Option<String>,
    /// Erase this event, even if it is damaged
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    sequence: Option<u64>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let (target, asked) = args.which.target()?;
    let data_dir = args.place.load()?.log.data_dir;
    let gateway = args.connect.gateway()?;
    let dry_run = args.dry_run;
    let erased = watched(move |progress| {
        let work = Work { progress, dry_run };
        // Also says whether there is a log.
        let readable = log::open_read_only(&data_dir)?;
        let epoch = readable.identity.epoch;
        if dry_run {
            let eraser = Eraser::that_counts(readable.reader);
            return Handle::current().block_on(work.by_itself(&eraser, target));
        }
        drop(readable);
        let config = log::Config {
            data_dir,
            consent: Default::default(),
            limits: log::Limits::NONE,
        };
        let opened = log::open(&config, log::Metrics::register(&mut Default::default()));
        let erased = Handle::current().block_on(async {
            match opened {
                Ok(log) => {
                    let erased = work.by_itself(&log.eraser, target).await;
                    log.appender.finish().await;
                    erased
                }
                Err(OpenError::Locked { path }) => {
                    work.by_gateway(&gateway, &path, &epoch.to_string(), asked)
                        .await
                }
                Err(error) => Err(error.into()),
            }
        })?;
        tell_old_logs(&config.data_dir);
        Ok(erased)
    })
    .await?;
    let count = HumanCount(erased.events);
    let events = if erased.events == 1 {
        "event"
    } else {
        "events"
    };
    let mut stdout = io::stdout();
    match (dry_run, erased.events) {
        (_, 0) => writeln!(
            stdout,
            "no event to erase: none matches, or all were erased before"
        ),
        (true, _) => writeln!(stdout, "{count} {events} to erase"),
        (false, _) => writeln!(stdout, "{count} {events} erased"),
    }?;
    match erased.damaged {
        0 => Ok(()),
        damaged => bail!(
            "{damaged} damaged events could not be searched; `verbex-gateway log verify` names \
             them, and --sequence erases each"
        ),
    }
}

impl Which {
    /// The same for this process and for a gateway.
    fn target(self) -> Result<(Target, erase_events_request::Target), UsageError> {
        use erase_events_request::Target as Asked;
        let Self {
            call,
            phone,
            sequence,
        } = self;
        match (call, phone, sequence) {
            (Some(call), ..) => Ok((Target::Call(call.clone()), Asked::CallId(call))),
            (_, Some(text), _) => match Phone::parse(&text) {
                Some(phone) => Ok((Target::Phone(phone), Asked::PhoneNumber(text))),
                None => Err(UsageError(
                    "--phone takes a number of at least five digits, such as +8801762668080".into(),
                )),
            },
            (.., Some(sequence)) => Ok((
                Target::Sequence(Sequence(sequence)),
                Asked::Sequence(sequence),
            )),
            _ => Err(UsageError("give --call, --phone or --sequence".into())),
        }
    }
}

struct Work<'p> {
    progress: &'p Progress,
    dry_run: bool,
}

impl Work<'_> {
    async fn by_itself(&self, eraser: &Eraser, target: Target) -> anyhow::Result<Erased> {
        let mut erasing = eraser.erase(target, self.dry_run).await?;
        let mut last = None;
        while let Some(state) = erasing.next().await? {
            self.show(&state, last.map(|last: Erased| last.stage))?;
            last = Some(state);
        }
        last.context("nothing was erased")
    }

    async fn by_gateway(
        &self,
        gateway: &crate::client::Gateway,
        data_dir: &Path,
        epoch: &str,
        target: erase_events_request::Target,
    ) -> anyhow::Result<Erased> {
        let mut connection = gateway.connect().await.map_err(with_advice)?;
        let status = connection.get_status().await.map_err(with_advice)?;
        if status.log_epoch != epoch {
            bail!(
                "the gateway at {} has another log than {}; give --address the address of the \
                 gateway that uses this folder",
                gateway.address(),
                data_dir.display()
            );
        }
        let request = EraseEventsRequest {
            target: Some(target),
            dry_run: self.dry_run,
        };
        let mut answers = connection
            .erase_events(request)
            .await
            .map_err(with_advice)?;
        let mut last = None;
        while let Some(answer) = answers.next().await.map_err(with_advice)? {
            let state = state(&answer);
            self.show(&state, last.map(|last: Erased| last.stage))?;
            last = Some(state);
        }
        match last {
            Some(last) if last.stage == Stage::Done => Ok(last),
            _ => bail!("the gateway has not finished; run the command again"),
        }
    }

    fn show(&self, state: &Erased, stage_before: Option<Stage>) -> anyhow::Result<()> {
        let is_new = stage_before != Some(state.stage);
        match state.stage {
            Stage::Erasing if is_new && self.dry_run => {
                self.progress.begin("searching", state.through.0);
            }
            Stage::Erasing if is_new => self.progress.begin("erasing", state.through.0),
            Stage::Cleaning if is_new => self.progress.begin("cleaning", 1),
            Stage::Held if is_new => output::tell(
                "the events are erased, but a program is reading the log's files, and may still \
                 need what they held; this waits until that program (a backup, or an open \
                 sqlite3) is done",
            ),
            _ => {}
        }
        Ok(self.progress.reached(state.examined.0)?)
    }
}

fn state(answer: &EraseEventsResponse) -> Erased {
    Erased {
        events: answer.event_count,
        damaged: answer.damaged_count,
        examined: Sequence(answer.examined_sequence),
        through: Sequence(answer.latest_sequence),
        stage: match answer.stage() {
            EraseStage::Unspecified | EraseStage::Erasing => Stage::Erasing,
            EraseStage::Cleaning => Stage::Cleaning,
            EraseStage::Waiting => Stage::Held,
            EraseStage::Done => Stage::Done,
        },
    }
}

/// Old logs in the folder were not searched.
fn tell_old_logs(data_dir: &Path) {
    let entries = fs::read_dir(data_dir).into_iter().flatten().flatten();
    for name in entries.map(|entry| entry.file_name()) {
        let name = name.to_string_lossy();
        if name.starts_with("events.db.aside-") && !name.ends_with(".mark") {
            output::tell(format_args!(
                "{name} is of an old log, and was not searched; remove it if nobody needs it"
            ));
        }
    }
}

//! The judges: pure functions from a history to a verdict, one a promise.

use std::collections::{HashMap, HashSet};

use verbex_gateway::proto::{Event, EventFilter, EventType, SubscribeRequest};

use super::{
    grpc::{filtered as with_filter, from_earliest},
    history::{History, Received, Subscriber, What},
    webhook::Stored,
};

/// What was seen that breaks a promise.
type Verdict = Result<(), String>;

type Judge = fn(&History) -> Verdict;

/// Every promise and its judge.
pub(crate) const PROMISES: [(&str, Judge); 13] = [
    ("events come in strictly increasing sequence", ordered),
    ("no event comes twice", unique),
    (
        "what was answered with 200 and matches is delivered",
        complete,
    ),
    ("what is delivered was posted", genuine),
    ("a sequence is the same event for everybody", agreed),
    ("a repeat is answered as the first was", repeats_answered),
    ("what is delivered matches the filter", filtered),
    ("a stream begins with a progress", introduced),
    ("a resumed stream stands where its cursor says", resumed),
    (
        "a cursor covers its own message and never goes back",
        covering,
    ),
    (
        "a progress never passes an undelivered match",
        progress_behind,
    ),
    ("silence never lasts two progress intervals", never_silent),
    ("receive_time never decreases", received_in_order),
];

/// Subscribers for whom all promises can be judged: one that begins now, one that begins with the
/// earliest event, and one that wants few of the events.
pub(crate) fn requests() -> [SubscribeRequest; 3] {
    let failed = EventFilter {
        event_types: vec![EventType::CallTransferred.into(), EventType::Other.into()],
        statuses: vec!["failed".into()],
        ..EventFilter::default()
    };
    [
        SubscribeRequest::default(),
        from_earliest(SubscribeRequest::default()),
        from_earliest(with_filter(failed)),
    ]
}

/// Fails with the promise that is broken, and what shows it.
pub(crate) fn judge(history: &History) {
    for (promise, judge) in PROMISES {
        if let Err(evidence) = judge(history) {
            panic!("broken promise: {promise}: {evidence}");
        }
    }
}

fn ordered(history: &History) -> Verdict {
    each(history, |subscriber| {
        let sequences: Vec<u64> = subscriber.events().map(|event| event.sequence).collect();
        match sequences.windows(2).find(|pair| pair[0] >= pair[1]) {
            Some(pair) => Err(format!("{} came after {}", pair[1], pair[0])),
            None => Ok(()),
        }
    })
}

fn unique(history: &History) -> Verdict {
    each(history, |subscriber| {
        let mut seen = HashSet::new();
        match subscriber.events().find(|event| !seen.insert(&event.id)) {
            Some(event) => Err(format!("{} at {}", event.id, event.sequence)),
            None => Ok(()),
        }
    })
}

fn complete(history: &History) -> Verdict {
    each(history, |subscriber| {
        let delivered: HashSet<u64> = subscriber.events().map(|event| event.sequence).collect();
        match due(history, subscriber).find(|sequence| !delivered.contains(sequence)) {
            Some(sequence) => Err(format!("{sequence} never came")),
            None => Ok(()),
        }
    })
}

fn genuine(history: &History) -> Verdict {
    // By what filters look at: ids are the gateway's to give.
    let posted: HashSet<_> = history.posts.iter().map(|post| keys(&post.event)).collect();
    each(history, |subscriber| {
        match subscriber
            .events()
            .find(|event| !posted.contains(&keys(event)))
        {
            Some(event) => Err(format!("{} is {:?}", event.sequence, keys(event))),
            None => Ok(()),
        }
    })
}

fn agreed(history: &History) -> Verdict {
    let answered = answers(history).map(|(_, stored)| (stored.sequence, &stored.id));
    let delivered = history.subscribers.iter().flat_map(Subscriber::events);
    let delivered = delivered.map(|event| (event.sequence, &event.id));
    let mut ids = HashMap::new();
    for (sequence, id) in answered.chain(delivered) {
        let first = *ids.entry(sequence).or_insert(id);
        if first != id {
            return Err(format!("{sequence} is {first} and {id}"));
        }
    }
    Ok(())
}

fn repeats_answered(history: &History) -> Verdict {
    let mut firsts: HashMap<&str, &Stored> = HashMap::new();
    for (body, stored) in answers(history) {
        let first = firsts.entry(body).or_insert(stored);
        if (&first.id, first.sequence) != (&stored.id, stored.sequence) {
            return Err(format!("{first:?}, then {stored:?}"));
        }
        let repeated = !std::ptr::eq(*first, stored);
        if repeated && !stored.duplicate {
            return Err(format!("{stored:?} is not called a duplicate"));
        }
    }
    Ok(())
}

fn filtered(history: &History) -> Verdict {
    each(history, |subscriber| {
        let mut events = subscriber.events();
        match events.find(|event| !matches(&subscriber.filter, event)) {
            Some(event) => Err(format!("{} is {:?}", event.sequence, keys(event))),
            None => Ok(()),
        }
    })
}

fn introduced(history: &History) -> Verdict {
    each(history, |subscriber| {
        for connection in &subscriber.connections {
            if let Some(first) = connection.received.first()
                && !matches!(first.what, What::Progress(_))
            {
                return Err(format!("it began with {first:?}"));
            }
        }
        Ok(())
    })
}

fn resumed(history: &History) -> Verdict {
    each(history, |subscriber| {
        for connection in &subscriber.connections {
            if let (Some(after), Some(first)) = (&connection.after, connection.received.first())
                && *after != first.cursor
            {
                return Err(format!("asked for {after}, stood at {}", first.cursor));
            }
        }
        Ok(())
    })
}

fn covering(history: &History) -> Verdict {
    each(history, |subscriber| {
        let mut last = 0;
        for received in subscriber.received() {
            let covered = received.covered();
            if covered < last {
                return Err(format!("from {last} back to {covered}"));
            }
            last = covered;
            if let What::Event(event) = &received.what
                && event.sequence != covered
            {
                return Err(format!("{} came with {covered}", event.sequence));
            }
        }
        Ok(())
    })
}

fn progress_behind(history: &History) -> Verdict {
    each(history, |subscriber| {
        let due: Vec<u64> = due(history, subscriber).collect();
        let mut delivered = HashSet::new();
        for received in subscriber.received() {
            match &received.what {
                What::Event(event) => {
                    delivered.insert(event.sequence);
                }
                What::Progress(_) | What::Gap => {
                    let covered = received.covered();
                    let passed =
                        |sequence: &&u64| **sequence <= covered && !delivered.contains(*sequence);
                    if let Some(passed) = due.iter().find(passed) {
                        return Err(format!("{covered} was covered before {passed} came"));
                    }
                }
            }
        }
        Ok(())
    })
}

fn never_silent(history: &History) -> Verdict {
    each(history, |subscriber| {
        for connection in &subscriber.connections {
            for pair in connection.received.windows(2) {
                let silence = pair[1].at.saturating_sub(pair[0].at);
                if silence >= subscriber.progress_interval * 2 {
                    return Err(format!("nothing for {silence:?} after {:?}", pair[0]));
                }
            }
        }
        Ok(())
    })
}

fn received_in_order(history: &History) -> Verdict {
    each(history, |subscriber| {
        let mut last = None;
        for received in subscriber.received() {
            let time = match &received.what {
                What::Event(event) => match event.receive_time {
                    Some(time) => time,
                    None => return Err(format!("{} has none", event.sequence)),
                },
                // The time of the newest event that the cursor covers, so that of none that is
                // still to come.
                What::Progress(progress) => match progress.position_time {
                    Some(time) => time,
                    None => continue,
                },
                What::Gap => continue,
            };
            let time = (time.seconds, time.nanos);
            if last > Some(time) {
                return Err(format!("{time:?} came after {last:?}"));
            }
            last = Some(time);
        }
        Ok(())
    })
}

/// Judges each subscriber by itself.
fn each(history: &History, judge: impl Fn(&Subscriber) -> Verdict) -> Verdict {
    let mut subscribers = history.subscribers.iter().enumerate();
    subscribers.try_for_each(|(number, subscriber)| {
        judge(subscriber).map_err(|evidence| format!("subscriber {number}: {evidence}"))
    })
}

/// Sequences that were answered, match, and lie behind where the subscriber began.
fn due(history: &History, subscriber: &Subscriber) -> impl Iterator<Item = u64> {
    let began = subscriber.received().next().map(Received::covered);
    let posts = history
        .posts
        .iter()
        .filter(|post| matches(&subscriber.filter, &post.event));
    let sequences = posts.filter_map(|post| Some(post.answer.as_ref()?.sequence));
    sequences.filter(move |&sequence| began.is_some_and(|began| sequence > began))
}

fn answers(history: &History) -> impl Iterator<Item = (&str, &Stored)> {
    let posts = history.posts.iter();
    posts.filter_map(|post| Some((post.body.as_str(), post.answer.as_ref()?)))
}

/// The contract's rule, apart from the gateway's own code: values of one field are alternatives,
/// and all fields must match.
pub(crate) fn matches(filter: &EventFilter, event: &Event) -> bool {
    fn any<T: PartialEq>(values: &[T], value: &T) -> bool {
        values.is_empty() || values.contains(value)
    }
    any(&filter.event_types, &event.r#type)
        && any(&filter.agent_ids, &event.agent_id)
        && any(&filter.call_ids, &event.call_id)
        && any(&filter.organization_ids, &event.organization_id)
        && any(&filter.event_names, &event.event_name)
        && any(&filter.statuses, &event.status)
}

fn keys(event: &Event) -> [&str; 6] {
    [
        &event.event_name,
        &event.trace_id,
        &event.organization_id,
        &event.agent_id,
        &event.call_id,
        &event.status,
    ]
}

#[cfg(test)]
mod tests;

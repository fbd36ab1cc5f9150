//! A member of a group: at least once, through broken connections and seeks.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use prost::Message;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, interval, sleep, sleep_until};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

use crate::MESSAGE_BYTES_MAX;
use crate::events::{say, say_record, say_row_error};
use crate::produce::PAUSE;
use crate::refusal::{Refusal, say_status};
use crate::tidelog::consume_request::{Action, Commit, Heartbeat, Join, Leave, Revoked};
use crate::tidelog::consume_response::{Committed, Event};
use crate::tidelog::consumer_group_service_client::ConsumerGroupServiceClient;
use crate::tidelog::{
    ConsumeRequest, Credit, Cursor, Membership, PartitionRecords, TopicPartition,
};

/// Something is to be said at least every third of the session timeout, 8 s.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// The node says something every 5 s; after so long there is nobody at the other end.
const SILENCE: Duration = Duration::from_secs(15);
/// How long the node keeps our place while we are cut off.
const RESUME_S: i64 = 10;
/// What may be on its way to us. It is given back as we finish.
const CREDIT: Credit = Credit {
    records: 100,
    bytes: 1 << 20,
};
/// The group has moved on without us, or was sent elsewhere: join anew.
const LOST_PLACE: [&str; 2] = ["UNKNOWN_MEMBER", "STALE_MEMBER_EPOCH"];

/// One member, over as many streams as its life takes.
pub struct Member {
    groups: ConsumerGroupServiceClient<Channel>,
    group: String,
    topic: String,
    membership: Option<Membership>,
    /// Behind what we have finished, for each partition.
    places: HashMap<i32, Cursor>,
    /// Sent and not yet answered, by correlation id.
    commits: HashMap<u64, Vec<Cursor>>,
    commit_number: u64,
    requests: mpsc::UnboundedSender<ConsumeRequest>,
    leaving: bool,
}

impl Member {
    pub fn new(channel: Channel, group: &str, topic: &str) -> Self {
        let groups = ConsumerGroupServiceClient::new(channel);
        Self {
            groups: groups.max_decoding_message_size(MESSAGE_BYTES_MAX),
            group: group.into(),
            topic: topic.into(),
            membership: None,
            places: HashMap::new(),
            commits: HashMap::new(),
            commit_number: 0,
            requests: mpsc::unbounded_channel().0,
            leaving: false,
        }
    }

    /// Joins, works, and comes back after every break, until SIGTERM or SIGINT: then it leaves.
    pub async fn live(mut self) -> Result<(), Box<dyn std::error::Error>> {
        let mut leave = on_signal()?;
        loop {
            match self.session(&mut leave).await {
                Ok(()) => {
                    say("left", json!({}));
                    return Ok(());
                }
                Err(status) => self.broken(status)?,
            }
            if *leave.borrow() {
                return Ok(()); // our place ends with the resume timeout
            }
            sleep(PAUSE).await;
        }
    }

    /// Joins or resumes, and hears one stream to its end.
    async fn session(&mut self, leave: &mut watch::Receiver<bool>) -> Result<(), Status> {
        let (requests, outbox) = mpsc::unbounded_channel();
        self.requests = requests; // what the last stream did not send is void,
        self.commits.clear(); // and nobody will answer what it did
        self.say(Action::Join(self.join()));
        let outbox = UnboundedReceiverStream::new(outbox);
        let mut responses = self.groups.consume(outbox).await?.into_inner();
        let mut heartbeat = interval(HEARTBEAT);
        let mut silent_at = Instant::now() + SILENCE;
        loop {
            tokio::select! {
                response = responses.message() => match response? {
                    Some(response) => {
                        silent_at = Instant::now() + SILENCE;
                        self.hear(response.event);
                    }
                    None => return Ok(()),
                },
                _ = heartbeat.tick() => self.say(Action::Heartbeat(Heartbeat {})),
                () = sleep_until(silent_at) => {
                    return Err(Status::unavailable("the node is silent"));
                }
                _ = leave.wait_for(|told| *told), if !self.leaving => self.leave(),
            }
        }
    }

    /// Says something to the node. A stream that broke tells why in its responses, not here.
    fn say(&self, action: Action) {
        let _ = self.requests.send(ConsumeRequest {
            action: Some(action),
        });
    }

    /// Returns the first message: a new member, or the one that we were, where we were.
    fn join(&self) -> Join {
        let mut join = Join {
            group: self.group.clone(),
            topics: vec![self.topic.clone()],
            credit: Some(CREDIT),
            resume_timeout: Some(prost_types::Duration {
                seconds: RESUME_S,
                nanos: 0,
            }),
            ..Join::default()
        };
        if self.membership.is_some() {
            join.member = self.membership.clone();
            join.cursors = self.places.values().cloned().collect();
        }
        join
    }

    /// Gives everything back and goes; the node ends the call with OK.
    fn leave(&mut self) {
        self.leaving = true;
        self.say(Action::Leave(Leave {}));
        self.requests = mpsc::unbounded_channel().0; // nothing more is said: this ends our side
    }

    /// Decides how to come back: as who we were, or anew. Returns what leaves no way back.
    fn broken(&mut self, status: Status) -> Result<(), Status> {
        match Refusal::of(&status) {
            Some(refusal) if LOST_PLACE.contains(&refusal.reason.as_str()) => {
                say_status("fenced", &status);
                self.membership = None;
                self.places.clear();
                Ok(())
            }
            Some(refusal) if !refusal.retryable => Err(status),
            // The connection broke, or the node is stopping.
            _ => {
                say_status("cut", &status);
                Ok(())
            }
        }
    }

    fn hear(&mut self, event: Option<Event>) {
        match event {
            Some(Event::Joined(joined)) => {
                if let Some(member) = &joined.member {
                    let (id, epoch) = (&member.member_id, member.member_epoch);
                    say("joined", json!({ "member_id": id, "member_epoch": epoch }));
                }
                self.membership = joined.member;
            }
            Some(Event::Assigned(assigned)) => {
                for cursor in assigned.cursors {
                    let (partition, offset) = (cursor.partition, cursor.offset);
                    say(
                        "assigned",
                        json!({ "partition": partition, "offset": offset }),
                    );
                    self.places.insert(partition, cursor);
                }
            }
            Some(Event::Revoke(revoke)) => self.hand_over(revoke.partitions),
            Some(Event::Records(records)) if !self.leaving => self.work(records.partitions),
            Some(Event::Committed(committed)) => self.note_commit(&committed),
            Some(Event::CaughtUp(_)) => say("caught_up", json!({})),
            Some(Event::Gap(gap)) => {
                say(
                    "gap",
                    json!({ "expected": gap.expected_offset, "next": gap.next_offset }),
                );
            }
            _ => {} // heartbeats, and what a later version may add
        }
    }

    /// Does the work first, then commits it: a record may come twice, but none is lost.
    fn work(&mut self, steps: Vec<PartitionRecords>) {
        let mut credit = Credit::default();
        let mut finished = Vec::new();
        for step in steps {
            let Some(next) = step.next else { continue };
            for batch in &step.batches {
                for record in &batch.records {
                    say_record(next.partition, batch, record);
                }
                credit.records += batch.records.len() as i32;
                credit.bytes += batch.encoded_len() as i32;
            }
            self.places.insert(next.partition, next.clone());
            if !step.batches.is_empty() {
                finished.push(next);
            }
        }
        if !finished.is_empty() {
            self.commit(finished);
            self.say(Action::Credit(credit));
        }
    }

    fn commit(&mut self, cursors: Vec<Cursor>) {
        self.commit_number += 1;
        let correlation_id = self.commit_number;
        self.say(Action::Commit(Commit {
            correlation_id,
            cursors: cursors.clone(),
        }));
        self.commits.insert(correlation_id, cursors);
    }

    /// Prints what became of a commit; rows come in the order of its cursors.
    fn note_commit(&mut self, committed: &Committed) {
        let cursors = self
            .commits
            .remove(&committed.correlation_id)
            .unwrap_or_default();
        for (cursor, row) in cursors.iter().zip(&committed.results) {
            match &row.error {
                Some(error) => say_row_error(cursor.partition, error),
                None => {
                    let (partition, offset) = (cursor.partition, cursor.offset);
                    say(
                        "committed",
                        json!({ "partition": partition, "offset": offset }),
                    );
                }
            }
        }
    }

    /// Gives partitions back. What we have finished of them is committed before, in order.
    fn hand_over(&mut self, partitions: Vec<TopicPartition>) {
        for part in &partitions {
            self.places.remove(&part.partition);
            say("revoked", json!({ "partition": part.partition }));
        }
        self.say(Action::Revoked(Revoked { partitions }));
    }
}

/// Returns what turns true when the process is asked to end.
fn on_signal() -> io::Result<watch::Receiver<bool>> {
    let (told, leave) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        told.send_replace(true);
        told.closed().await; // stay: who waits must not take our end for a signal
    });
    Ok(leave)
}

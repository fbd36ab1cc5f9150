//! What happened, as one line of JSON an event on standard output.

use prost_types::Timestamp;
use serde_json::{Value, json};

use crate::tidelog::{Record, RecordBatch, RecordError};

/// Prints an event, at once: whoever reads along knows of it before anything else is done.
pub fn say(event: &str, mut told: Value) {
    told["event"] = event.into();
    println!("{told}"); // standard output ends each line with a write, also into a pipe
}

/// Prints a record; its append time is the batch's.
pub fn say_record(partition: i32, batch: &RecordBatch, record: &Record) {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    say(
        "record",
        json!({
            "partition": partition,
            "offset": record.offset,
            "timestamp_ms": record.timestamp_ms,
            "append_time_ms": batch.append_time.as_ref().map(milliseconds),
            "key": record.key.as_ref().map(text),
            "value": record.value.as_ref().map(text),
        }),
    );
}

/// Prints why one row of an answer was refused; the call itself went well.
pub fn say_row_error(partition: i32, error: &RecordError) {
    say(
        "row_error",
        json!({
            "partition": partition,
            "reason": error.reason,
            "outcome": error.outcome().as_str_name(),
            "retryable": error.retryable,
            "message": error.message,
        }),
    );
}

/// Returns a time of the services in milliseconds, the unit of the log.
pub fn milliseconds(time: &Timestamp) -> i64 {
    time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000
}

/// Returns a time of the log, in milliseconds, as the services take it.
pub fn timestamp(time_ms: i64) -> Timestamp {
    Timestamp {
        seconds: time_ms.div_euclid(1_000),
        nanos: (time_ms.rem_euclid(1_000) * 1_000_000) as i32,
    }
}

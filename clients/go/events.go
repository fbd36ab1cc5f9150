package main

import (
	"encoding/json"
	"os"

	"tidelog-client/generated/tidelogv1"
)

// fields are what an event says, beside its name.
type fields map[string]any

// say prints what happened, as one line of JSON on standard output.
func say(event string, told fields) {
	line := fields{"event": event}
	for name, value := range told {
		line[name] = value
	}
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		panic(err) // nobody can be told anything any more
	}
}

// sayRecord prints a record; its append time is the batch's.
func sayRecord(partition int32, batch *tidelogv1.RecordBatch, record *tidelogv1.Record) {
	say("record", fields{
		"partition":      partition,
		"offset":         record.GetOffset(),
		"timestamp_ms":   record.TimestampMs,
		"append_time_ms": batch.GetAppendTime().AsTime().UnixMilli(),
		"key":            text(record.Key),
		"value":          text(record.Value),
	})
}

// sayRowError prints why one row of an answer was refused; the call itself went well.
func sayRowError(partition int32, err *tidelogv1.RecordError) {
	say("row_error", fields{
		"partition": partition,
		"reason":    err.GetReason(),
		"outcome":   err.GetOutcome().String(),
		"retryable": err.GetRetryable(),
		"message":   err.GetMessage(),
	})
}

// text is nil for a null key or value, which is not the same as an empty one.
func text(data []byte) any {
	if data == nil {
		return nil
	}
	return string(data)
}

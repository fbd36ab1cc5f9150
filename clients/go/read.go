package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tidelog-client/generated/tidelogv1"
)

func clockOf(name string) (tidelogv1.Clock, error) {
	switch name {
	case "event":
		return tidelogv1.Clock_CLOCK_EVENT, nil
	case "append":
		return tidelogv1.Clock_CLOCK_APPEND, nil
	}
	return tidelogv1.Clock_CLOCK_UNSPECIFIED, fmt.Errorf("no clock %q: event or append", name)
}

// read prints exactly the records with start <= time < end on a clock; the call ends by itself.
func read(ctx context.Context, connection *grpc.ClientConn, topic, clock string, startMs, endMs int64) error {
	onClock, err := clockOf(clock)
	if err != nil {
		return err
	}
	log := tidelogv1.NewLogServiceClient(connection)
	stream, err := log.Subscribe(ctx, &tidelogv1.SubscribeRequest{
		Topics: []string{topic},
		Range: &tidelogv1.TimeRange{
			Clock: onClock,
			Start: &tidelogv1.TimeRange_StartTime{StartTime: timestamppb.New(time.UnixMilli(startMs))},
			End:   &tidelogv1.TimeRange_EndTime{EndTime: timestamppb.New(time.UnixMilli(endMs))},
		},
	})
	if err != nil {
		return err
	}
	count := 0
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			say("end", fields{"records": count})
			return nil
		}
		if err != nil {
			return err
		}
		switch event := response.GetEvent().(type) {
		case *tidelogv1.SubscribeResponse_Records:
			for _, step := range event.Records.GetPartitions() {
				for _, batch := range step.GetBatches() {
					for _, record := range batch.GetRecords() {
						sayRecord(step.GetNext().GetPartition(), batch, record)
						count++
					}
				}
			}
		case *tidelogv1.SubscribeResponse_Gap: // retention was faster
			gap := event.Gap
			say("gap", fields{"expected": gap.GetExpectedOffset(), "next": gap.GetNextOffset()})
		default: // Opened tells the bounds; CaughtUp is of no interest here
		}
	}
}

package main

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tidelog-client/generated/tidelogv1"
)

// seek sends a whole group to a moment, also while its members are at work: it prints the plan, carries it out,
// and prints what was done, in all partitions or in none. Members are fenced by it and join anew by themselves.
func seek(ctx context.Context, connection *grpc.ClientConn, group, topic, clock string, timeMs int64) error {
	onClock, err := clockOf(clock)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	groups := tidelogv1.NewConsumerGroupServiceClient(connection)
	moment := &tidelogv1.Seek_Time{Time: timestamppb.New(time.UnixMilli(timeMs))}
	request := &tidelogv1.SeekOffsetsRequest{
		Group:        group,
		Topics:       []string{topic},
		Target:       &tidelogv1.SeekOffsetsRequest_Seek{Seek: &tidelogv1.Seek{To: moment, Clock: onClock}},
		Force:        true,
		ValidateOnly: true,
	}
	plan, err := groups.SeekOffsets(ctx, request)
	if err != nil {
		return err
	}
	sayChanges("planned", plan)
	request.ValidateOnly = false
	done, err := groups.SeekOffsets(ctx, request)
	if err != nil {
		return err
	}
	sayChanges("sought", done)
	say("seek", fields{"group_epoch": done.GetGroupEpoch(), "member_count": done.GetMemberCount()})
	return nil
}

// sayChanges prints each partition's move.
func sayChanges(event string, response *tidelogv1.SeekOffsetsResponse) {
	for _, change := range response.GetChanges() {
		partition := change.GetPartition().GetPartition()
		if change.GetError() != nil {
			sayRowError(partition, change.GetError())
			continue
		}
		say(event, fields{
			"partition":   partition,
			"before":      change.Before, // null: nothing was committed
			"after":       change.GetAfter(),
			"redelivered": change.GetRedelivered(),
			"skipped":     change.GetSkipped(),
			"truncated":   change.GetTruncated(),
		})
	}
}

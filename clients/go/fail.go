package main

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	"tidelog-client/generated/tidelogv1"
)

const noSuchPartition = 99

// fail meets both kinds of failure: one row of an answer, and a whole call.
func fail(ctx context.Context, connection *grpc.ClientConn, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := oneRow(ctx, connection, topic); err != nil {
		return err
	}
	wholeCall(ctx, connection, topic+"-that-does-not-exist")
	return nil
}

// oneRow appends to three partitions, one of which does not exist. A call that goes well tells of each batch
// by itself: look at every row.
func oneRow(ctx context.Context, connection *grpc.ClientConn, topic string) error {
	request := &tidelogv1.ProduceRequest{}
	for _, partition := range []int32{0, noSuchPartition, 1} {
		value := fmt.Appendf(nil, "for partition %d", partition)
		request.Batches = append(request.Batches, &tidelogv1.ProduceBatch{
			Topic:     topic,
			Partition: &partition,
			Records:   []*tidelogv1.Record{{Value: value}},
		})
	}
	response, err := tidelogv1.NewLogServiceClient(connection).Produce(ctx, request)
	if err != nil {
		return err
	}
	for row, result := range response.GetResults() {
		if result.GetError() != nil {
			sayRowError(request.GetBatches()[row].GetPartition(), result.GetError())
		} else {
			say("row", fields{"partition": result.GetPartition(), "base_offset": result.GetBaseOffset()})
		}
	}
	return nil
}

// wholeCall describes a topic that does not exist. A call that fails carries an ErrorInfo in its status: decide
// by it, not by the text.
func wholeCall(ctx context.Context, connection *grpc.ClientConn, topic string) {
	topics := tidelogv1.NewTopicServiceClient(connection)
	if _, err := topics.GetTopic(ctx, &tidelogv1.GetTopicRequest{Name: topic}); err != nil {
		sayError(err)
	}
}

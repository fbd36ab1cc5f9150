package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"

	"tidelog-client/generated/tidelogv1"
)

const (
	linesPerRequest = 60
	callTimeout     = 10 * time.Second
	pause           = 200 * time.Millisecond
	attemptsMax     = 50
	sequences       = 1 << 31 // a sequence is 31 bits wide; after the last one comes 0
)

// producer stamps batches, so that they may be sent again.
type producer struct {
	topic     string
	id        *tidelogv1.ProducerId
	sequences map[int32]int64 // of the next record, for each partition
}

// produce sends lines of `PARTITION TIME_MS KEY VALUE`, with tabs between, one request at a time, each once,
// however often an answer is lost.
func produce(ctx context.Context, connection *grpc.ClientConn, topic string, input io.Reader) error {
	log := tidelogv1.NewLogServiceClient(connection)
	// Asked for twice it is another producer: nothing is lost by that.
	init, _, err := untilAnswered(ctx, log.InitProducer, &tidelogv1.InitProducerRequest{})
	if err != nil {
		return err
	}
	id := init.GetProducer()
	say("producer", fields{"id": id.GetId(), "epoch": id.GetEpoch()})
	stamps := &producer{topic, id, map[int32]int64{}}
	lines := bufio.NewScanner(input)
	for {
		request, err := stamps.request(lines)
		if err != nil || request == nil {
			return err
		}
		response, attempts, err := untilAnswered(ctx, log.Produce, request)
		if err != nil {
			return err
		}
		for row, result := range response.GetResults() {
			batch := request.GetBatches()[row]
			if result.GetError() != nil {
				sayRowError(batch.GetPartition(), result.GetError())
				return fmt.Errorf("a batch was refused: %s", result.GetError().GetReason())
			}
			say("produced", fields{
				"partition":      result.GetPartition(),
				"base_offset":    result.GetBaseOffset(),
				"records":        len(batch.GetRecords()),
				"append_time_ms": result.GetAppendTime().AsTime().UnixMilli(),
				"duplicate":      result.GetDuplicate(),
				"attempts":       attempts,
			})
		}
	}
}

// request takes some lines into a batch for each partition; nil after the last line.
func (p *producer) request(lines *bufio.Scanner) (*tidelogv1.ProduceRequest, error) {
	request := &tidelogv1.ProduceRequest{Acks: tidelogv1.Acks_ACKS_ALL}
	batches := map[int32]*tidelogv1.ProduceBatch{}
	for count := 0; count < linesPerRequest && lines.Scan(); count++ {
		partition, record, err := parse(lines.Text())
		if err != nil {
			return nil, err
		}
		batch := batches[partition]
		if batch == nil {
			batch = &tidelogv1.ProduceBatch{
				Topic:     p.topic,
				Partition: &partition,
				Producer: &tidelogv1.ProducerStamp{
					Producer:     p.id,
					BaseSequence: int32(p.sequences[partition] % sequences),
				},
			}
			batches[partition] = batch
			request.Batches = append(request.Batches, batch)
		}
		batch.Records = append(batch.Records, record)
		p.sequences[partition]++
	}
	if len(request.GetBatches()) == 0 {
		return nil, lines.Err()
	}
	return request, nil
}

// malformed is a line of the input that cannot be sent.
type malformed string

func (line malformed) Error() string {
	return fmt.Sprintf("not PARTITION TIME_MS KEY VALUE: %q", string(line))
}

func parse(line string) (int32, *tidelogv1.Record, error) {
	words := strings.Split(line, "\t")
	if len(words) != 4 {
		return 0, nil, malformed(line)
	}
	partition, err := strconv.ParseInt(words[0], 10, 32)
	if err != nil {
		return 0, nil, malformed(line)
	}
	time, err := strconv.ParseInt(words[1], 10, 64)
	if err != nil {
		return 0, nil, malformed(line)
	}
	record := &tidelogv1.Record{TimestampMs: &time, Key: []byte(words[2]), Value: []byte(words[3])}
	return int32(partition), record, nil
}

// untilAnswered sends the very same request until there is an answer that a repetition would not change.
//
// A stamped batch that the log has already is answered with its first offset and Duplicate: so a lost answer,
// an expired deadline and a row that may succeed later are all repeated.
func untilAnswered[Request, Response any](
	ctx context.Context,
	method func(context.Context, Request, ...grpc.CallOption) (Response, error),
	request Request,
) (Response, int, error) {
	var last error
	for attempt := 1; attempt <= attemptsMax; attempt++ {
		response, err := once(ctx, method, request)
		if err == nil {
			waits := retryableRow(response)
			if waits == nil {
				return response, attempt, nil
			}
			say("retry", fields{"status": "OK", "reason": waits.GetReason()})
		} else {
			refused := refusalOf(err)
			if refused != nil && !refused.retryable && refused.outcome != "UNKNOWN" {
				return response, attempt, err
			}
			sayStatus("retry", err)
		}
		last = err
		select {
		case <-ctx.Done():
			return response, attempt, ctx.Err()
		case <-time.After(pause):
		}
	}
	var none Response
	return none, attemptsMax, fmt.Errorf("no answer after %d attempts: %w", attemptsMax, last)
}

func once[Request, Response any](
	ctx context.Context,
	method func(context.Context, Request, ...grpc.CallOption) (Response, error),
	request Request,
) (Response, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return method(ctx, request)
}

// retryableRow returns the first row error that may be gone later, if the answer has rows.
func retryableRow(response any) *tidelogv1.RecordError {
	rows, ok := response.(*tidelogv1.ProduceResponse)
	if !ok {
		return nil
	}
	for _, row := range rows.GetResults() {
		if row.GetError().GetRetryable() {
			return row.GetError()
		}
	}
	return nil
}

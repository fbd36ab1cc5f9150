package main

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"tidelog-client/generated/tidelogv1"
)

const (
	heartbeat       = 2 * time.Second  // something at least every third of the session timeout, 8 s
	silenceMax      = 15 * time.Second // the node says something every 5 s; here nobody is at the other end
	resumeTimeout   = 10 * time.Second // how long the node keeps our place while we are cut off
	creditRecords   = 100              // on their way to us at most; given back as we finish
	creditBytes     = 1 << 20
	unknownMember   = "UNKNOWN_MEMBER"     // the group has moved on without us,
	staleMembership = "STALE_MEMBER_EPOCH" // or was sent elsewhere: join anew
)

var errSilent = status.Error(codes.Unavailable, "the node is silent")

// member is one member of a group, over as many streams as its life takes: at least once, through broken
// connections and seeks.
type member struct {
	groups       tidelogv1.ConsumerGroupServiceClient
	group, topic string
	membership   *tidelogv1.Membership
	places       map[int32]*tidelogv1.Cursor    // behind what we have finished, for each partition
	commits      map[uint64][]*tidelogv1.Cursor // sent and not yet answered, by correlation id
	number       uint64
	stream       tidelogv1.ConsumerGroupService_ConsumeClient
	leaving      bool
}

// heard is what one Recv returns.
type heard struct {
	response *tidelogv1.ConsumeResponse
	err      error
}

func newMember(connection *grpc.ClientConn, group, topic string) *member {
	return &member{
		groups: tidelogv1.NewConsumerGroupServiceClient(connection),
		group:  group, topic: topic,
		places: map[int32]*tidelogv1.Cursor{},
	}
}

// live joins, works, and comes back after every break, until ctx ends: then it leaves.
func (m *member) live(ctx context.Context) error {
	for {
		err := m.session(ctx.Done())
		if err == nil {
			say("left", nil)
			return nil
		}
		if err := m.broken(err); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil // our place ends with the resume timeout
		case <-time.After(pause):
		}
	}
}

// session joins or resumes, and hears one stream to its end; nil: it has left.
func (m *member) session(leave <-chan struct{}) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := m.groups.Consume(ctx)
	if err != nil {
		return err
	}
	m.stream = stream
	m.commits = map[uint64][]*tidelogv1.Cursor{} // nobody will answer what the last stream sent
	m.send(&tidelogv1.ConsumeRequest{Action: &tidelogv1.ConsumeRequest_Join_{Join: m.join()}})
	responses := make(chan heard)
	go func() {
		for {
			response, err := stream.Recv()
			select {
			case responses <- heard{response, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	beats := time.NewTicker(heartbeat)
	defer beats.Stop()
	silence := time.NewTimer(silenceMax)
	defer silence.Stop()
	for {
		select {
		case next := <-responses:
			if errors.Is(next.err, io.EOF) {
				return nil
			}
			if next.err != nil {
				return next.err
			}
			silence.Reset(silenceMax)
			m.hear(next.response)
		case <-beats.C:
			beat := &tidelogv1.ConsumeRequest_Heartbeat{}
			m.send(&tidelogv1.ConsumeRequest{Action: &tidelogv1.ConsumeRequest_Heartbeat_{Heartbeat: beat}})
		case <-silence.C:
			return errSilent
		case <-leave:
			leave = nil // once is enough
			m.leave()
			beats.Stop()
		}
	}
}

// send says something to the node. A stream that broke tells why in Recv, not here.
func (m *member) send(request *tidelogv1.ConsumeRequest) {
	_ = m.stream.Send(request)
}

// join is the first message: a new member, or the one that we were, where we were.
func (m *member) join() *tidelogv1.ConsumeRequest_Join {
	join := &tidelogv1.ConsumeRequest_Join{
		Group:         m.group,
		Topics:        []string{m.topic},
		Credit:        &tidelogv1.Credit{Records: creditRecords, Bytes: creditBytes},
		ResumeTimeout: durationpb.New(resumeTimeout),
	}
	if m.membership != nil {
		join.Member = m.membership
		join.Cursors = slices.Collect(maps.Values(m.places))
	}
	return join
}

// leave gives everything back; the node ends the call with OK.
func (m *member) leave() {
	m.leaving = true
	m.send(&tidelogv1.ConsumeRequest{
		Action: &tidelogv1.ConsumeRequest_Leave_{Leave: &tidelogv1.ConsumeRequest_Leave{}},
	})
	_ = m.stream.CloseSend()
}

// broken decides how to come back: as who we were, or anew. It returns an error that leaves no way back.
func (m *member) broken(err error) error {
	refused := refusalOf(err)
	switch {
	case refused == nil || refused.retryable: // the connection broke, or the node is stopping
		sayStatus("cut", err)
	case refused.reason == unknownMember || refused.reason == staleMembership:
		sayStatus("fenced", err)
		m.membership = nil
		clear(m.places)
	default:
		return err
	}
	return nil
}

func (m *member) hear(response *tidelogv1.ConsumeResponse) {
	switch event := response.GetEvent().(type) {
	case *tidelogv1.ConsumeResponse_Joined_:
		m.membership = event.Joined.GetMember()
		say("joined", fields{
			"member_id":    m.membership.GetMemberId(),
			"member_epoch": m.membership.GetMemberEpoch(),
		})
	case *tidelogv1.ConsumeResponse_Assigned_:
		for _, cursor := range event.Assigned.GetCursors() {
			m.places[cursor.GetPartition()] = cursor
			say("assigned", fields{"partition": cursor.GetPartition(), "offset": cursor.GetOffset()})
		}
	case *tidelogv1.ConsumeResponse_Revoke_:
		m.handOver(event.Revoke.GetPartitions())
	case *tidelogv1.ConsumeResponse_Records:
		if !m.leaving {
			m.work(event.Records.GetPartitions())
		}
	case *tidelogv1.ConsumeResponse_Committed_:
		m.noteCommit(event.Committed)
	case *tidelogv1.ConsumeResponse_CaughtUp:
		say("caught_up", nil)
	case *tidelogv1.ConsumeResponse_Gap:
		gap := event.Gap
		say("gap", fields{"expected": gap.GetExpectedOffset(), "next": gap.GetNextOffset()})
	default: // heartbeats, and what a later version may add
	}
}

// work does the work first, then commits it: a record may come twice, but none is lost.
func (m *member) work(steps []*tidelogv1.PartitionRecords) {
	credit := &tidelogv1.Credit{}
	var finished []*tidelogv1.Cursor
	for _, step := range steps {
		next := step.GetNext()
		for _, batch := range step.GetBatches() {
			for _, record := range batch.GetRecords() {
				sayRecord(next.GetPartition(), batch, record)
			}
			credit.Records += int32(len(batch.GetRecords()))
			credit.Bytes += int32(proto.Size(batch))
		}
		m.places[next.GetPartition()] = next
		if len(step.GetBatches()) > 0 {
			finished = append(finished, next)
		}
	}
	if len(finished) > 0 {
		m.commit(finished)
		m.send(&tidelogv1.ConsumeRequest{Action: &tidelogv1.ConsumeRequest_Credit{Credit: credit}})
	}
}

func (m *member) commit(cursors []*tidelogv1.Cursor) {
	m.number++
	m.commits[m.number] = cursors
	commit := &tidelogv1.ConsumeRequest_Commit{CorrelationId: m.number, Cursors: cursors}
	m.send(&tidelogv1.ConsumeRequest{Action: &tidelogv1.ConsumeRequest_Commit_{Commit: commit}})
}

// noteCommit prints what became of a commit; rows come in the order of its cursors.
func (m *member) noteCommit(committed *tidelogv1.ConsumeResponse_Committed) {
	cursors := m.commits[committed.GetCorrelationId()]
	delete(m.commits, committed.GetCorrelationId())
	for row, cursor := range cursors {
		if err := committed.GetResults()[row].GetError(); err != nil {
			sayRowError(cursor.GetPartition(), err)
		} else {
			say("committed", fields{"partition": cursor.GetPartition(), "offset": cursor.GetOffset()})
		}
	}
}

// handOver gives partitions back. What we have finished of them is committed before, in order.
func (m *member) handOver(partitions []*tidelogv1.TopicPartition) {
	for _, part := range partitions {
		delete(m.places, part.GetPartition())
		say("revoked", fields{"partition": part.GetPartition()})
	}
	revoked := &tidelogv1.ConsumeRequest_Revoked{Partitions: partitions}
	m.send(&tidelogv1.ConsumeRequest{Action: &tidelogv1.ConsumeRequest_Revoked_{Revoked: revoked}})
}

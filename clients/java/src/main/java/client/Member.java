package client;

import com.google.protobuf.Duration;
import io.grpc.Channel;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.stub.BlockingClientCall;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import tidelog.v1.Common.Credit;
import tidelog.v1.Common.Cursor;
import tidelog.v1.Common.Membership;
import tidelog.v1.Common.PartitionRecords;
import tidelog.v1.Common.PartitionResult;
import tidelog.v1.Common.Record;
import tidelog.v1.Common.RecordBatch;
import tidelog.v1.Common.TopicPartition;
import tidelog.v1.ConsumerGroupServiceGrpc;
import tidelog.v1.GroupService.ConsumeRequest;
import tidelog.v1.GroupService.ConsumeResponse;

/**
 * One member of a group, over as many streams as its life takes: at least once, through broken
 * connections and seeks. Only {@link #leave} is for other threads.
 */
final class Member {
  /** Something is to be said at least every third of the session timeout, 8 s. */
  private static final long HEARTBEAT_NS = TimeUnit.SECONDS.toNanos(2);

  /** The node says something every 5 s; after so long there is nobody at the other end. */
  private static final long SILENCE_NS = TimeUnit.SECONDS.toNanos(15);

  /** How long the node keeps our place while we are cut off. */
  private static final Duration RESUME = Duration.newBuilder().setSeconds(10).build();

  /** What may be on its way to us. It is given back as we finish. */
  private static final Credit CREDIT =
      Credit.newBuilder().setRecords(100).setBytes(1 << 20).build();

  /** The group has moved on without us, or was sent elsewhere: join anew. */
  private static final Set<String> LOST_PLACE = Set.of("UNKNOWN_MEMBER", "STALE_MEMBER_EPOCH");

  private static final int PAUSE_MS = 200;

  private final ConsumerGroupServiceGrpc.ConsumerGroupServiceBlockingV2Stub groups;
  private final String group;
  private final String topic;
  private final Map<Integer, Cursor> places = new HashMap<>(); // behind what we have finished
  private final Map<Long, List<Cursor>> commits = new HashMap<>(); // sent and not yet answered
  private Membership membership; // null: not joined
  private BlockingClientCall<ConsumeRequest, ConsumeResponse> stream;
  private long commitNumber;
  private long saidAt;
  private boolean left;
  private volatile boolean leaving;

  Member(Channel channel, String group, String topic) {
    this.groups = ConsumerGroupServiceGrpc.newBlockingV2Stub(channel).withWaitForReady();
    this.group = group;
    this.topic = topic;
  }

  /** Ask it to give everything back and go. */
  void leave() {
    leaving = true;
  }

  /** Join, work, and come back after every break, until it is to leave. */
  void live() throws StatusException, InterruptedException {
    while (!left) {
      try {
        session();
      } catch (StatusException error) {
        broken(error);
        if (leaving) {
          return; // our place ends with the resume timeout
        }
        Thread.sleep(PAUSE_MS);
      }
    }
    Events.say("left");
  }

  /** Join or resume, and hear one stream to its end. */
  private void session() throws StatusException, InterruptedException {
    commits.clear(); // nobody will answer what the last stream sent
    stream = groups.consume();
    try {
      say(ConsumeRequest.newBuilder().setJoin(join()));
      boolean asked = false;
      long heardAt = System.nanoTime();
      while (true) {
        if (leaving && !asked) {
          asked = true;
          say(ConsumeRequest.newBuilder().setLeave(ConsumeRequest.Leave.getDefaultInstance()));
          stream.halfClose();
        }
        long now = System.nanoTime();
        if (now - heardAt > SILENCE_NS) {
          throw Status.UNAVAILABLE.withDescription("the node is silent").asException();
        }
        if (now - saidAt > HEARTBEAT_NS && !asked) {
          ConsumeRequest.Heartbeat heartbeat = ConsumeRequest.Heartbeat.getDefaultInstance();
          say(ConsumeRequest.newBuilder().setHeartbeat(heartbeat));
        }
        try {
          ConsumeResponse response = stream.read(PAUSE_MS, TimeUnit.MILLISECONDS);
          if (response == null) { // the call has ended with OK: we have left
            left = true;
            return;
          }
          heardAt = System.nanoTime();
          hear(response);
        } catch (TimeoutException nothing) {
          // look whether there is something to say
        }
      }
    } finally {
      stream.cancel("over", null);
    }
  }

  private void say(ConsumeRequest.Builder request) throws StatusException, InterruptedException {
    stream.write(request.build());
    saidAt = System.nanoTime();
  }

  /** Returns the first message: a new member, or the one that we were, where we were. */
  private ConsumeRequest.Join join() {
    ConsumeRequest.Join.Builder join =
        ConsumeRequest.Join.newBuilder()
            .setGroup(group)
            .addTopics(topic)
            .setCredit(CREDIT)
            .setResumeTimeout(RESUME);
    if (membership != null) {
      join.setMember(membership).addAllCursors(places.values());
    }
    return join.build();
  }

  /** Decide how to come back: as who we were, or anew; throws what leaves no way back. */
  private void broken(StatusException error) throws StatusException {
    Optional<Refusal> refusal = Refusal.of(error);
    if (refusal.isEmpty() || refusal.get().retryable()) {
      Refusal.sayStatus("cut", error); // the connection broke, or the node is stopping
    } else if (LOST_PLACE.contains(refusal.get().reason())) {
      Refusal.sayStatus("fenced", error);
      membership = null;
      places.clear();
    } else {
      throw error;
    }
  }

  private void hear(ConsumeResponse response) throws StatusException, InterruptedException {
    switch (response.getEventCase()) {
      case JOINED -> {
        membership = response.getJoined().getMember();
        Events.say(
            "joined",
            "member_id", membership.getMemberId(),
            "member_epoch", membership.getMemberEpoch());
      }
      case ASSIGNED -> {
        for (Cursor cursor : response.getAssigned().getCursorsList()) {
          places.put(cursor.getPartition(), cursor);
          Events.say(
              "assigned", "partition", cursor.getPartition(), "offset", cursor.getOffset());
        }
      }
      case REVOKE -> handOver(response.getRevoke().getPartitionsList());
      case RECORDS -> {
        if (!leaving) {
          work(response.getRecords().getPartitionsList());
        }
      }
      case COMMITTED -> noteCommit(response.getCommitted());
      case CAUGHT_UP -> Events.say("caught_up");
      case GAP ->
          Events.say(
              "gap",
              "expected", response.getGap().getExpectedOffset(),
              "next", response.getGap().getNextOffset());
      default -> {} // heartbeats, and what a later version may add
    }
  }

  /** Do the work first, then commit it: a record may come twice, but none is lost. */
  private void work(List<PartitionRecords> steps) throws StatusException, InterruptedException {
    List<Cursor> finished = new ArrayList<>();
    int records = 0;
    int bytes = 0;
    for (PartitionRecords step : steps) {
      Cursor next = step.getNext();
      for (RecordBatch batch : step.getBatchesList()) {
        for (Record record : batch.getRecordsList()) {
          Events.sayRecord(next.getPartition(), batch, record);
        }
        records += batch.getRecordsCount();
        bytes += batch.getSerializedSize();
      }
      places.put(next.getPartition(), next);
      if (step.getBatchesCount() > 0) {
        finished.add(next);
      }
    }
    if (!finished.isEmpty()) {
      commit(finished);
      Credit credit = Credit.newBuilder().setRecords(records).setBytes(bytes).build();
      say(ConsumeRequest.newBuilder().setCredit(credit));
    }
  }

  private void commit(List<Cursor> cursors) throws StatusException, InterruptedException {
    commitNumber++;
    commits.put(commitNumber, cursors);
    ConsumeRequest.Commit.Builder commit =
        ConsumeRequest.Commit.newBuilder().setCorrelationId(commitNumber).addAllCursors(cursors);
    say(ConsumeRequest.newBuilder().setCommit(commit));
  }

  /** Print what became of a commit; rows come in the order of its cursors. */
  private void noteCommit(ConsumeResponse.Committed committed) {
    List<Cursor> cursors = commits.remove(committed.getCorrelationId());
    for (int row = 0; row < cursors.size(); row++) {
      Cursor cursor = cursors.get(row);
      PartitionResult result = committed.getResults(row);
      if (result.hasError()) {
        Events.sayRowError(cursor.getPartition(), result.getError());
      } else {
        Events.say(
            "committed", "partition", cursor.getPartition(), "offset", cursor.getOffset());
      }
    }
  }

  /** Give partitions back. What we have finished of them is committed before, in order. */
  private void handOver(List<TopicPartition> partitions)
      throws StatusException, InterruptedException {
    for (TopicPartition part : partitions) {
      places.remove(part.getPartition());
      Events.say("revoked", "partition", part.getPartition());
    }
    ConsumeRequest.Revoked.Builder revoked =
        ConsumeRequest.Revoked.newBuilder().addAllPartitions(partitions);
    say(ConsumeRequest.newBuilder().setRevoked(revoked));
  }
}

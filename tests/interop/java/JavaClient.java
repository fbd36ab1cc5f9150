import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Apache's own client, for tests/interop/java_client.py: writes the records it is told, or reads.
 *
 * <p>{@code write BOOTSTRAP TOPIC CODEC} takes records from stdin, {@code read BOOTSTRAP TOPIC COUNT}
 * prints them: a line each, as tests/interop/told_lines.py describes it. Partition 0 only. An
 * exception ends the program with its trace and exit code 1.
 */
final class JavaClient {
    private static final Duration PATIENCE = Duration.ofSeconds(60);
    private static final String NULL = "-";
    private static final String BYTES = "=";

    private JavaClient() {}

    public static void main(String[] arguments) throws Exception {
        String verb = arguments[0], bootstrap = arguments[1], topic = arguments[2];
        switch (verb) {
            case "write" -> write(bootstrap, topic, arguments[3]);
            case "read" -> read(bootstrap, topic, Integer.parseInt(arguments[3]));
            default -> throw new IllegalArgumentException("write or read, not " + verb);
        }
    }

    /** Write as the client does by default: idempotent, acks=all; in one batch where it can. */
    private static void write(String bootstrap, String topic, String codec) throws Exception {
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", bootstrap,
                "compression.type", codec,
                "linger.ms", 50,
                "delivery.timeout.ms", (int) PATIENCE.toMillis());
        var bytes = new ByteArraySerializer();
        try (var producer = new KafkaProducer<byte[], byte[]>(settings, bytes, bytes)) {
            List<Future<?>> sent = new ArrayList<>();
            for (String line : lines()) {
                String[] fields = line.split(" ");
                long time = Long.parseLong(fields[2]);
                var record = new ProducerRecord<>(topic, 0, time, bytes(fields[0]), bytes(fields[1]));
                for (int at = 3; at < fields.length; at++) {
                    String[] header = fields[at].split(":");
                    record.headers().add(text(header[0]), bytes(header[1]));
                }
                sent.add(producer.send(record));
            }
            producer.flush();
            for (Future<?> one : sent) {
                one.get();
            }
        }
    }

    private static void read(String bootstrap, String topic, int count) {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "enable.auto.commit", false);
        var bytes = new ByteArrayDeserializer();
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        try (var consumer = new KafkaConsumer<byte[], byte[]>(settings, bytes, bytes)) {
            var partitions = List.of(new TopicPartition(topic, 0));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            for (int found = 0; found < count; ) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException(found + " records of " + count + " came");
                }
                for (var record : consumer.poll(Duration.ofSeconds(1))) {
                    System.out.println(line(record));
                    found++;
                }
            }
        }
    }

    private static String line(ConsumerRecord<byte[], byte[]> record) {
        var line = new StringBuilder();
        line.append(field(record.key())).append(' ').append(field(record.value()));
        line.append(' ').append(record.timestamp());
        for (Header header : record.headers()) {
            byte[] name = header.key().getBytes(StandardCharsets.UTF_8);
            line.append(' ').append(field(name)).append(':').append(field(header.value()));
        }
        return line.toString();
    }

    private static List<String> lines() throws IOException {
        try (var reader = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII))) {
            return reader.lines().toList();
        }
    }

    private static String field(byte[] bytes) {
        return bytes == null ? NULL : BYTES + Base64.getEncoder().encodeToString(bytes);
    }

    private static byte[] bytes(String field) {
        return field.equals(NULL) ? null : Base64.getDecoder().decode(field.substring(BYTES.length()));
    }

    private static String text(String field) {
        return new String(bytes(field), StandardCharsets.UTF_8);
    }
}

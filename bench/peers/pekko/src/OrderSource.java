package bench;

import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.function.Supplier;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.pekko.NotUsed;
import org.apache.pekko.japi.Pair;
import org.apache.pekko.kafka.ConsumerSettings;
import org.apache.pekko.kafka.Subscriptions;
import org.apache.pekko.kafka.javadsl.Consumer;
import org.apache.pekko.projection.MergeableOffset;
import org.apache.pekko.projection.javadsl.SourceProvider;
import org.apache.pekko.stream.javadsl.Source;

/**
 * Records of one topic, from where the database says.
 *
 * <p>Pekko's own KafkaSourceProvider is in a module that could not be had where this was written. This
 * one stands on the same source ("The KafkaSourceProvider is using
 * Consumer.plainPartitionedManualOffsetSource") and differs in one thing: each record carries the
 * positions of all partitions read so far. The Java API of Projection saves the offset of a group's last
 * record alone; so that one has to stand for the whole group, and a group is one transaction.
 */
final class OrderSource extends SourceProvider<MergeableOffset<Long>, OrderSource.Arrived> {

  /** A record, and the positions of all partitions after it. */
  record Arrived(ConsumerRecord<String, byte[]> record, MergeableOffset<Long> positions) {}

  private static final int MOST_PARTITIONS = 1024;

  private final ConsumerSettings<String, byte[]> settings;
  private final String topic;

  OrderSource(ConsumerSettings<String, byte[]> settings, String topic) {
    this.settings = settings;
    this.topic = topic;
  }

  @Override
  public CompletionStage<Source<Arrived, NotUsed>> source(
      Supplier<CompletionStage<Optional<MergeableOffset<Long>>>> saved) {
    Positions positions = new Positions();
    Source<Arrived, NotUsed> records =
        Consumer.plainPartitionedManualOffsetSource(
                settings, Subscriptions.topics(topic), assigned -> next(assigned, saved))
            .flatMapMerge(MOST_PARTITIONS, Pair::second)
            .map(positions::after)
            .mapMaterializedValue(control -> NotUsed.getInstance());
    return CompletableFuture.completedFuture(records);
  }

  @Override
  public MergeableOffset<Long> extractOffset(Arrived arrived) {
    return arrived.positions();
  }

  @Override
  public long extractCreationTime(Arrived arrived) {
    return arrived.record().timestamp();
  }

  /** Where to begin those partitions that were read before; the consumer's settings say it of the others. */
  private CompletionStage<Map<TopicPartition, Object>> next(
      Set<TopicPartition> assigned, Supplier<CompletionStage<Optional<MergeableOffset<Long>>>> saved) {
    return saved
        .get()
        .thenApply(
            positions -> {
              Map<TopicPartition, Object> found = new HashMap<>(); // of Long; Scala's is a primitive
              for (TopicPartition partition : assigned) {
                positions
                    .map(MergeableOffset::entries)
                    .filter(entries -> entries.contains(partition.toString()))
                    .ifPresent(entries -> found.put(partition, entries.apply(partition.toString()) + 1));
              }
              return found;
            });
  }

  /** The last offset of each partition. One stream's: not safe for more. */
  private static final class Positions {
    private final Map<Integer, String> names = new HashMap<>();
    private scala.collection.immutable.Map<String, Long> last =
        scala.collection.immutable.Map$.MODULE$.empty();

    Arrived after(ConsumerRecord<String, byte[]> record) {
      String name =
          names.computeIfAbsent(
              record.partition(), number -> new TopicPartition(record.topic(), number).toString());
      last = last.updated(name, record.offset());
      return new Arrived(record, new MergeableOffset<>(last));
    }
  }
}

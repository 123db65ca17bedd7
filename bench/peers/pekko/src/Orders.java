package bench;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;
import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.pekko.actor.typed.ActorSystem;
import org.apache.pekko.actor.typed.Props;
import org.apache.pekko.actor.typed.javadsl.Behaviors;
import org.apache.pekko.japi.function.Function;
import org.apache.pekko.kafka.ConsumerSettings;
import org.apache.pekko.projection.MergeableOffset;
import org.apache.pekko.projection.ProjectionBehavior;
import org.apache.pekko.projection.ProjectionId;
import org.apache.pekko.projection.javadsl.GroupedProjection;
import org.apache.pekko.projection.jdbc.JdbcSession;
import org.apache.pekko.projection.jdbc.javadsl.JdbcHandler;
import org.apache.pekko.projection.jdbc.javadsl.JdbcProjection;

/** Keeps public.orders current from a topic of CloudEvents in binary mode; runs until SIGTERM. */
public final class Orders {

  private static final String NAME = "orders";

  private Orders() {}

  public static void main(String[] arguments) throws Exception {
    Config config = ConfigFactory.load();
    HikariDataSource pool = pool(System.getenv("DATABASE_URL"), config.getInt("orders.pool-size"));
    Supplier<Session> sessions = () -> Session.of(pool);
    String upsert = statement("upsert.sql");
    ActorSystem<Void> system = ActorSystem.create(Behaviors.empty(), NAME, config);
    JdbcProjection.createTablesIfNotExists(sessions, system).toCompletableFuture().get(30, TimeUnit.SECONDS);
    for (int number = 0; number < config.getInt("orders.instances"); number++) {
      GroupedProjection<MergeableOffset<Long>, OrderSource.Arrived> projection =
          JdbcProjection.groupedWithin(
              ProjectionId.of(NAME, NAME + "-" + number),
              new OrderSource(consumer(system), System.getenv("PEER_TOPIC")),
              sessions,
              () -> new Upserts(upsert),
              system);
      system.systemActorOf(ProjectionBehavior.create(projection), NAME + "-" + number, Props.empty());
    }
  }

  private static ConsumerSettings<String, byte[]> consumer(ActorSystem<Void> system) {
    return ConsumerSettings.create(system, new StringDeserializer(), new ByteArrayDeserializer())
        .withBootstrapServers(System.getenv("KAFKA_BOOTSTRAP_SERVERS"))
        .withGroupId(System.getenv("PEER_GROUP"))
        .withProperty(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
  }

  /** "It's highly recommended configuring it with a connection pool, for example HikariCP." */
  private static HikariDataSource pool(String url, int size) {
    URI at = URI.create(url);
    String[] user = at.getRawUserInfo().split(":", 2);
    HikariConfig config = new HikariConfig();
    // The driver's documentation, "Connection Properties": reWriteBatchedInserts makes one statement of many rows.
    config.setJdbcUrl(
        "jdbc:postgresql://%s:%d%s?reWriteBatchedInserts=true".formatted(at.getHost(), at.getPort(), at.getPath()));
    config.setUsername(decoded(user[0]));
    config.setPassword(decoded(user[1]));
    config.setMaximumPoolSize(size);
    // "It's extremely important to disable auto-commit": the offset and the rows are one transaction.
    config.setAutoCommit(false);
    return new HikariDataSource(config);
  }

  private static String decoded(String text) {
    return URLDecoder.decode(text.replace("+", "%2B"), StandardCharsets.UTF_8);
  }

  private static String statement(String file) throws IOException {
    try (InputStream text = Orders.class.getResourceAsStream("/" + file)) {
      return new String(text.readAllBytes(), StandardCharsets.UTF_8);
    }
  }

  /** A transaction on a connection of the pool. */
  private record Session(Connection connection) implements JdbcSession {

    static Session of(HikariDataSource pool) {
      try {
        return new Session(pool.getConnection());
      } catch (SQLException refused) {
        throw new IllegalStateException("no connection", refused);
      }
    }

    @Override
    public <Result> Result withConnection(Function<Connection, Result> use) throws Exception {
      return use.apply(connection);
    }

    @Override
    public void commit() throws SQLException {
      connection.commit();
    }

    @Override
    public void rollback() throws SQLException {
      connection.rollback();
    }

    @Override
    public void close() throws SQLException {
      connection.close();
    }
  }

  /** Writes a group's newest event of each order: one JDBC batch, in the transaction that saves the offsets. */
  private static final class Upserts extends JdbcHandler<List<OrderSource.Arrived>, Session> {

    private final String upsert;

    Upserts(String upsert) {
      this.upsert = upsert;
    }

    @Override
    public void process(Session session, List<OrderSource.Arrived> group) throws SQLException {
      try (PreparedStatement statement = session.connection().prepareStatement(upsert)) {
        for (ConsumerRecord<String, byte[]> record : newest(group)) {
          bind(statement, record);
          statement.addBatch();
        }
        statement.executeBatch();
      }
    }

    /** One record an order: PostgreSQL takes a row once in a statement. */
    private static Collection<ConsumerRecord<String, byte[]>> newest(List<OrderSource.Arrived> group) {
      Map<String, ConsumerRecord<String, byte[]>> newest = new HashMap<>();
      for (OrderSource.Arrived arrived : group) {
        newest.merge(
            header(arrived.record(), "ce_subject"),
            arrived.record(),
            (known, other) -> version(other) > version(known) ? other : known);
      }
      return newest.values();
    }

    private static void bind(PreparedStatement statement, ConsumerRecord<String, byte[]> record) throws SQLException {
      statement.setString(1, header(record, "ce_subject"));
      statement.setInt(2, version(record));
      statement.setString(3, header(record, "ce_orderstatus"));
      statement.setString(4, header(record, "ce_time"));
      statement.setString(5, header(record, "ce_type"));
      statement.setString(6, header(record, "ce_id"));
      statement.setString(7, new String(record.value(), StandardCharsets.UTF_8));
    }

    private static int version(ConsumerRecord<String, byte[]> record) {
      return Integer.parseInt(header(record, "ce_sequence"));
    }

    private static String header(ConsumerRecord<String, byte[]> record, String name) {
      return new String(record.headers().lastHeader(name).value(), StandardCharsets.UTF_8);
    }
  }
}

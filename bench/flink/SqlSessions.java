import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

/** The job in Flink SQL, as `jobctl explain sessionize --flink-sql` writes it, from a file to CSV: SqlSessions EVENTS
 * FOLDER CHECKPOINTS. */
public final class SqlSessions {
    public static void main(String[] args) throws Exception {
        Configuration configuration = new Configuration();
        configuration.setString("parallelism.default", "1");
        configuration.setString("pipeline.object-reuse", "true");
        // A file of rows gets its name with a checkpoint, the last one at the end.
        configuration.setString("execution.checkpointing.interval", "10s");
        configuration.setString("execution.checkpointing.storage", "filesystem");
        configuration.setString("execution.checkpointing.dir", "file://" + args[2]);
        configuration.setString("restart-strategy.type", "none");
        TableEnvironment tables = TableEnvironment.create(
                EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(configuration).build());
        tables.executeSql(
                "CREATE TEMPORARY TABLE events (ip STRING, host STRING, event_time STRING,"
                        + " event_timestamp AS TO_TIMESTAMP(event_time, 'yyyy-MM-dd''T''HH:mm:ss.SSS''Z'''),"
                        + " WATERMARK FOR event_timestamp AS event_timestamp - INTERVAL '15' SECOND)"
                        + " WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = 'file://" + args[0] + "')");
        tables.executeSql(
                "CREATE TEMPORARY TABLE sessions (event_hour TIMESTAMP(3), ip STRING, host STRING, num_hits BIGINT)"
                        + " WITH ('connector' = 'filesystem', 'format' = 'csv', 'path' = 'file://" + args[1] + "')");
        tables.executeSql(
                "INSERT INTO sessions SELECT window_start, ip, host, COUNT(host)"
                        + " FROM SESSION(TABLE events PARTITION BY (ip, host), DESCRIPTOR(event_timestamp), INTERVAL '5' MINUTES)"
                        + " GROUP BY window_start, window_end, ip, host").await();
    }
}

use super::*;
use crate::environment::Environment;
use crate::request::{JobArgs, Place};

fn request(line: &str, variables: &[(&str, &str)]) -> JobRequest {
    use clap::Parser as _;
    let line = format!("jobctl submit sessionize {line}");
    let args = crate::args::Args::try_parse_from(line.split_whitespace()).expect("a line that clap takes");
    let crate::args::Command::Submit { job: crate::args::SubmitJob::Sessionize(submit) } = args.command else {
        panic!("another command")
    };
    submit.job.request(&Environment::of(variables), Place::Cluster).expect("a valid job")
}

fn printed(line: &str, variables: &[(&str, &str)]) -> String {
    script(&request(line, variables), Passwords::Hidden).expect("a job that Flink has").text()
}

fn refusal(line: &str) -> String {
    script(&request(line, &[]), Passwords::Hidden).map(|_| ()).expect_err(line).message
}

#[test]
fn homework_is_this_script() {
    let expected = r#"-- For Flink 2.2 with the connectors of Kafka, JSON and JDBC, and Postgres' driver.
-- Note: rows are written at least once: after a failure some may be in the table twice.
-- Note: late events are dropped, and kept in no table (--on-late).
-- Note: records that cannot be read are skipped, and kept in no table (--on-bad-record).
-- Note: events of the future are believed, however far they are ahead (--max-future).
-- Note: partitions are read as fast as they come, however far apart they are (--max-drift).
-- Note: <password> stands for a password.
-- The table in Postgres, which Flink does not make:
--   CREATE TABLE IF NOT EXISTS "public"."sessionized_aggregated_events" ("event_hour" TIMESTAMP(3), "ip" VARCHAR, "host" VARCHAR, "num_hits" BIGINT)
SET 'pipeline.name' = 'sessionize';
SET 'parallelism.default' = '1';
SET 'pipeline.max-parallelism' = '128';
SET 'execution.checkpointing.interval' = '10 s';

CREATE TEMPORARY TABLE `events` (
  `ip` STRING,
  `host` STRING,
  `event_time` STRING,
  `event_timestamp` AS TO_TIMESTAMP(`event_time`, 'yyyy-MM-dd''T''HH:mm:ss.SSS''Z'''),
  WATERMARK FOR `event_timestamp` AS `event_timestamp` - INTERVAL '15' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = 'bootcamp-events-prod',
  'properties.bootstrap.servers' = '127.0.0.1:9092',
  'properties.group.id' = 'gapwise-sessionize',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'earliest-offset',
  'scan.watermark.idle-timeout' = '30 s',
  'format' = 'json',
  'json.ignore-parse-errors' = 'true'
);

CREATE TEMPORARY VIEW `timed_events` AS
SELECT `ip`, `host`, `event_timestamp` FROM `events`
WHERE `event_timestamp` IS NOT NULL;

CREATE TEMPORARY TABLE `sessions` (
  `event_hour` TIMESTAMP(3),
  `ip` STRING,
  `host` STRING,
  `num_hits` BIGINT
) WITH (
  'connector' = 'jdbc',
  'url' = 'jdbc:postgresql://127.0.0.1:5432/postgres',
  'table-name' = '"public"."sessionized_aggregated_events"',
  'username' = 'postgres',
  'password' = '<password>'
);

INSERT INTO `sessions`
SELECT `window_start`, `ip`, `host`, COUNT(`host`)
FROM SESSION(
  TABLE `timed_events` PARTITION BY (`ip`, `host`),
  DESCRIPTOR(`event_timestamp`),
  INTERVAL '5' MINUTE
)
GROUP BY `window_start`, `window_end`, `ip`, `host`;
"#;
    let written = printed("", &[]);
    assert_eq!(written, expected, "{written}");
}

#[test]
fn every_option_means_the_same() {
    let line = "--gap 90500ms --watermark-delay 0 --idle-timeout 0 --max-drift 10m --max-future 0 --on-late drop \
        --on-bad-record fail --parallelism 3 --max-parallelism 64 --checkpoint-interval 1500ms --name it's \
        --from 2025-01-14T17:00:00Z --until latest --source kafka://a:1,b/t --kafka-property fetch.wait.max.ms=9 \
        --kafka-property isolation.level=read_uncommitted --kafka-property queued.min.messages=7 \
        --sink postgres://me@db:6/web?sslmode=require --table logs.s";
    let written = printed(line, &[]);
    for expected in [
        "SET 'pipeline.name' = 'it''s'",
        "SET 'parallelism.default' = '3'",
        "SET 'pipeline.max-parallelism' = '64'",
        "SET 'execution.checkpointing.interval' = '1500 ms'",
        "WATERMARK FOR `event_timestamp` AS `event_timestamp`\n",
        "'topic' = 't'",
        "'properties.bootstrap.servers' = 'a:1,b:9092'",
        "'properties.fetch.max.wait.ms' = '9'",
        "'properties.isolation.level' = 'read_uncommitted'",
        "'scan.startup.mode' = 'timestamp',\n  'scan.startup.timestamp-millis' = '1736874000000'",
        "'scan.bounded.mode' = 'latest-offset'",
        "-- Note: partitions are read as fast as they come, however far apart they are (--max-drift).",
        "'json.ignore-parse-errors' = 'false'",
        "`event_timestamp` FROM `events`;",
        "'url' = 'jdbc:postgresql://db:6/web?user=me&sslmode=require'",
        "'table-name' = '\"logs\".\"s\"'\n)",
        "INTERVAL '0 00:01:30.500' DAY(3) TO SECOND(3)",
        "-- Note: Kafka's own client has no setting `queued.min.messages`, which is left out.",
    ] {
        assert!(written.contains(expected), "{expected}\nis not in\n{written}");
    }
    for absent in ["idle-timeout", "--on-late", "--max-future", "<password>", "IS NOT NULL"] {
        assert!(!written.contains(absent), "{absent}\nis in\n{written}");
    }
    let committed = printed("--from committed", &[]);
    assert!(committed.contains("'group-offsets',\n  'properties.auto.offset.reset' = 'earliest'"), "{committed}");
}

#[test]
fn passwords_are_in_what_goes_to_flink_and_nowhere_else() {
    let variables = [
        ("KAFKA_URL", "k:1"),
        ("KAFKA_TOPIC", "t"),
        ("KAFKA_WEB_TRAFFIC_KEY", "key"),
        ("KAFKA_WEB_TRAFFIC_SECRET", "hun\"ter'2"),
        ("POSTGRES_PASSWORD", "hunter3"),
        ("GAPWISE_KAFKA_PROPERTY", "security.protocol=sasl_plaintext;sasl.mechanisms=SCRAM-SHA-512"),
    ];
    let written = printed("", &variables);
    let jaas = |password: &str| {
        format!(
            "'org.apache.flink.kafka.shaded.org.apache.kafka.common.security.scram.ScramLoginModule required \
             username=\"key\" password=\"{password}\";'"
        )
    };
    assert!(!written.contains("hunter") && !written.contains("hun\""), "{written}");
    assert!(written.contains(&jaas("<password>")), "{written}");
    assert!(written.contains("'properties.security.protocol' = 'SASL_PLAINTEXT'"), "{written}");
    assert!(written.contains("'properties.sasl.mechanism' = 'SCRAM-SHA-512'"), "{written}");
    let sent = script(&request("", &variables), Passwords::Inserted).expect("a job that Flink has");
    let sent = sent.statements.join("\n");
    assert!(sent.contains(&jaas("hun\\\"ter''2")) && sent.contains("'password' = 'hunter3'"), "{sent}");
}

#[test]
fn what_would_give_other_rows_is_refused() {
    for (line, word) in [
        ("--allowed-lateness 1s", "--allowed-lateness: Flink SQL has none"),
        ("--max-hits 1000", "--max-session, --max-hits: Flink SQL limits no session"),
        ("--last-event", "--last-event: the table in Flink SQL has four columns"),
        ("--open-sessions-table open", "--open-sessions-table: Flink SQL shows no open session"),
        ("--on-late fail", "--on-late: Flink SQL drops late events"),
        ("--gap 1000d", "--gap: Flink SQL has no interval above 999 days"),
        ("--watermark-delay 1000d", "--watermark-delay: Flink SQL has no interval"),
        ("--source file:/a.jsonl", "--source: `file:/a.jsonl` is not Kafka"),
        ("--sink csv:/a.csv", "--sink: `csv:/a.csv` is not Postgres"),
    ] {
        let said = refusal(line);
        assert!(said.starts_with(word), "{said}");
    }
}

#[test]
fn intervals_say_what_they_should() {
    for (ms, expected) in [
        (1, "'0 00:00:00.001' DAY(3) TO SECOND(3)"),
        (90_000, "'90' SECOND"),
        (300_000, "'5' MINUTE"),
        (6_000_000, "'0 01:40:00.000' DAY(3) TO SECOND(3)"),
        (99 * 86_400_000, "'99' DAY"),
        (100 * 86_400_000, "'100 00:00:00.000' DAY(3) TO SECOND(3)"),
    ] {
        assert_eq!(interval(ms), Some(format!("INTERVAL {expected}")));
    }
    assert_eq!(interval(1000 * 86_400_000), None);
}

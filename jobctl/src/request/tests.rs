use super::*;
use crate::args;
use stream_core::pipeline::{Changelog, StartPosition};
use stream_core::time::EventTime;

fn args(line: &str) -> args::Sessionize {
    use clap::Parser as _;
    let line = format!("jobctl submit sessionize {line}");
    let args = crate::args::Args::try_parse_from(line.split_whitespace()).expect("a line that clap takes");
    let crate::args::Command::Submit { job: crate::args::SubmitJob::Sessionize(submit) } = args.command else {
        panic!("another command")
    };
    submit.job
}

fn request(line: &str, variables: &[(&str, &str)], place: Place) -> Result<Pipeline, String> {
    let request = args(line).request(&Environment::of(variables), place);
    request.map(|request| request.pipeline).map_err(|failure| {
        assert_eq!(failure.exit, crate::exit::Exit::Usage);
        assert!(failure.causes.is_empty() && !failure.message.contains('\n'), "{failure:?}");
        failure.message
    })
}

fn submit(line: &str, variables: &[(&str, &str)]) -> Result<Pipeline, String> {
    request(line, variables, Place::Cluster)
}

fn run(line: &str) -> Result<Pipeline, String> {
    request(line, &[], Place::Here)
}

#[test]
fn without_options_it_is_the_local_cluster_and_the_homework() {
    let pipeline = submit("", &[]).expect("valid");
    assert_eq!(
        pipeline.options,
        r#"{"gap_ms":300000,"allowed_lateness_ms":0,"on_late":"dead-letter-table","on_bad_record":"dead-letter"}"#
    );
    let side: Vec<&str> = pipeline.sink.side_tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(side, ["late_events", "dead_letter_events"]);
    assert_eq!((pipeline.source.max_future.as_secs(), pipeline.source.close_when_idle.as_secs()), (3600, 0));
    assert_eq!(pipeline.source.max_drift.as_secs(), 300, "one gap");
    assert_eq!((pipeline.parallelism.get(), pipeline.max_parallelism.get()), (1, 128));
    let source = &pipeline.source;
    assert_eq!(source.uri, "kafka://127.0.0.1:9092/bootcamp-events-prod");
    assert_eq!((source.from, source.is_bounded), (StartPosition::Earliest, false));
    assert_eq!((source.watermark_delay.as_secs(), source.idle_timeout.as_secs()), (15, 30));
    assert_eq!(source.properties["group.id"], "gapwise-sessionize");
    assert!(source.secrets.is_empty());
    assert_eq!(pipeline.sink.uri, "postgres://127.0.0.1:5432/postgres");
    assert_eq!(pipeline.sink.table, "sessionized_aggregated_events");
    assert_eq!(pipeline.sink.properties["user"], "postgres");
}

#[test]
fn late_and_bad_can_have_topics_in_the_cluster_that_is_read_from() {
    let line = "--source kafka://u:hunter2@h:1,i:2/t --kafka-property security.protocol=sasl_plaintext --wait-for-topic \
                --on-late topic:late --on-bad-record topic:bad";
    let pipeline = submit(line, &[]).expect("valid");
    assert!(pipeline.options.ends_with(r#""on_late":"dead-letter-table","on_bad_record":"dead-letter"}"#));
    let outlets: Vec<_> = pipeline.sink.outlets().collect();
    let shown: Vec<_> =
        outlets.iter().map(|(index, table, to)| (index.0, table.name.as_str(), to.uri.as_str())).collect();
    assert_eq!(shown, [(1, "late_events", "kafka://h:1,i:2/late"), (2, "dead_letter_events", "kafka://h:1,i:2/bad")]);
    let (_, _, late) = outlets[0];
    assert_eq!(late.properties.keys().collect::<Vec<_>>(), ["sasl.username", "security.protocol"]);
    assert_eq!(late.secrets["sasl.password"].expose(), "hunter2");
    let file = submit("--on-bad-record jsonl:/tmp/bad.jsonl", &[]).expect("valid");
    let (index, _, outlet) = file.sink.outlets().next().expect("an outlet");
    assert_eq!((index.0, outlet.uri.as_str()), (2, "jsonl:/tmp/bad.jsonl"));
    let aggregate = submit("--on-late drop --on-bad-record topic:bad", &[]).expect("valid");
    assert_eq!(aggregate.sink.outlets().map(|(index, ..)| index.0).collect::<Vec<_>>(), [1]);
}

#[test]
fn partitions_are_kept_in_step_within_a_gap_unless_a_silent_one_would_hold_the_others_for_ever() {
    let drift = |line| submit(line, &[]).expect("valid").source.max_drift.as_secs();
    assert_eq!(drift("--gap 90s"), 90);
    assert_eq!(drift("--gap 90s --max-drift 10m"), 600);
    assert_eq!(drift("--max-drift 0"), 0);
    assert_eq!(drift("--idle-timeout 0"), 0);
    assert_eq!(drift("--idle-timeout 0 --max-drift 10m"), 600);
}

#[test]
fn every_option_reaches_the_pipeline_from_the_line_and_from_the_environment() {
    let line = "--gap 90s --allowed-lateness 1m --watermark-delay 2s --idle-timeout 0 --parallelism 3 \
        --on-late drop --on-bad-record fail --max-future 2h --max-drift 10m \
        --max-parallelism 64 --from 2025-01-14T17:00:00Z --until latest --source kafka://a:1,b/t --table s.t \
        --sink postgres://me:pw@db/web?sslmode=require --kafka-property fetch.min.bytes=7 \
        --kafka-property ssl.key.password=x=y";
    let variables = [
        ("GAPWISE_GAP", "90s"),
        ("GAPWISE_ALLOWED_LATENESS", "1m"),
        ("GAPWISE_WATERMARK_DELAY", "2s"),
        ("GAPWISE_IDLE_TIMEOUT", "0"),
        ("GAPWISE_PARALLELISM", "3"),
        ("GAPWISE_MAX_PARALLELISM", "64"),
        ("GAPWISE_FROM", "2025-01-14T17:00:00Z"),
        ("GAPWISE_UNTIL", "latest"),
        ("GAPWISE_ON_LATE", "drop"),
        ("GAPWISE_ON_BAD_RECORD", "fail"),
        ("GAPWISE_MAX_FUTURE", "2h"),
        ("GAPWISE_MAX_DRIFT", "10m"),
        ("GAPWISE_SOURCE", "kafka://a:1,b/t"),
        ("GAPWISE_TABLE", "s.t"),
        ("GAPWISE_SINK", "postgres://me:pw@db/web?sslmode=require"),
        ("GAPWISE_KAFKA_PROPERTY", "fetch.min.bytes=7; ssl.key.password=x=y"),
    ];
    let pipeline = submit(line, &[]).expect("valid");
    assert_eq!(submit("", &variables).expect("valid"), pipeline);

    assert_eq!(
        pipeline.options,
        r#"{"gap_ms":90000,"allowed_lateness_ms":60000,"on_late":"drop","on_bad_record":"fail"}"#
    );
    assert_eq!((pipeline.sink.side_tables.len(), pipeline.source.max_future.as_secs()), (0, 7200));
    assert_eq!(pipeline.source.max_drift.as_secs(), 600);
    assert_eq!((pipeline.parallelism.get(), pipeline.max_parallelism.get()), (3, 64));
    let source = &pipeline.source;
    assert_eq!(source.uri, "kafka://a:1,b:9092/t");
    assert_eq!(source.from, StartPosition::At(EventTime(1_736_874_000_000)));
    assert!(source.is_bounded);
    assert_eq!((source.watermark_delay.as_secs(), source.idle_timeout.as_secs()), (2, 0));
    assert_eq!(source.properties["fetch.min.bytes"], "7");
    assert_eq!(source.secrets["ssl.key.password"].expose(), "x=y");
    let sink = &pipeline.sink;
    assert_eq!((sink.uri.as_str(), sink.table.as_str()), ("postgres://db:5432/web", "s.t"));
    assert_eq!((sink.properties["user"].as_str(), sink.properties["sslmode"].as_str()), ("me", "require"));
    assert_eq!(sink.secrets["password"].expose(), "pw");
}

#[test]
fn open_sessions_have_a_table_behind_all_others_in_postgres_only() {
    let pipeline = submit("--open-sessions-table open --table web.s", &[]).expect("valid");
    assert_eq!(submit("--table web.s", &[("GAPWISE_OPEN_SESSIONS_TABLE", "open")]).expect("valid"), pipeline);
    assert!(pipeline.options.contains(r#""open_table":true"#), "{}", pipeline.options);
    let tables: Vec<_> = pipeline.sink.side_tables.iter().map(|table| (table.name.as_str(), table.changelog)).collect();
    let append = Changelog::Append;
    let expected = [("web.late_events", append), ("web.dead_letter_events", append), ("web.open", Changelog::Upsert)];
    assert_eq!(tables, expected);
    let refused =
        "--open-sessions-table: only Postgres keeps a table whose rows change: leave it out, or choose another --sink";
    assert_eq!(submit("--open-sessions-table open --sink csv:/a.csv", &[]), Err(refused.to_owned()));
}

#[test]
fn environment_of_the_flink_version_works_as_it_is() {
    let pipeline = submit(
        "",
        &[
            ("KAFKA_URL", "SASL_SSL://broker.example:9092"),
            ("KAFKA_TOPIC", "web-events"),
            ("KAFKA_GROUP", "web"),
            ("KAFKA_WEB_TRAFFIC_KEY", "KEY"),
            ("KAFKA_WEB_TRAFFIC_SECRET", "\"hunter2\""),
            ("POSTGRES_URL", "jdbc:postgresql://host.docker.internal:5433/warehouse?reWriteBatchedInserts=true"),
            ("POSTGRES_USER", "me"),
            ("POSTGRES_PASSWORD", "hunter3"),
            ("POSTGRES_DB", "ignored"),
        ],
    )
    .expect("valid");
    assert_eq!(pipeline.source.uri, "kafka://broker.example:9092/web-events");
    assert_eq!(pipeline.source.properties["group.id"], "web");
    assert_eq!(pipeline.source.properties["sasl.username"], "KEY");
    assert_eq!(pipeline.source.secrets["sasl.password"].expose(), "hunter2");
    assert_eq!(pipeline.sink.uri, "postgres://host.docker.internal:5433/warehouse");
    assert_eq!(pipeline.sink.properties["user"], "me");
    assert_eq!(pipeline.sink.secrets["password"].expose(), "hunter3");
    assert!(!format!("{pipeline:?}").contains("hunter"));
}

#[test]
fn postgres_url_has_many_spellings() {
    for (url, uri) in [
        ("jdbc:postgresql://h:1/d", "postgres://h:1/d"),
        ("postgresql://u:p@h/d", "postgres://h:5432/d"),
        ("postgres://h", "postgres://h:5432/web"),
        ("h", "postgres://h:5432/web"),
        ("h:7/", "postgres://h:7/web"),
        ("[::1]", "postgres://[::1]:5432/web"),
    ] {
        let pipeline = submit("", &[("POSTGRES_URL", url), ("POSTGRES_DB", "web")]).expect(url);
        assert_eq!(pipeline.sink.uri, uri, "{url}");
    }
}

#[test]
fn key_without_secret_means_no_sasl() {
    let pipeline = submit("", &[("KAFKA_WEB_TRAFFIC_KEY", "KEY")]).expect("valid");
    assert!(pipeline.source.secrets.is_empty() && !pipeline.source.properties.contains_key("sasl.username"));
}

#[test]
fn protocol_in_an_address_is_kept() {
    let protocol = |url: &str| {
        let pipeline = submit("", &[("KAFKA_URL", url), ("KAFKA_TOPIC", "t")])?;
        assert_eq!(pipeline.source.uri, "kafka://h:1/t");
        Ok::<_, String>(pipeline.source.properties.get("security.protocol").cloned())
    };
    assert_eq!(protocol("h:1"), Ok(None));
    assert_eq!(protocol("PLAINTEXT://h:1"), Ok(None));
    assert_eq!(protocol("ssl://h:1"), Ok(Some("SSL".to_owned())));
    let refused = "KAFKA_URL: `http://h:1` is not an address of Kafka: write `HOST:PORT`";
    assert_eq!(protocol("http://u:hunter2@h:1"), Err(refused.to_owned()));
}

#[test]
fn the_clock_closes_sessions_if_asked_for_and_goes_no_further_than_their_ends() {
    let advance = |line| submit(line, &[]).expect("valid").source.close_when_idle.as_secs();
    assert_eq!(advance("--close-when-idle"), 5 * 60 + 15);
    assert_eq!(advance("--close-when-idle --gap 1m --watermark-delay 1s"), 61);
    assert_eq!(advance("--close-when-idle=false"), 0);
}

#[test]
fn files_become_absolute_and_are_bounded() {
    let pipeline = run("--source file:a.jsonl,b/*.gz --sink csv:out/s.csv").expect("valid");
    assert_eq!(pipeline.source.uri, "file:/here/a.jsonl,/here/b/*.gz");
    assert!(pipeline.source.is_bounded);
    assert_eq!(pipeline.sink.uri, "csv:/here/out/s.csv");
    let pipeline = run("--source stdin:").expect("valid");
    assert_eq!((pipeline.source.uri.as_str(), pipeline.sink.uri.as_str()), ("stdin:", "stdout:"));
}

#[test]
fn what_cannot_be_is_refused_in_one_line_that_says_what_to_write() {
    let long = "write `kafka://HOST:PORT/TOPIC`, `file:PATH` or `stdin:`";
    let cases = [
        ("--gap 5min", "--gap: `5min` is not a duration: write for instance `5m`, `90s`, `1h30m` or `250ms`"),
        ("--gap -5m", "--gap: `-5m` is not a duration: write for instance `5m`, `90s`, `1h30m` or `250ms`"),
        ("--gap 0", "--gap: the gap is 0: choose at least `1ms`"),
        ("--gap 0s", "--gap: the gap is 0: choose at least `1ms`"),
        ("--parallelism 0", "--parallelism: `0` is not a number of subtasks: choose from 1 to 128"),
        ("--parallelism -1", "--parallelism: `-1` is not a number of subtasks: choose from 1 to 128"),
        ("--parallelism x", "--parallelism: `x` is not a number of subtasks: choose from 1 to 128"),
        (
            "--parallelism 9 --max-parallelism 8",
            "parallelism 9 is above max parallelism 8: choose `--parallelism` from 1 to 8",
        ),
        ("--max-parallelism 0", "--max-parallelism: max parallelism `0` is not between 1 and 32768"),
        (
            "--from yesterday",
            "--from: `yesterday` is not a position: write `earliest`, `latest`, `committed`, or a time such as \
             `2025-01-14T17:00:00Z`",
        ),
        ("--until now", "--until: `now` is not a position to stop at: write `latest`, or leave it out to run on"),
        (
            "--source events.jsonl",
            &format!(
                "--source: `events.jsonl` is no source that is known: write `file:events.jsonl`, or {}",
                &long[6..]
            ),
        ),
        ("--source kafa://u:hunter2@h/t", &format!("--source: `kafa://h/t` is no source that is known: {long}")),
        (
            "--source kafka://u:hunter2@h:1",
            "--source: `kafka://h:1` names no topic: write `kafka://HOST:PORT/TOPIC`, or set KAFKA_TOPIC",
        ),
        ("--source kafka:///t", "--source: `kafka:///t` names no broker: write `kafka://HOST:PORT/TOPIC`"),
        (
            "--source stdin:",
            "--source: `stdin:` is not known to a cluster: use `jobctl run`, or put the events into Kafka or a file",
        ),
        (
            "--from latest --source file:a",
            "--from: `latest` is not where a file begins: leave it out, or read from Kafka",
        ),
        (
            "--on-late keep",
            "--on-late: `keep` is not a policy for late events: choose `dead-letter-table`, `topic:NAME`, `csv:PATH`, `jsonl:PATH`, `drop` or `fail`",
        ),
        (
            "--on-bad-record drop",
            "--on-bad-record: `drop` is not a policy for bad records: choose `dead-letter`, `topic:NAME`, `csv:PATH`, `jsonl:PATH`, `skip` or `fail`",
        ),
        ("--on-late csv:", "--on-late: `csv:` is not a file: write `csv:PATH` or `jsonl:PATH`"),
        (
            "--on-late csv:a --on-bad-record jsonl:a",
            "--on-bad-record: `jsonl:a` is not a file of its own: other rows go there: choose another",
        ),
        ("--on-late topic:", "--on-late: `topic:` is not a topic: write `topic:NAME`"),
        (
            "--source kafka://h:1/t --on-bad-record topic:t",
            "--on-bad-record: `topic:t` is not another topic: the job reads it, and would read its own rows: choose another",
        ),
        (
            "--source file:a --on-late topic:t",
            "--on-late: `topic:t` is not in reach: a topic is one of the cluster that the job reads from, and it reads files",
        ),
        (
            "--close-when-idle --idle-timeout 0",
            "--close-when-idle: no partition is ever idle: choose an --idle-timeout above 0",
        ),
        ("--close-when-idle=yes", "--close-when-idle: `yes` is not a switch: write `true` or `false`"),
        ("--sink csv:", "--sink: `csv:` is not a file: write `csv:PATH` or `jsonl:PATH`"),
        (
            "--sink mysql://u:hunter2@h/d",
            "--sink: `mysql://h/d` is no sink that is known: write `postgres://HOST:PORT/DATABASE`, `csv:PATH`, \
             `jsonl:PATH` or `stdout:`",
        ),
        (
            "--sink postgres://u:hunter2@h/d?color=red",
            "--sink: `postgres://h/d` has the parameter `color`: only user, password and sslmode are known",
        ),
        (
            "--kafka-property hunter2",
            "--kafka-property: a setting without `=`: write `NAME=VALUE`, such as `fetch.min.bytes=1`",
        ),
    ];
    for (line, message) in cases {
        assert_eq!(submit(line, &[]), Err(message.to_owned()), "{line}");
    }
    assert_eq!(run(""), Err(format!("no source: pass `--source` with {}", &long[6..])));
}

#[test]
fn a_wrong_variable_is_called_by_its_name() {
    let refused = submit("", &[("GAPWISE_GAP", "5min")]);
    let expected = "GAPWISE_GAP: `5min` is not a duration: write for instance `5m`, `90s`, `1h30m` or `250ms`";
    assert_eq!(refused, Err(expected.to_owned()));
}

#[test]
fn checkpoint_interval_is_the_clusters_or_a_second_here_and_not_below_a_tenth_of_one() {
    let interval = |pipeline: Pipeline| pipeline.checkpoints.interval.as_millis();
    assert_eq!(submit("", &[]).map(interval), Ok(10_000));
    assert_eq!(run("--source file:a").map(interval), Ok(1000));
    assert_eq!(submit("--checkpoint-interval 200ms", &[]).map(interval), Ok(200));
    assert_eq!(submit("", &[("GAPWISE_CHECKPOINT_INTERVAL", "1m")]).map(interval), Ok(60_000));
    let refusal = "--checkpoint-interval: `99ms` is not a checkpoint interval: choose at least `100ms`";
    assert_eq!(submit("--checkpoint-interval 99ms", &[]).map(interval), Err(refusal.to_owned()));
}

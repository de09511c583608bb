import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.time.Duration;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.connector.sink2.Sink;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.api.connector.sink2.WriterInitContext;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.api.java.tuple.Tuple3;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.file.src.FileSource;
import org.apache.flink.connector.file.src.enumerate.NonSplittingRecursiveEnumerator;
import org.apache.flink.connector.file.src.reader.SimpleStreamFormat;
import org.apache.flink.connector.file.src.reader.StreamFormat;
import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.core.fs.Path;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;

/**
 * The job as a hand-written DataStream program, from a file to CSV: StreamSessions EVENTS FILE.
 *
 * <p>What makes it quick: records are scanned in the source's buffer for three fields and only these travel; the state of a key is
 * one array; a session has one timer at a time, which is moved only when it fires too early; objects are reused; the state is on the
 * heap.
 */
public final class StreamSessions {
    static final long GAP_MS = 300_000;

    public static void main(String[] args) throws Exception {
        Configuration configuration = new Configuration();
        configuration.setString("pipeline.object-reuse", "true");
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment(configuration);
        env.setParallelism(1);
        FileSource<Tuple2<String, Long>> source = FileSource.forRecordStreamFormat(new Events(), new Path("file://" + args[0]))
                // Parts of a file are read in any order, and what is read late is lost.
                .setFileEnumerator(NonSplittingRecursiveEnumerator::new)
                .build();
        WatermarkStrategy<Tuple2<String, Long>> watermarks =
                WatermarkStrategy.<Tuple2<String, Long>>forBoundedOutOfOrderness(Duration.ofSeconds(15))
                        .withTimestampAssigner((event, ignored) -> event.f1);
        env.fromSource(source, watermarks, "events")
                .keyBy(event -> event.f0, Types.STRING)
                .process(new Sessions())
                .sinkTo(new Csv(args[1]));
        env.execute("sessions");
    }

    /** Sessions of a key as an array of first, last, hits; mostly of one, of more while the watermark is behind. */
    static final class Sessions extends KeyedProcessFunction<String, Tuple2<String, Long>, Tuple3<String, Long, Long>> {
        private transient ValueState<long[]> state;
        private final Tuple3<String, Long, Long> row = new Tuple3<>();

        @Override
        public void open(OpenContext context) {
            state = getRuntimeContext().getState(
                    new ValueStateDescriptor<>("sessions", PrimitiveArrayTypeInfo.LONG_PRIMITIVE_ARRAY_TYPE_INFO));
        }

        @Override
        public void processElement(Tuple2<String, Long> event, Context context, Collector<Tuple3<String, Long, Long>> out)
                throws Exception {
            long at = event.f1;
            long[] sessions = state.value();
            if (sessions == null) {
                state.update(new long[] {at, at, 1});
                context.timerService().registerEventTimeTimer(at + GAP_MS - 1);
                return;
            }
            long first = at;
            long last = at;
            long hits = 1;
            int kept = 0;
            boolean isNew = true;
            for (int i = 0; i < sessions.length; i += 3) {
                if (at <= sessions[i + 1] + GAP_MS && at >= sessions[i] - GAP_MS) {
                    // Whatever it joins has a timer, which is moved when it fires.
                    first = Math.min(first, sessions[i]);
                    last = Math.max(last, sessions[i + 1]);
                    hits += sessions[i + 2];
                    isNew = false;
                } else {
                    System.arraycopy(sessions, i, sessions, kept, 3);
                    kept += 3;
                }
            }
            if (kept + 3 != sessions.length) {
                long[] room = new long[kept + 3];
                System.arraycopy(sessions, 0, room, 0, kept);
                sessions = room;
            }
            sessions[kept] = first;
            sessions[kept + 1] = last;
            sessions[kept + 2] = hits;
            state.update(sessions);
            if (isNew) {
                context.timerService().registerEventTimeTimer(last + GAP_MS - 1);
            }
        }

        @Override
        public void onTimer(long timestamp, OnTimerContext context, Collector<Tuple3<String, Long, Long>> out) throws Exception {
            long[] sessions = state.value();
            if (sessions == null) {
                return;
            }
            int kept = 0;
            for (int i = 0; i < sessions.length; i += 3) {
                if (sessions[i + 1] + GAP_MS - 1 <= timestamp) {
                    row.setFields(context.getCurrentKey(), sessions[i], sessions[i + 2]);
                    out.collect(row);
                } else {
                    context.timerService().registerEventTimeTimer(sessions[i + 1] + GAP_MS - 1);
                    System.arraycopy(sessions, i, sessions, kept, 3);
                    kept += 3;
                }
            }
            if (kept == 0) {
                state.clear();
            } else if (kept != sessions.length) {
                state.update(java.util.Arrays.copyOf(sessions, kept));
            }
        }
    }

    /** Lines of flat JSON objects as key, `ip,host`, and time. Wanted fields have no escapes; others may. */
    static final class Events extends SimpleStreamFormat<Tuple2<String, Long>> {
        @Override
        public StreamFormat.Reader<Tuple2<String, Long>> createReader(org.apache.flink.configuration.Configuration config, FSDataInputStream in) {
            return new Lines(in);
        }

        @Override
        public TypeInformation<Tuple2<String, Long>> getProducedType() {
            return Types.TUPLE(Types.STRING, Types.LONG);
        }
    }

    static final class Lines implements StreamFormat.Reader<Tuple2<String, Long>> {
        private final FSDataInputStream in;
        private final byte[] room = new byte[1 << 20];
        private final byte[] key = new byte[512];
        private int begin;
        private int end;

        Lines(FSDataInputStream in) {
            this.in = in;
        }

        @Override
        public Tuple2<String, Long> read() throws IOException {
            int from = begin;
            while (true) {
                for (int i = from; i < end; i++) {
                    if (room[i] == '\n') {
                        int line = begin;
                        begin = i + 1;
                        return event(line, i);
                    }
                }
                System.arraycopy(room, begin, room, 0, end - begin);
                end -= begin;
                begin = 0;
                from = end;
                int count = in.read(room, end, room.length - end);
                if (count <= 0) {
                    return null;
                }
                end += count;
            }
        }

        private Tuple2<String, Long> event(int at, int lineEnd) throws IOException {
            int ip = -1;
            int ipEnd = -1;
            int host = -1;
            int hostEnd = -1;
            int time = -1;
            at++;
            while (at < lineEnd && room[at] == '"') {
                int name = at + 1;
                int nameEnd = past(name);
                int value = nameEnd + 2;
                int valueEnd;
                if (room[value] == '"') {
                    value++;
                    valueEnd = past(value);
                    at = valueEnd + 2;
                } else {
                    valueEnd = value;
                    while (room[valueEnd] != ',' && room[valueEnd] != '}') {
                        valueEnd++;
                    }
                    at = valueEnd + 1;
                }
                int length = nameEnd - name;
                if (length == 2 && room[name] == 'i' && room[name + 1] == 'p') {
                    ip = value;
                    ipEnd = valueEnd;
                } else if (length == 4 && room[name] == 'h' && room[name + 1] == 'o' && room[name + 2] == 's') {
                    host = value;
                    hostEnd = valueEnd;
                } else if (length == 10 && room[name] == 'e' && room[name + 6] == 't') {
                    time = value;
                }
            }
            if (ip < 0 || host < 0 || time < 0) {
                throw new IOException("no event");
            }
            int ipLength = ipEnd - ip;
            System.arraycopy(room, ip, key, 0, ipLength);
            key[ipLength] = ',';
            System.arraycopy(room, host, key, ipLength + 1, hostEnd - host);
            return Tuple2.of(new String(key, 0, ipLength + 1 + hostEnd - host, StandardCharsets.ISO_8859_1), millis(time));
        }

        /** Where the text that begins here ends: its closing quote. */
        private int past(int at) {
            while (room[at] != '"') {
                at += room[at] == '\\' ? 2 : 1;
            }
            return at;
        }

        private int number(int at, int digits) {
            int number = 0;
            for (int i = at; i < at + digits; i++) {
                number = number * 10 + room[i] - '0';
            }
            return number;
        }

        /** `2025-01-14T17:01:12.232Z`. */
        private long millis(int at) {
            long year = number(at, 4);
            long month = number(at + 5, 2);
            long day = number(at + 8, 2);
            year -= month <= 2 ? 1 : 0;
            long era = year / 400;
            long yearOfEra = year - era * 400;
            long dayOfYear = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
            long days = era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468;
            return (((days * 24 + number(at + 11, 2)) * 60 + number(at + 14, 2)) * 60 + number(at + 17, 2)) * 1000 + number(at + 20, 3);
        }

        @Override
        public void close() throws IOException {
            in.close();
        }
    }

    /** Rows into one file. */
    static final class Csv implements Sink<Tuple3<String, Long, Long>> {
        private final String file;

        Csv(String file) {
            this.file = file;
        }

        @Override
        public SinkWriter<Tuple3<String, Long, Long>> createWriter(WriterInitContext context) throws IOException {
            OutputStream out = new BufferedOutputStream(Files.newOutputStream(Paths.get(file)), 1 << 20);
            return new SinkWriter<>() {
                private final byte[] time = "yyyy-mm-dd hh:mm:ss.mmm,".getBytes(StandardCharsets.ISO_8859_1);
                private long day = Long.MIN_VALUE;

                @Override
                public void write(Tuple3<String, Long, Long> row, Context ignored) throws IOException {
                    long days = Math.floorDiv(row.f1, 86_400_000L);
                    if (days != day) {
                        day = days;
                        byte[] date = java.time.LocalDate.ofEpochDay(days).toString().getBytes(StandardCharsets.ISO_8859_1);
                        System.arraycopy(date, 0, time, 0, 10);
                    }
                    int ms = (int) Math.floorMod(row.f1, 86_400_000L);
                    put(11, 2, ms / 3_600_000);
                    put(14, 2, ms / 60_000 % 60);
                    put(17, 2, ms / 1000 % 60);
                    put(20, 3, ms % 1000);
                    out.write(time);
                    out.write(row.f0.getBytes(StandardCharsets.ISO_8859_1));
                    out.write(',');
                    out.write(Long.toString(row.f2).getBytes(StandardCharsets.ISO_8859_1));
                    out.write('\n');
                }

                private void put(int at, int digits, int number) {
                    for (int i = at + digits - 1; i >= at; i--) {
                        time[i] = (byte) ('0' + number % 10);
                        number /= 10;
                    }
                }

                @Override
                public void flush(boolean isEnd) throws IOException {
                    out.flush();
                }

                @Override
                public void close() throws IOException {
                    out.close();
                }
            };
        }
    }
}

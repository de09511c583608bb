"""Sessions of a file of web events by DuckDB, as a batch: sessions.py EVENTS SESSIONS"""

import sys

import duckdb

GAP = "INTERVAL 5 MINUTES"

events, sessions = sys.argv[1:]
duckdb.sql(f"""
    COPY (
        WITH events AS (
            SELECT ip, host, event_time AS time
            FROM read_json('{events}', format = 'newline_delimited',
                           columns = {{ip: 'VARCHAR', host: 'VARCHAR', event_time: 'TIMESTAMP'}})),
        marked AS (
            SELECT *, coalesce(time - lag(time) OVER visitor > {GAP}, true)::INT AS is_first
            FROM events WINDOW visitor AS (PARTITION BY ip, host ORDER BY time)),
        numbered AS (
            SELECT *, sum(is_first) OVER (PARTITION BY ip, host ORDER BY time ROWS UNBOUNDED PRECEDING) AS session
            FROM marked)
        SELECT min(time) AS event_hour, ip, host, count(*) AS num_hits FROM numbered GROUP BY ip, host, session
    ) TO '{sessions}' (FORMAT csv, HEADER)
""")

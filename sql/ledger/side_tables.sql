-- The tables beside the sessions, as Gapwise makes them at submit where its role may. Where it may not, run this as the owner of
-- the schema of the target table (for another one than `public`, replace `public.` throughout), or submit with
-- `--on-late drop --on-bad-record skip`. Then, with the name of your own role:
--
--   GRANT INSERT ON public.late_events, public.dead_letter_events TO gapwise;

-- Events that came when their session had ended. `late_by_ms` is how far the event was behind the watermark.
CREATE TABLE IF NOT EXISTS public.late_events (
    job_id varchar,
    ip varchar,
    host varchar,
    event_time timestamp(3),
    watermark timestamp(3),
    late_by_ms bigint,
    topic varchar,
    partition bigint,
    "offset" bigint
);

-- Records that are no event, or an event of the future. `record` is what came, of which 64 KiB are kept; `bytes` is its length.
CREATE TABLE IF NOT EXISTS public.dead_letter_events (
    job_id varchar,
    reason varchar,
    topic varchar,
    partition bigint,
    "offset" bigint,
    bytes bigint,
    record bytea
);

-- The table of open sessions, as Gapwise makes it for `--open-sessions-table open_sessions` where its role may. Where it may not, run this
-- as the owner of the schema of the target table (for another one than `public`, replace `public.` throughout). Then, with the names of
-- your own role, table and database:
--
--   GRANT SELECT, INSERT, UPDATE, DELETE ON public.open_sessions TO gapwise;
--   GRANT TEMPORARY ON DATABASE web TO gapwise; -- what changed waits in a temporary table until it is done to this one
--
-- and for who runs `jobctl audit`:
--
--   GRANT SELECT ON public.open_sessions TO auditor;
--
-- At each checkpoint, and in the same transaction as the rows of the sessions that closed before it, it is brought to what was open there.
-- `session_id` is the same for as long as a session is open. `event_hour` is its first event's time, `num_hits` how many events it has that no
-- row of the target has yet: the sum over a job is `open_events` in its row of `gapwise_ledger`. A job that was canceled, has failed, or was
-- stopped without `--drain` leaves its rows; one that begins with its savepoint goes on with them.
CREATE TABLE IF NOT EXISTS public.open_sessions (
    session_id bigint,
    job_id varchar,
    event_hour timestamp(3),
    last_event timestamp(3),
    ip varchar,
    host varchar,
    num_hits bigint,
    PRIMARY KEY (session_id)
) WITH (fillfactor = 60);

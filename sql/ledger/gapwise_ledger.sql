-- What Gapwise keeps in the sink's database so that every row is published exactly once: one row for each job and table,
-- the function by which an attempt takes that row over, and the one that moves it on in the same transaction as the rows.
-- Gapwise runs these very statements itself where something is missing and its role may create it. Where it may not, run
-- them as the owner of the schema; again after an upgrade, which keeps what is there:
--
--   psql --single-transaction -f gapwise_ledger.sql
--
-- The ledger stands in the schema of the target table: for another schema than `public`, replace `public.` throughout.
-- Then, with the names of your own role and table; these are all the rights that Gapwise needs:
--
--   GRANT USAGE ON SCHEMA public TO gapwise;
--   GRANT INSERT ON public.processed_events TO gapwise;
--   GRANT INSERT ON public.late_events, public.dead_letter_events TO gapwise; -- see side_tables.sql
--   -- for --open-sessions-table what open_sessions.sql says, too
--   GRANT SELECT, UPDATE ON public.gapwise_ledger TO gapwise;
--   GRANT EXECUTE ON FUNCTION public.gapwise_fence TO gapwise;
--   GRANT EXECUTE ON FUNCTION public.gapwise_publish TO gapwise;
--
-- Who runs `jobctl audit` needs to read both:
--
--   GRANT SELECT ON public.processed_events, public.gapwise_ledger TO auditor;
--
-- Do not change or delete rows of a job that runs or is to be resumed: they are what its next attempt begins with.

-- `events_read` = `events_in_sessions` + `open_events` + `late` + `bad`. `cut` tells how far each partition was read for the
-- last epoch, and where event time was: all that it takes to compute the table again. `rows_total` counts the rows of the
-- target, `side_rows` those of each table beside it (late events, dead letters), in the job's order. The free space keeps updates within a
-- page.
CREATE TABLE IF NOT EXISTS public.gapwise_ledger (
    job_id text NOT NULL,
    target text NOT NULL,
    lane integer NOT NULL,
    token bigint NOT NULL,
    nonce text NOT NULL,
    last_epoch bigint NOT NULL DEFAULT 0,
    prev_epoch bigint NOT NULL DEFAULT 0,
    rows_total bigint NOT NULL DEFAULT 0,
    events_read bigint NOT NULL DEFAULT 0,
    events_in_sessions bigint NOT NULL DEFAULT 0,
    late bigint NOT NULL DEFAULT 0,
    bad bigint NOT NULL DEFAULT 0,
    open_events bigint NOT NULL DEFAULT 0,
    published_at timestamptz,
    cut jsonb,
    side_rows bigint[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (job_id, target, lane)
) WITH (fillfactor = 20);

-- A ledger of the time before there was a cut, or side tables: gains the columns, and loses the functions that would leave
-- them behind.
ALTER TABLE public.gapwise_ledger ADD COLUMN IF NOT EXISTS cut jsonb;
ALTER TABLE public.gapwise_ledger ADD COLUMN IF NOT EXISTS side_rows bigint[] NOT NULL DEFAULT '{}';
DROP FUNCTION IF EXISTS public.gapwise_publish(
    text, text, integer, bigint, text, bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint
);
DROP FUNCTION IF EXISTS public.gapwise_publish(
    text, text, integer, bigint, text, bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint, jsonb
);

-- Takes a job's row over for a new attempt: a higher token than this row and `above_token` have, and the epoch published
-- last. One statement, so that two attempts at once get different tokens. It makes the row of a new job with its owner's
-- rights, so that a role needs none to insert into the ledger. Fails with GW002, and changes nothing, when tokens run out:
-- they are to fit the upper 31 bits of an epoch.
CREATE OR REPLACE FUNCTION public.gapwise_fence(
    of_job text, of_target text, of_lane integer, above_token bigint, with_nonce text,
    OUT granted_token bigint, OUT published_epoch bigint
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $gapwise$
BEGIN
    INSERT INTO public.gapwise_ledger AS ledger (job_id, target, lane, token, nonce)
    VALUES (of_job, of_target, of_lane, above_token + 1, with_nonce)
    ON CONFLICT (job_id, target, lane)
    DO UPDATE SET token = greatest(ledger.token, above_token) + 1, nonce = with_nonce
    RETURNING ledger.token, ledger.last_epoch INTO granted_token, published_epoch;
    IF granted_token >= 1::bigint << 31 THEN
        RAISE EXCEPTION USING ERRCODE = 'GW002', MESSAGE = 'no token is left above ' || granted_token - 1;
    END IF;
END
$gapwise$;

-- Who may call it is the owner's to say: it writes with the owner's rights.
REVOKE ALL ON FUNCTION public.gapwise_fence(text, text, integer, bigint, text) FROM PUBLIC;

-- Moves the ledger from one epoch to the next, or fails with GW001, and with it the transaction that holds the rows.
CREATE OR REPLACE FUNCTION public.gapwise_publish(
    of_job text, of_target text, of_lane integer, with_token bigint, with_nonce text,
    from_epoch bigint, to_epoch bigint, with_rows bigint,
    total_read bigint, total_in_sessions bigint, total_late bigint, total_bad bigint, total_open bigint,
    with_cut jsonb, with_side_rows bigint[]
) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $gapwise$
BEGIN
    UPDATE public.gapwise_ledger AS ledger SET
        last_epoch = to_epoch, prev_epoch = from_epoch, rows_total = ledger.rows_total + with_rows,
        events_read = total_read, events_in_sessions = total_in_sessions,
        late = total_late, bad = total_bad, open_events = total_open, cut = with_cut,
        side_rows = ARRAY(
            SELECT coalesce(total, 0) + coalesce(more, 0)
            FROM unnest(ledger.side_rows, with_side_rows) WITH ORDINALITY AS side(total, more, place) ORDER BY place
        ),
        published_at = clock_timestamp()
    WHERE ledger.job_id = of_job AND ledger.target = of_target AND ledger.lane = of_lane
        AND ledger.token = with_token AND ledger.nonce = with_nonce AND ledger.last_epoch = from_epoch;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'GW001', MESSAGE =
            'the ledger is not at epoch ' || from_epoch || ' under token ' || with_token;
    END IF;
END
$gapwise$;

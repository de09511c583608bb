-- What `jobctl late replay` keeps, so that a late event is put into its session once: in `late_events`, when each was; and for each job and
-- table how many were, and how many rows more or fewer the table has for it. The ledger itself is the job's alone and is not touched. `jobctl audit`
-- adds both up.
--
-- `jobctl late replay` runs these very statements where something is missing and its role may. Where it may not, run them as the owner of
-- `late_events` (for another schema than `public`, replace `public.` throughout). Then, with the names of your own role and table:
--
--   GRANT TEMPORARY ON DATABASE postgres TO operator;
--   GRANT USAGE ON SCHEMA public TO operator;
--   GRANT SELECT, INSERT, UPDATE, DELETE ON public.sessionized_aggregated_events TO operator;
--   GRANT SELECT, UPDATE ON public.late_events TO operator;
--   GRANT SELECT ON public.gapwise_ledger TO operator;
--   GRANT SELECT, INSERT, UPDATE ON public.gapwise_late_replay TO operator;
--
-- and for who runs `jobctl audit`:
--
--   GRANT USAGE ON SCHEMA public TO auditor;
--   GRANT SELECT ON public.gapwise_late_replay TO auditor;

CREATE TABLE IF NOT EXISTS public.gapwise_late_replay (
    job_id text NOT NULL,
    target text NOT NULL,
    events bigint NOT NULL,
    rows_added bigint NOT NULL,
    replayed_at timestamptz NOT NULL,
    PRIMARY KEY (job_id, target)
);

ALTER TABLE public.late_events ADD COLUMN IF NOT EXISTS replayed_at timestamptz;

-- How do the hosts compare? A host without sessions has no row.
SELECT host, AVG(num_hits), COUNT(*) AS sessions, SUM(num_hits) AS hits
FROM sessionized_aggregated_events
WHERE host IN ('zachwilson.techcreator.io', 'zachwilson.tech', 'lulu.techcreator.io')
GROUP BY host
ORDER BY host;

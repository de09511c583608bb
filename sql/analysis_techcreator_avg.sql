-- What is the average number of web events of a session from a user on Tech Creator?
SELECT AVG(num_hits)
FROM sessionized_aggregated_events
WHERE host LIKE '%.techcreator.io';

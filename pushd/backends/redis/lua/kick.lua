-- Asks all nodes to close the connections of a subject: they read it from the key of the token that is published.
-- Returns how many receive it.
-- ARGV: 5 the subject, 6 the token.
redis.call('SET', P .. 'kick:' .. ARGV[6], ARGV[5], 'PX', 10000)
return redis.call('PUBLISH', F .. 'all', 'kick ' .. ARGV[6])

-- Asks all nodes to close the connections of a subject: they read it from the key that is published.
-- ARGV: 5 the subject.
redis.call('SET', P .. 'kick:' .. ARGV[2], ARGV[5], 'PX', 10000)
redis.call('PUBLISH', F .. 'all', 'kick ' .. ARGV[2])
return ARGV[2]

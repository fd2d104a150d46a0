-- The sign of life of a node, which goes through the log's keys and pub/sub and comes back to the node.
-- ARGV: 5 age · 6 node · 7 token of the beat · 8 how long it counts. Gives epoch, head, beyond, time, nodes, whether
-- nothing more is too old, and the stamp of the revocations; see revoke.lua.
local NODES = P .. 'nodes'
tick()
redis.call('ZADD', NODES, ms + num(ARGV[8]), ARGV[6])
redis.call('ZREMRANGEBYSCORE', NODES, '-inf', ms)
local tidy = expire(num(ARGV[5]), 500)
save()
redis.call('PUBLISH', F .. 'n:' .. ARGV[6], 'beat ' .. ARGV[7] .. ' ' .. epoch .. ' ' .. str(seq))
return cmsgpack.pack({ epoch, seq, beyond, ms, redis.call('ZCARD', NODES), tidy,
    redis.call('HGET', P .. 'revocations', 'stamp') or '' })

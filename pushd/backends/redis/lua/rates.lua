-- Adds what a node has taken from token buckets that all nodes share, by the generic cell rate algorithm.
-- ARGV: 5 how many buckets are kept · 6… buckets, and in turn what was taken, in milliseconds until it is refilled.
-- PREFIX rates    sorted set: buckets by when they are full
-- Gives for each bucket the milliseconds until it is full.
local RATES = P .. 'rates'
redis.call('ZREMRANGEBYSCORE', RATES, '-inf', ms)
local full = {}
for i = 6, #ARGV, 2 do
    local full_at = math.max(num(redis.call('ZSCORE', RATES, ARGV[i])), ms) + num(ARGV[i + 1])
    if full_at > ms then redis.call('ZADD', RATES, str(full_at), ARGV[i]) else redis.call('ZREM', RATES, ARGV[i]) end
    full[#full + 1] = math.max(0, math.floor(full_at - ms))
end
local over = redis.call('ZCARD', RATES) - num(ARGV[5])
if over > 0 then redis.call('ZPOPMIN', RATES, over) end
return full

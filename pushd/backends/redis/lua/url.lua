-- Remembers that a signed URL was used, or tells whether it was.
-- ARGV: 5 its digest · 6 until when it is remembered, in milliseconds; empty: only tell · 7 how many are remembered.
-- PREFIX EPOCH :urls    sorted set: the digests by these times
-- Gives 1 if it is remembered, 0 if not.
local URLS, until_ms = E .. 'urls', num(ARGV[6])
if ARGV[6] == '' then return num(redis.call('ZSCORE', URLS, ARGV[5])) > ms and 1 or 0 end
if until_ms <= ms then return 0 end
redis.call('ZADD', URLS, until_ms, ARGV[5])
local over = redis.call('ZCARD', URLS) - num(ARGV[7])
local past = redis.call('ZRANGEBYSCORE', URLS, '-inf', ms, 'LIMIT', 0, 100)
if #past > 0 then redis.call('ZREM', URLS, unpack(past)) end
if over > #past then redis.call('ZPOPMIN', URLS, over - #past) end
local newest = redis.call('ZRANGE', URLS, -1, -1, 'WITHSCORES')[2]
if newest then redis.call('PEXPIREAT', URLS, newest) end
return 1

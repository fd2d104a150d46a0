-- Removes revocations that have expired. ARGV: from 5 on, their keys.
local R = P .. 'revocations'
for i = 5, #ARGV do
    local until_ = string.match(redis.call('HGET', R, ARGV[i]) or '', '^%d+ (%d+) ')
    if until_ and tonumber(until_) * 1000 <= ms then redis.call('HDEL', R, ARGV[i]) end
end
return 0

-- Lets members leave whose time is over, and sends the diffs that are due. ARGV: 5 the bounds · 6 how many at most.
-- Gives whether there is more to do, the members, the channels that have some, those remembered, and how many events of
-- each kind were sent.
set_bounds(ARGV[5])
for _, key in ipairs(redis.call('ZRANGEBYSCORE', DUE, '-inf', str(ms), 'LIMIT', 0, num(ARGV[6]))) do come_due(key) end
forget_seen()
save_members_hooks()
save()
local sent = {}
for i, action in ipairs({ 'enter', 'update', 'leave', 'diff' }) do
    sent[i] = num(redis.call('HGET', STATE, 'sent:' .. action))
end
return cmsgpack.pack({ redis.call('ZCOUNT', DUE, '-inf', str(ms)) > 0, num(redis.call('HGET', STATE, 'members')), redis.call('SCARD', CHANNELS_IN),
    redis.call('ZCARD', LEFT), sent })
